#!/usr/bin/python3
"""The same workload and seed in real processes and in the simulator, side by side.

    bench/compare_simulation.py [--build DIR] [--gpus 6] [--seconds 60] [--leadin 5] [--seed 1] [WORKLOAD ...]

One emulated worker, a controller and a client on loopback addresses; then `simulate` with the same options.
Both are summed up by process.py. Prints a table in Markdown: real, simulated, and their ratio. On a host
that is busy with other things the real one has tails that no model of the cluster knows.
"""
import argparse
import os
import pathlib
import shlex
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKLOADS = ("poisson-open-loop 100 2000", "azure 8 1 0.3 4")
KEYS = ("requests", "goodput_rps", "slo_met_percent", "latency_p50_ms", "latency_p99_ms",
        "latency_p9999_ms", "cold_starts", "mean_batch", "infer_actions", "load_actions",
        "infer_prediction_error_p99_us", "infer_completion_error_p99_us")
CONTROLLER, WORKER = "127.0.0.60:12346", "127.0.0.61:12345"


def summarise(folder, leadin):
    subprocess.run(["/usr/bin/python3", ROOT / "experiments/maf-exp-1-and-2/process.py", "-i", folder,
                    "-o", folder, "-l", str(leadin), "--no-overview"], check=True)
    lines = (folder / "summary.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def start(folder, build, name, *arguments):
    environment = dict(os.environ, CLOCKWORK_LOG_DIR=str(folder), CLOCKWORK_DISABLE_INPUTS="1")
    with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
        return subprocess.Popen([build / name, *arguments], env=environment, stdout=log,
                                stderr=subprocess.STDOUT)


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(60)


def run_real(options, workload, folder):
    worker = start(folder, options.build, "worker", "--backend", "emulated", "--gpus",
                   str(options.gpus), "--listen", WORKER)
    controller = start(folder, options.build, "controller", "INFER4", WORKER, "--listen", CONTROLLER)
    client = start(folder, options.build, "client", CONTROLLER, *shlex.split(workload), "--seed",
                   str(options.seed), "--duration", str(options.seconds))
    try:
        end = time.monotonic() + options.seconds + 120
        while client.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        if client.poll() != 0:
            raise SystemExit(f"compare_simulation: the client failed: {folder}/client.log")
    finally:
        for process in (client, controller, worker):
            stop(process)


def run_simulated(options, workload, folder):
    subprocess.run([options.build / "simulate", "--quiet", "--workers", "1", "--gpus",
                    str(options.gpus), "--seconds", str(options.seconds), "--seed",
                    str(options.seed), "--workload", workload, "--out", folder],
                   check=True, stdout=subprocess.DEVNULL)


def compare(options, workload):
    summaries = []
    for run in (run_real, run_simulated):
        with tempfile.TemporaryDirectory(prefix="clockwork-compare-") as folder:
            run(options, workload, pathlib.Path(folder))
            summaries.append(summarise(pathlib.Path(folder), options.leadin))
    real, simulated = summaries
    print(f"\n| `{workload}`, {options.gpus} GPUs, {options.seconds:g} s | real | simulated | ratio |")
    print("|---|---|---|---|")
    for key in KEYS:
        ratio = "" if float(real[key]) == 0 else f"{float(simulated[key]) / float(real[key]):.4f}"
        print(f"| {key} | {real[key]} | {simulated[key]} | {ratio} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD")
    parser.add_argument("--build", type=pathlib.Path,
                        default=os.environ.get("CLOCKWORK_BUILD", ROOT / "build"))
    parser.add_argument("--gpus", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--leadin", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.build = pathlib.Path(options.build).resolve()
    for workload in options.workloads or WORKLOADS:
        compare(options, workload)


if __name__ == "__main__":
    main()
