#!/usr/bin/python3
"""Serves trained models on this machine's cores: `make demo-cpu`.

One worker computes four models from PyPI: three that read the text of a picture, one that names types
of files. The picture is drawn, sent through the client, and what was read is printed; then every model is asked
DEMO_REQUESTS times, and the summary says how well its executions were predicted. Reads CLOCKWORK_BUILD and the
variables that README.md lists. Exits 1 if something failed or text was read wrongly, 2 for a variable that cannot
be; leaves no process behind.
"""

import csv
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np

import demo
import reading
from demo import DemoError, Processes, Progress, SettingsError, say

ROOT = demo.ROOT
WORKER_ADDRESS, CONTROLLER_ADDRESS = "127.0.0.11", "127.0.0.1"
BATCHES = "1,2,4"
COMPILE_SECONDS_MAX = 120
CLIENT_SECONDS_MAX = 120
FIRST_SLO_MS = 60000
DEFAULT_TYPE = "PRICED"  # the scheduler that README.md recommends
# All models share the cores, and each has one request under way: it may have to wait for all others.
SLO_FACTOR = 3
FILES = ("README.md", "src/backend/backend.h", "scripts/demo_cpu.py", "demo.sh", "CMakeLists.txt")
INFER = 2
NS_PER_MS = 1e6


@dataclass
class Settings:
    build: str
    type: str
    requests: int
    slo_ms: int  # 0: SLO_FACTOR times what one execution of each model takes
    worker_port: int
    out: str
    predicted_ms: dict  # by model, once it was asked

    @property
    def worker(self):
        return f"{WORKER_ADDRESS}:{self.worker_port}"

    @property
    def controller(self):
        return f"{CONTROLLER_ADDRESS}:{self.worker_port + 1}"

    @property
    def packages(self):
        return os.path.join(f"{self.build}-venv", "models")

    def addresses(self):
        return [
            ("worker", WORKER_ADDRESS, self.worker_port),
            ("controller", CONTROLLER_ADDRESS, self.worker_port + 1),
        ]

    def path(self, name):
        return os.path.join(self.out, name)


def read_settings(environment):
    def number(name, default, low, high):
        text = environment.get(name) or default
        if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
            raise SettingsError(f"{name}={text}: must be a whole number from {low} to {high}")
        return int(text)

    type_ = environment.get("DEMO_TYPE") or DEFAULT_TYPE
    if type_ not in demo.CONTROLLER_TYPES:
        raise SettingsError(f"DEMO_TYPE={type_}: must be one of {', '.join(demo.CONTROLLER_TYPES)}")
    out = environment.get("DEMO_OUT") or f"out/demo-cpu-{time.strftime('%Y%m%d-%H%M%S')}"
    return Settings(
        build=os.path.join(ROOT, environment.get("CLOCKWORK_BUILD") or "build"),
        type=type_,
        requests=number("DEMO_REQUESTS", "200", 1, 100000),
        slo_ms=number("DEMO_SLO_MS", "0", 0, 3600000),
        worker_port=number("DEMO_PORT_BASE", str(demo.WORKER_PORT), 1, 65534),
        out=os.path.join(ROOT, out),
        predicted_ms={},
    )


# --- the run ---------------------------------------------------------------------------------


