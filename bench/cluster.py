#!/usr/bin/python3
"""What the controller carries: requests a second, its CPU time per request, idle cost, latency.

    bench/cluster.py [--build DIR] [--seconds 20] [--out FILE] [CASE ...]

Cases (default: all):
  gpus=N,models=M,rate=R   one worker with N emulated V100s, an open Poisson load of R requests/s in all
  idle                     4,026 models loaded on 6 GPUs and nobody asking: CPU share and memory
  simple                   the `simple` workload on 10 GPUs: mean latency beside the mean execution time

All processes share this machine, with telemetry on. A run sustains its rate when at least 99 % of the
requests met their 100 ms, counted from the controller's request log. CPU is the process's own, over
the measured time. Nothing here is compared with a fixed time; the limits of the issue stand beside the
figures.
"""
import argparse
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "experiments"))

CASES = [
    "idle",
    "simple",
    "gpus=10,models=100,rate=2000",
    "gpus=10,models=100,rate=5000",
    "gpus=10,models=20,rate=8000",
    "gpus=40,models=100,rate=20000",
    "gpus=80,models=100,rate=40000",
]
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_megabytes(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) / 1000


class Cluster:
    """One worker, one controller, one client on loopback addresses of their own."""

    def __init__(self, build, gpus, workload, folder, generate_inputs=0):
        self.folder = pathlib.Path(folder)
        self.processes = {}
        environment = dict(
            os.environ, CLOCKWORK_LOG_DIR=str(folder), CLOCKWORK_DISABLE_INPUTS="1"
        )
        self.start(environment, build, "worker", "--backend", "emulated", "--gpus", str(gpus),
                   "--listen", "127.0.0.21:12345")
        self.start(environment, build, "controller", "INFER4", "127.0.0.21:12345",
                   str(generate_inputs), "--listen", "127.0.0.20:12346")
        self.start(environment, build, "client", "127.0.0.20:12346", *workload)

    def start(self, environment, build, name, *arguments):
        log = open(self.folder / f"{name}.log", "w")
        self.processes[name] = subprocess.Popen(
            [str(pathlib.Path(build) / name), *arguments], env=environment, stdout=log,
            stderr=subprocess.STDOUT)
        log.close()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_for(self, name, text, seconds=120):
        end = time.monotonic() + seconds
        while text not in self.log(name):
            if self.processes[name].poll() is not None or time.monotonic() > end:
                raise SystemExit(f"bench: {name} did not say '{text}':\n{self.log(name)[-800:]}")
            time.sleep(0.1)

    def measure(self, seconds):
        pids = {name: process.pid for name, process in self.processes.items()}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        begin = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - begin
        cpu = {name: (cpu_seconds(pid) - before[name]) / elapsed for name, pid in pids.items()}
        return elapsed, cpu, {name: rss_megabytes(pid) for name, pid in pids.items()}

    def stop(self, names=("client", "controller", "worker")):
        for name in names:
            process = self.processes.pop(name, None)
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
            if process is not None:
                process.wait(60)


def summarise(folder, leadin):
    """The summary of process.py, as a dict."""
    command = ["/usr/bin/python3", str(ROOT / "experiments/maf-exp-1-and-2/process.py"),
               "-i", str(folder), "-o", str(folder), "-l", str(leadin), "-b", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = (pathlib.Path(folder) / "summary.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def run_load(build, gpus, models, rate, seconds, folder):
    leadin = 5
    cluster = Cluster(build, gpus, ["poisson-open-loop", str(models), str(rate)], folder)
    try:
        cluster.wait_for("client", "replaying")
        time.sleep(leadin)
        elapsed, cpu, rss = cluster.measure(seconds)
    finally:
        cluster.stop()
    summary = summarise(folder, leadin)
    offered = float(summary["throughput_rps"])
    share = float(summary["slo_met_percent"])
    return (f"gpus={gpus} models={models} rate={rate:g}: offered {offered:.0f}/s, in SLO {share:.3f} %"
            f" ({'sustained' if share >= 99 else 'NOT sustained'}), p99 {summary['latency_p99_ms']} ms,"
            f" batch {summary['mean_batch']}; CPU controller {cpu['controller']:.3f} of a core ="
            f" {cpu['controller'] / offered * 1e6:.1f} us/request (limit 15),"
            f" client {cpu['client']:.3f}, worker {cpu['worker']:.3f};"
            f" controller {rss['controller']:.0f} MB")


def run_idle(build, seconds, folder):
    # One request in ten minutes: models are loaded, then nobody asks.
    cluster = Cluster(build, 6, ["poisson-open-loop", "4026", "0.002"], folder)
    try:
        cluster.wait_for("client", "replaying")
        time.sleep(2)
        _, cpu, rss = cluster.measure(seconds)
    finally:
        cluster.stop()
    return (f"idle, 4,026 models: CPU controller {cpu['controller'] * 100:.2f} % of a core (limit 1),"
            f" worker {cpu['worker'] * 100:.2f} %, client {cpu['client'] * 100:.2f} %;"
            f" memory controller {rss['controller']:.0f} MB (limit 64), worker {rss['worker']:.0f} MB")


def run_simple(build, seconds, folder):
    cluster = Cluster(build, 10, ["simple"], folder)
    try:
        cluster.wait_for("client", "replaying")
        time.sleep(seconds)
    finally:
        cluster.stop(("client",))
        client_log = (pathlib.Path(folder) / "client.log").read_text()
        cluster.stop(("controller", "worker"))
    means = re.findall(r"mean[ =:]+([0-9.]+)", client_log)
    import pandas
    actions = pandas.read_csv(pathlib.Path(folder) / "clockwork_action_log.tsv", sep="\t")
    infers = actions[(actions.action_type == 2) & (actions.status == 0)]
    execution = infers.worker_exec_duration.mean() / 1e6
    latency = float(means[-1])
    return (f"simple: mean latency at the client {latency:.3f} ms, mean execution {execution:.3f} ms,"
            f" difference {latency - execution:.3f} ms (limit 0.4), ratio {latency / execution:.3f}"
            f" (original 5.2 / 2.73 = 1.90)")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="CASE")
    parser.add_argument("--build", default=os.environ.get("CLOCKWORK_BUILD", ROOT / "build"))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--out", help="append the figures to this file, with machine and commit")
    arguments = parser.parse_args()
    lines = []
    for case in arguments.cases:
        folder = tempfile.mkdtemp(prefix="clockwork-bench-")
        try:
            load = re.fullmatch(r"gpus=(\d+),models=(\d+),rate=([\d.]+)", case)
            if load:
                line = run_load(arguments.build, int(load[1]), int(load[2]), float(load[3]),
                                arguments.seconds, folder)
            elif case == "idle":
                line = run_idle(arguments.build, arguments.seconds, folder)
            elif case == "simple":
                line = run_simple(arguments.build, arguments.seconds, folder)
            else:
                parser.error(f"unknown case '{case}': idle, simple or gpus=N,models=M,rate=R")
            print(line, flush=True)
            lines.append(line)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.out:
        commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
                                capture_output=True, text=True).stdout.strip()
        head = (f"# {time.strftime('%Y-%m-%d')}, commit {commit}, {os.cpu_count()} cores,"
                f" {platform.machine()}, Linux {platform.release().split('-')[0]}:"
                f" bench/cluster.py --seconds {arguments.seconds:g}")
        with open(arguments.out, "a") as out:
            out.write("\n".join([head, *lines]) + "\n")


if __name__ == "__main__":
    main()
