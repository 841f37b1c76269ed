#!/usr/bin/python3
"""Replays section 6.5 on this machine: `make demo`.

Six workers with one emulated V100 each, a controller and a client, on loopback addresses; then
the nine graphs and a summary. Reads CLOCKWORK_BUILD and the DEMO_* variables that README.md
lists. Exits 1 if a process died or had to be killed, 2 for a variable that cannot be; leaves no
process behind.
"""

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROCESS_PY = os.path.join(ROOT, "experiments", "maf-exp-1-and-2", "process.py")

WORKERS_COUNT = 6
# The published run loads six workers with what eight can carry.
WORKERS_OF_LOAD = 8
# 127.0.0.11 and so on: an address a machine, as in a cluster.
WORKER_ADDRESSES = [f"127.0.0.{11 + i}" for i in range(WORKERS_COUNT)]
CONTROLLER_ADDRESS = "127.0.0.1"
WORKER_PORT = 12345

# Where inputs come from: does the controller generate them, does the client leave them out.
# The published scheduler first: the demo is the published experiment.
CONTROLLER_TYPES = ("INFER4", "PRICED")
INPUT_WAYS = {
    "client": ("0", "0", "the client sends them"),
    "controller": ("1", "1", "the controller draws them from a pool and sends them compressed"),
    "worker": ("0", "1", "each worker makes its own"),
}

START_SECONDS_MAX = 30
# 4,026 models are loaded on six workers before the first request.
LOADING_SECONDS_MAX = 300
# What a process may take to write out its logs after SIGTERM.
STOP_SECONDS_MAX = 30
POLL_SECONDS = 0.1
REPORT_SECONDS_TERMINAL = 1
REPORT_SECONDS_FILE = 10
LEADIN_SECONDS = 10
INTERVALS_MIN = 30
LINES_SHOWN = 15


class DemoError(Exception):
    """Ends the demo with one clear text."""


class SettingsError(DemoError):
    """A DEMO_* variable that cannot be."""


class Interrupted(Exception):
    """Ctrl-C or a signal to end."""


def say(text=""):
    print(text, flush=True)


# --- what was asked for ----------------------------------------------------------------------


@dataclass
class Settings:
    build: str
    type: str
    seconds: int
    load_factor: str
    memory_load_factor: str
    inputs: str
    worker_port: int
    out: str

    def addresses(self):
        """(process name, address, port) of everything that listens."""
        return [
            (f"worker {i + 1}", address, self.worker_port)
            for i, address in enumerate(WORKER_ADDRESSES)
        ] + [("controller", CONTROLLER_ADDRESS, self.worker_port + 1)]


def read_settings(environment):
    def number(name, default, kind, low, high):
        text = environment.get(name) or default
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            what = "a whole number" if kind is int else "a number"
            raise SettingsError(f"{name}={text}: must be {what} from {low} to {high}")
        return value

    inputs = environment.get("DEMO_INPUTS") or "controller"
    if inputs not in INPUT_WAYS:
        raise SettingsError(f"DEMO_INPUTS={inputs}: must be one of {', '.join(INPUT_WAYS)}")
    type_ = environment.get("DEMO_TYPE") or CONTROLLER_TYPES[0]
    if type_ not in CONTROLLER_TYPES:
        raise SettingsError(f"DEMO_TYPE={type_}: must be one of {', '.join(CONTROLLER_TYPES)}")
    out = environment.get("DEMO_OUT") or f"out/demo-{time.strftime('%Y%m%d-%H%M%S')}"
    build = environment.get("CLOCKWORK_BUILD") or "build"
    return Settings(
        build=os.path.join(ROOT, build),
        type=type_,
        seconds=number("DEMO_SECONDS", "180", int, 5, 7 * 86400),
        load_factor=format(number("DEMO_LOAD_FACTOR", "0.12", float, 0.0001, 10000), "g"),
        memory_load_factor=str(number("DEMO_MEMORY_LOAD_FACTOR", "4", int, 1, 4)),
        inputs=inputs,
        worker_port=number("DEMO_PORT_BASE", str(WORKER_PORT), int, 1, 65534),
        out=os.path.join(ROOT, out),
    )