def call(settings, program, *arguments, seconds_max):
    """One program to its end; what it printed."""
    command = [os.path.join(settings.build, program), *arguments]
    try:
        run = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds_max,
        )
    except OSError as error:
        raise DemoError(f"cannot start {command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise DemoError(f"did not end within {seconds_max} s: {' '.join(command)}") from None
    if run.returncode:
        last = (run.stdout.strip().splitlines() or ["it printed nothing"])[-1]
        raise DemoError(f"{program} exited with {run.returncode}: {last}")
    return run.stdout


def compile_models(settings):
    for number, (name, (path, shape)) in enumerate(reading.MODELS.items(), 1):
        say(f"[{number}/{len(reading.MODELS)}] compiling {name}, from {path}")
        file = os.path.join(settings.packages, path)
        if not os.path.exists(file):
            raise DemoError(f"{file} is not there; run make setup-zoo, which fetches it from PyPI")
        words = ["--shape", shape] if shape else []
        call(
            settings,
            "compile_model",
            file,
            *("-o", settings.path(f"models/{name}"), "--name", name, "--batch", BATCHES, *words),
            seconds_max=COMPILE_SECONDS_MAX,
        )


def start_servers(settings, processes):
    def start(name, program, *arguments):
        processes.start(
            name,
            [os.path.join(settings.build, program), *arguments],
            settings.path(f"{name}.log"),
            {**os.environ, "CLOCKWORK_LOG_DIR": settings.out},
        )
        _, address, port = next(one for one in settings.addresses() if one[0] == name)
        demo.wait_until(
            lambda: demo.is_listening(address, port),
            demo.START_SECONDS_MAX,
            processes,
            f"{name} listening on {address}:{port}",
        )

    start("worker", "worker", "--backend", "cpu", "--listen", settings.worker)
    # What starts from now on, and this script, take the core that the worker's devices leave.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    start("controller", "controller", settings.type, settings.worker, "--listen", settings.controller)


def ask(settings, model, array):
    """One input's answer, through the client, who also tells what one execution is expected to take."""
    input_path, output_path = (settings.path(f"{model}.{end}") for end in ("input", "output"))
    array.tofile(input_path)
    said = call(
        settings,
        "client",
        *(settings.controller, "infer", settings.path(f"models/{model}"), "--count", "1"),
        *("--input", input_path, "--output", output_path, "--slo-ms", str(FIRST_SLO_MS)),
        seconds_max=CLIENT_SECONDS_MAX,
    )
    predicted = re.search(r"execution predicted ([\d.]+) ms", said)
    settings.predicted_ms[model] = float(predicted[1])
    return np.fromfile(output_path, np.float32)


def read_picture(settings):
    """Prints the lines that the models read; True if they are those that were drawn."""
    from matplotlib.image import imsave

    picture = reading.draw()
    imsave(settings.path("picture.png"), picture)
    say(f"\na picture with {len(reading.TEXT_LINES)} lines of text, one upside down:"
        f" {settings.path('picture.png')}")
    path, _ = reading.MODELS["ocr_recognition"]
    characters = reading.alphabet(os.path.join(settings.packages, path))
    texts = []
    for top, left, bottom, right in reading.boxes(
        ask(settings, "ocr_detection", reading.as_input(picture))
    ):
        line = picture[top:bottom, left:right]
        direction = reading.line_as_input(line, reading.DIRECTION_COLUMNS)
        is_turned = reading.is_upside_down(ask(settings, "ocr_direction", direction))
        if is_turned:
            line = line[::-1, ::-1]
        answer = ask(settings, "ocr_recognition", reading.line_as_input(line, reading.LINE_COLUMNS))
        text, sure = reading.text_of(answer, characters)
        say(f'  at row {top}, column {left}{", upside down" if is_turned else ""}:'
            f' "{text}" (sure to {sure:.1%})')
        texts.append(text)
    return texts == list(reading.TEXT_LINES)


def name_files(settings):
    say("\ntypes of files, by what is in them:")
    names = reading.file_types(settings.packages)
    for path in FILES:
        scores = ask(settings, "magika", reading.file_as_input(os.path.join(ROOT, path)))
        say(f"  {path}: {names[scores.argmax()]} (sure to {scores.max():.1%})")


def ask_often(settings, processes):
    """Every model at once, each with one request after another, with the inputs of before."""
    if settings.slo_ms == 0:
        settings.slo_ms = int(np.ceil(SLO_FACTOR * sum(settings.predicted_ms.values())))
    say(f"\nevery model {settings.requests} times, all at once, within {settings.slo_ms} ms")
    clients = []
    for model in reading.MODELS:
        command = [os.path.join(settings.build, "client"), settings.controller, "infer"]
        command += [settings.path(f"models/{model}"), "--input", settings.path(f"{model}.input")]
        command += ["--count", str(settings.requests), "--concurrency", "1"]
        command += ["--slo-ms", str(settings.slo_ms)]
        log = settings.path(f"client_{model}.log")
        clients.append(demo.Process(f"client {model}", command, log, os.environ))
    progress = Progress()
    begin = time.monotonic()
    try:
        while any(not client.has_ended() for client in clients):
            processes.check_alive()
            done = count_rows(settings.path("clockwork_request_log.tsv"))
            progress.show(f"{time.monotonic() - begin:4.0f} s   {done} requests answered in all")
            time.sleep(demo.POLL_SECONDS)
    finally:
        progress.end()
        for client in clients:
            client.stop()
    for client in clients:
        if client.popen.returncode:
            last = (client.output().strip().splitlines() or ["it printed nothing"])[-1]
            raise DemoError(f"{client.name} {client.how_it_ended()}: {last} ({client.log_path})")


def count_rows(path):
    try:
        with open(path, "rb") as file:
            return max(0, file.read().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


# --- the summary -----------------------------------------------------------------------------


def read_rows(path):
    with open(path, encoding="ascii", newline="") as file:
        return [{key: float(value) for key, value in row.items()}
                for row in csv.DictReader(file, delimiter="\t")]


def quantiles(values, *shares):
    """The smallest of the values that so large a share does not exceed, for each share."""
    ranked = np.sort(np.asarray(values, dtype=float))
    return [ranked[max(0, int(np.ceil(share * len(ranked))) - 1)] for share in shares]


def spell_predictions(name, rows):
    took = np.array([row["worker_exec_duration"] for row in rows])
    expected = np.array([row["expected_exec_duration"] for row in rows])
    half, nine_tenths, most = quantiles(np.abs(took - expected) / expected, 0.5, 0.9, 0.99)
    (typical,) = quantiles(took / NS_PER_MS, 0.5)
    return (f"{name:16} {len(rows):6} {typical:9.2f} ms"
            f"   {spell_share(half):>19}  {spell_share(nine_tenths):>9}  {spell_share(most):>9}")


def spell_share(share):
    """Above ten times what was predicted it no longer matters by how much."""
    return f"{share:.1%}" if share <= 10 else "over 10 x"


def spell_requests(requests, slo_ms):
    """What became of them: in time, late, and for how many it was given up before."""
    met = sum(row["deadline_met"] == 1 for row in requests)
    refused = sum(row["result"] != 0 for row in requests)
    return (f"{len(requests)} requests, {met / len(requests):.2%} within {slo_ms} ms:"
            f" {met} in time, {len(requests) - met - refused} late, {refused} refused;")


def summary(settings, begin_ns):
    """Lines about what was asked for after `begin_ns` of wall clock."""

    def rows_of(name):
        return [row for row in read_rows(settings.path(name)) if row["t"] >= begin_ns]

    requests = rows_of("clockwork_request_log.tsv")
    executions = [row for row in rows_of("clockwork_action_log.tsv")
                  if row["action_type"] == INFER and row["status"] == 0]
    if not executions:
        raise DemoError("no request was served; give a longer DEMO_SLO_MS")
    latency = quantiles([row["latency"] / NS_PER_MS for row in requests], 0.5, 0.99)
    yield spell_requests(requests, settings.slo_ms)
    yield f"latency in the controller p50 {latency[0]:.1f} ms, p99 {latency[1]:.1f} ms"
    yield ""
    yield f"{'executions of':16} {'number':>6} {'took p50':>12}   off prediction: p50        p90        p99"
    # Ids are given in the order in which models are loaded.
    for model_id, name in enumerate(settings.predicted_ms, int(min(row["model_id"] for row in requests))):
        rows = [row for row in executions if row["model_id"] == model_id]
        if rows:
            yield spell_predictions(name, rows)
    yield spell_predictions("all", executions)


def report(settings, begin_ns):
    lines = list(summary(settings, begin_ns))
    with open(settings.path("summary.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    say(f"summary: {settings.path('summary.txt')}\n")
    for line in lines:
        say(f"  {line}")


def run():
    """Whether every process ended as it should."""
    settings = read_settings(os.environ)
    demo.check_ports_free(settings)
    os.makedirs(settings.path("models"), exist_ok=True)
    say(f"demo: trained models on this machine's cores, {settings.type}; logs: {settings.out}")
    compile_models(settings)
    processes = Processes()
    try:
        start_servers(settings, processes)
        was_right = read_picture(settings)
        name_files(settings)
        begin_ns = time.time_ns()
        ask_often(settings, processes)
    finally:
        clean = demo.stop_cluster(processes)
    report(settings, begin_ns)
    if not was_right:
        raise DemoError("what was read is not what was drawn")
    return clean


if __name__ == "__main__":
    sys.exit(demo.exit_code_of(run))
