#!/usr/bin/python3
"""The same workload and seed in real processes and in the simulator, side by side.

    bench/compare_simulation.py [--build DIR] [--gpus 6] [--seconds 60] [--leadin 5] [--seed 1]
                                [--figure FILE] [--out FILE] [WORKLOAD ...]

One emulated worker, a controller and a client on loopback addresses; then `simulate` with the same options.
Both are summed up by process.py. Prints a table in Markdown: real, simulated, and their ratio; --out appends
it to a file, with machine and commit. --figure draws goodput, batch size and cold starts of the last
workload over time, both runs on top of each other. On a host that is busy with other things the real one
has tails that no model of the cluster knows: how busy it was stands above each table.
"""
import argparse
import csv
import os
import pathlib
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKLOADS = ("poisson-open-loop 100 1000", "azure 8 1 0.1 4", "azure 8 1 0.2 4", "azure 8 1 0.3 4")
KEYS = ("requests", "throughput_rps", "goodput_rps", "slo_met_percent", "latency_p50_ms", "latency_p99_ms",
        "latency_p9999_ms", "cold_starts", "mean_batch", "infer_actions", "load_actions",
        "infer_prediction_error_p99_us", "infer_completion_error_p99_us")
CONTROLLER, WORKER = "127.0.0.60:12346", "127.0.0.61:12345"


def summarise(folder, options):
    """(the summary, the time series by column)"""
    subprocess.run([sys.executable, ROOT / "experiments/maf-exp-1-and-2/process.py", "-i", folder,
                    "-o", folder, "-l", str(options.leadin), "-b", str(options.interval),
                    "--no-overview"], check=True)
    lines = (folder / "summary.txt").read_text().splitlines()
    with open(folder / "timeseries_data.tsv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    series = {name: [float(row[name]) for row in rows] for name in rows[0]}
    return dict(line.split(": ", 1) for line in lines), series


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


def busy_share():
    """CPU time of all processes of this machine so far, and all time, in ticks."""
    with open("/proc/stat", encoding="ascii") as stream:
        ticks = [int(field) for field in stream.readline().split()[1:]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def compare(options, workload):
    """(lines of the table, series of both)"""
    summaries, both = [], []
    shares = []
    for run in (run_real, run_simulated):
        with tempfile.TemporaryDirectory(prefix="clockwork-compare-") as folder:
            busy, total = busy_share()
            run(options, workload, pathlib.Path(folder))
            after, total_after = busy_share()
            shares.append((after - busy) / max(1, total_after - total))
            summary, series = summarise(pathlib.Path(folder), options)
            summaries.append(summary)
            both.append(series)
    real, simulated = summaries
    lines = [f"| `{workload}`, {options.gpus} GPUs, {options.seconds:g} s | real | simulated | ratio |",
             "|---|---|---|---|"]
    for key in KEYS:
        ratio = "" if float(real[key]) == 0 else f"{float(simulated[key]) / float(real[key]):.4f}"
        lines.append(f"| {key} | {real[key]} | {simulated[key]} | {ratio} |")
    lines.append(f"| the machine's cores were busy | {shares[0]:.0%} | | |")
    return lines, both


def draw(options, workload, both):
    sys.path.insert(0, str(ROOT / "experiments"))
    import numpy  # the build's own python need not have them

    from common import figures

    real, simulated = both
    count = min(len(real["t_s"]), len(simulated["t_s"]))
    edges = numpy.append(real["t_s"][:count], real["t_s"][count - 1] + options.interval)
    panels = []
    for column, caption, ylabel in (
            ("goodput_rps", "Goodput", "Requests/s"), ("batch_size", "Batch size", "Mean batch size"),
            ("coldstarts_per_s", "Cold starts", "Cold starts/s")):
        lines = [("processes", numpy.array(real[column][:count]), figures.ORANGE),
                 ("simulated", numpy.array(simulated[column][:count]), figures.BLUE)]
        panels.append((caption, lambda axes, lines=lines, ylabel=ylabel: figures.draw_time_series(
            axes, edges, lines, ylabel)))
    title = f"{workload}, {options.gpus} emulated V100s, seed {options.seed}, commit {commit()}"
    figures.save_overview(panels, options.figure, title)


def commit():
    return subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
                          capture_output=True, text=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD")
    parser.add_argument("--build", type=pathlib.Path,
                        default=os.environ.get("CLOCKWORK_BUILD", ROOT / "build"))
    parser.add_argument("--gpus", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--leadin", type=float, default=5)
    parser.add_argument("--interval", type=float, default=2, help="of the figure, in seconds (2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figure", help="draw goodput, batch size and cold starts there")
    parser.add_argument("--out", help="append the tables there")
    options = parser.parse_args()
    options.build = pathlib.Path(options.build).resolve()
    lines = []
    for workload in options.workloads or WORKLOADS:
        table, both = compare(options, workload)
        print("\n".join(["", *table]), flush=True)
        lines += ["", *table]
    if options.figure:
        draw(options, workload, both)
    if options.out:
        head = (f"# {time.strftime('%Y-%m-%d')}, commit {commit()}, {os.cpu_count()} cores,"
                f" {platform.machine()}, Linux {platform.release().split('-')[0]}:"
                f" bench/compare_simulation.py --gpus {options.gpus} --seconds {options.seconds:g}"
                f" --leadin {options.leadin:g} --seed {options.seed}")
        with open(options.out, "a", encoding="utf-8") as out:
            out.write("\n".join([head, *lines]) + "\n\n")


if __name__ == "__main__":
    main()