# --- processes -------------------------------------------------------------------------------

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent():
    """In the child: ended by the kernel if this script is killed and can end nothing itself."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """One program, its output in a file."""

    def __init__(self, name, command, log_path, environment):
        self.name = name
        self.log_path = log_path
        self.was_killed = False
        self.was_reported = False
        with open(log_path, "wb") as log:
            try:
                # A session of its own: Ctrl-C reaches this script alone, which stops them in order.
                self.popen = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            except OSError as error:
                raise DemoError(f"{name}: cannot start {command[0]}: {error.strerror}") from None

    def has_ended(self):
        return self.popen.poll() is not None

    def output(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def how_it_ended(self):
        code = self.popen.returncode
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"exited with {code}"

    def stop(self):
        """Ends it cleanly, or else with force; waits until it is gone."""
        if self.has_ended():
            return
        self.popen.terminate()
        try:
            self.popen.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.was_killed = True
            self.popen.kill()
            self.popen.wait()


class Processes:
    """All programs of the demo, in the order in which they were started."""

    def __init__(self):
        self.all = []

    def start(self, *arguments):
        process = Process(*arguments)
        self.all.append(process)
        return process

    def check_alive(self):
        for process in self.all:
            if process.has_ended():
                process.was_reported = True
                lines = process.output().rstrip().splitlines()[-LINES_SHOWN:]
                shown = "".join(f"\n    {line}" for line in lines) or "\n    (it printed nothing)"
                raise DemoError(
                    f"{process.name} {process.how_it_ended()}. Its last lines"
                    f" ({process.log_path}):{shown}"
                )

    def stop(self):
        """Client first, workers last: the controller still gets the answers that are under way."""
        for process in reversed(self.all):
            process.stop()


def wait_until(condition, seconds_max, processes, what):
    deadline = time.monotonic() + seconds_max
    while not condition():
        processes.check_alive()
        if time.monotonic() > deadline:
            raise DemoError(f"{what} did not happen within {seconds_max} s")
        time.sleep(POLL_SECONDS)


def check_ports_free(settings):
    for name, address, port in settings.addresses():
        with socket.socket() as probe:
            # As servers do it, so that connections of an earlier run do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise DemoError(
                    f"{address}:{port}, where {name} would listen: {error.strerror}."
                    " Set DEMO_PORT_BASE=PORT to use PORT for workers and PORT+1 for the controller"
                ) from None


def is_listening(address, port):
    """From the kernel's table: a connection to find out would be one that the program must handle."""
    packed = int.from_bytes(socket.inet_aton(address), sys.byteorder)
    hosts = (f"{packed:08X}", "0" * 8, "0" * 32)  # itself, or all of one family or of both
    wanted = [f"{host}:{port:04X}" for host in hosts]
    listening_state = "0A"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):  # a kernel without IPv6 lacks the second
            with open(table, encoding="ascii") as file:
                for line in file:
                    fields = line.split()
                    if fields[1] in wanted and fields[3] == listening_state:
                        return True
    return False


# --- the run ---------------------------------------------------------------------------------


class Progress:
    """One line, written over on a terminal, repeated now and then in a file."""

    def __init__(self):
        self.terminal = sys.stdout.isatty()
        self.next_report = 0.0

    def show(self, text):
        now = time.monotonic()
        if now < self.next_report:
            return
        if self.terminal:
            width = os.get_terminal_size().columns
            print(f"\r\033[K{text[: width - 1]}", end="", flush=True)
            self.next_report = now + REPORT_SECONDS_TERMINAL
        else:
            say(text)
            self.next_report = now + REPORT_SECONDS_FILE

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", flush=True)
        self.next_report = 0.0


def run_cluster(settings, processes):
    """Starts everything, lets it run for the time asked for, and stops it."""
    generate_inputs, disable_inputs, _ = INPUT_WAYS[settings.inputs]
    environment = {
        **os.environ,
        "CLOCKWORK_LOG_DIR": settings.out,
        "CLOCKWORK_DISABLE_INPUTS": disable_inputs,
    }

    def start(name, program, *arguments):
        return processes.start(
            name,
            [os.path.join(settings.build, program), *arguments],
            os.path.join(settings.out, f"{name.replace(' ', '_')}.log"),
            environment,
        )

    *workers, (_, _, controller_port) = settings.addresses()
    for name, address, port in workers:
        start(
            name, "worker", "--backend", "emulated", "--gpus", "1", "--listen", f"{address}:{port}"
        )
    for name, address, port in workers:
        wait_until(
            lambda: is_listening(address, port),
            START_SECONDS_MAX,
            processes,
            f"{name} listening on {address}:{port}",
        )
    controller_address = f"{CONTROLLER_ADDRESS}:{controller_port}"
    start(
        "controller",
        "controller",
        settings.type,
        ",".join(f"{address}:{port}" for _, address, port in workers),
        generate_inputs,
        str(WORKERS_COUNT),
        "--listen",
        controller_address,
    )
    wait_until(
        lambda: is_listening(CONTROLLER_ADDRESS, controller_port),
        START_SECONDS_MAX,
        processes,
        f"controller listening on {controller_address}",
    )
    client = start(
        "client",
        "client",
        controller_address,
        "azure",
        str(WORKERS_OF_LOAD),
        "1",
        settings.load_factor,
        settings.memory_load_factor,
    )
    say("loading models …")
    started = time.monotonic()
    wait_until(
        lambda: re.search("replaying", client.output(), re.IGNORECASE),
        LOADING_SECONDS_MAX,
        processes,
        "the client's replay (its log would say: replaying)",
    )
    say(f"models are loaded after {time.monotonic() - started:.1f} s; replaying")
    watch(settings, processes, client)


def watch(settings, processes, client):
    progress = Progress()
    started = time.monotonic()
    try:
        while (elapsed := time.monotonic() - started) < settings.seconds:
            processes.check_alive()
            progress.show(f"{elapsed:4.0f} / {settings.seconds} s   {last_summary(client)}")
            time.sleep(POLL_SECONDS)
    finally:
        progress.end()


def last_summary(client):
    """The newest of the lines that the client prints every ten seconds, without its time of day."""
    lines = client.output().rstrip().splitlines()
    summaries = [line for line in lines if "throughput" in line.lower()] or lines[-1:]
    return re.sub(r"^[-0-9]+ [:.0-9]+ ", "", summaries[-1]) if summaries else ""


def stop_cluster(processes):
    """Stops what runs and tells whether all ended as they should."""
    processes.stop()
    clean = True
    for process in processes.all:
        if process.was_killed:
            say(f"demo: {process.name} did not end within {STOP_SECONDS_MAX} s and was killed")
            clean = False
        elif process.popen.returncode not in (0, -signal.SIGTERM) and not process.was_reported:
            say(f"demo: {process.name} {process.how_it_ended()} ({process.log_path})")
            clean = False
    return clean


def make_graphs(settings):
    leadin = min(LEADIN_SECONDS, settings.seconds // 6)
    interval = min(5, max(1, (settings.seconds - leadin) // INTERVALS_MIN))
    command = [
        sys.executable,
        PROCESS_PY,
        *("-i", settings.out, "-o", settings.out, "-l", str(leadin), "-b", str(interval)),
    ]
    say(f"graphs: the first {leadin} s are left out, a point every {interval} s")
    run = subprocess.run(command, cwd=ROOT)
    if run.returncode:
        raise DemoError(f"failed: {' '.join(command)}")


def report(settings):
    pdfs = [name for name in os.listdir(settings.out) if re.fullmatch(r"(9|10)\w+\.pdf", name)]
    pdfs.sort(key=lambda name: (int(re.match(r"\d+", name).group()), name))
    say(f"\n{len(pdfs)} graphs, Figures 9 and 10 of the paper, in {settings.out}:")
    for name in pdfs:
        say(f"  {name}")
    overview = os.path.join(settings.out, "overview.png")
    summary = os.path.join(settings.out, "summary.txt")
    say(f"all nine on one sheet: {overview}")
    say(f"summary: {summary}\n")
    with open(summary, encoding="utf-8") as file:
        for line in file:
            say(f"  {line.rstrip()}")
    say(f"\ninputs: {settings.inputs} ({INPUT_WAYS[settings.inputs][2]})")


def exit_code_of(run):
    """Runs a demo to its end, signals included; what went wrong is said in one line."""

    def interrupt(number, frame):
        # Once is enough: what follows ends by itself, and in order.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        return 0 if run() else 1
    except SettingsError as error:
        say(f"demo: {error}")
        return 2
    except DemoError as error:
        say(f"demo: {error}")
    except Interrupted as error:
        say(f"demo: stopped by {error}; everything has ended")
    return 1


def run():
    """Whether every process ended as it should."""
    settings = read_settings(os.environ)
    check_ports_free(settings)
    os.makedirs(settings.out, exist_ok=True)
    say(
        f"demo: {WORKERS_COUNT} workers with an emulated V100 each, {settings.type}, azure with"
        f" load factor {settings.load_factor} for {WORKERS_OF_LOAD}, {settings.seconds} s; inputs:"
        f" {settings.inputs}"
    )
    say(f"logs: {settings.out}")
    processes = Processes()
    try:
        run_cluster(settings, processes)
    finally:
        clean = stop_cluster(processes)
    make_graphs(settings)
    report(settings)
    return clean


if __name__ == "__main__":
    sys.exit(exit_code_of(run))
