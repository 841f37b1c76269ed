#!/usr/bin/python3
"""What a simulated request and a simulated event cost.

    bench/bench_simulate.py [--build DIR] [--rounds 3] [--policy infer4] [--counts] [--out FILE] [CASE ...]

Cases (default: all):
  seed       the seed's experiment (6 GPUs, 4,026 instances, `azure 8`) for some simulated minutes: requests
             a second of one core, what 8 hours would take (limit 10 minutes), memory (limit 2 GB)
  telemetry  the same with both telemetry files, as a ratio to without (limit 1.6)
  large      1,000 GPUs under 500,000 requests/s and more (limit 300,000 simulated a second): `azure` with
             its heavy head, and 50,000 models that are all asked for equally often
  gpus       the same load a GPU on 6 to 4,096 GPUs, 4,096 models
  models     the same load on 64 GPUs, 61 to 100,000 models

CPU time of the events alone, without making the day and loading the models; the least of --rounds, because
other processes only ever add to it. --counts adds what the curves of `gpus` and `models` come from: the
instructions a request takes, and how many cache lines it asks for beyond a first-level cache of 32 KB and
beyond caches of 4 MB in all, as valgrind counts them in a shorter run (a minute a point).
"""
import argparse
import os
import pathlib
import platform
import re
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASES = ("seed", "telemetry", "large", "gpus", "models")
SEED_SECONDS = 300
HOURS = 8
COUNTED_REQUESTS = 20000


def simulate(build, *arguments):
    """The summary of one run, as a dict."""
    run = subprocess.run([str(pathlib.Path(build) / "simulate"), "--quiet", *map(str, arguments)],
                         check=True, capture_output=True, text=True)
    return dict(line.split(": ", 1) for line in run.stdout.splitlines())


def quickest(rounds, *arguments):
    return min((simulate(*arguments) for _ in range(rounds)), key=lambda run: float(run["cpu_s"]))


def cost(run):
    cpu_ns = float(run["cpu_s"]) * 1e9
    return (f"{float(run['requests_per_cpu_s']):.0f} requests/s of a core,"
            f" {cpu_ns / float(run['events']):.0f} ns/event,"
            f" {float(run['events']) / float(run['requests']):.2f} events/request,"
            f" {float(run['memory_max_mb']):.0f} MB")


def count(build, seconds, *arguments):
    """What a request takes, as valgrind's model of a processor says: a text."""
    with tempfile.TemporaryDirectory(prefix="clockwork-bench-") as folder:
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", "--cache-sim=yes", "--toggle-collect=events_run",
             "--D1=32768,8,64", "--LL=4194304,16,64", f"--callgrind-out-file={folder}/counts",
             str(pathlib.Path(build) / "simulate"), "--quiet", *map(str, arguments), "--seconds", str(seconds)],
            check=True, capture_output=True, text=True)
    summary = dict(line.split(": ", 1) for line in run.stdout.splitlines())
    found = {}
    for name, pattern in (("instructions", r"I +refs: +([0-9,]+)"), ("lines beyond 32 KB", r"D1 +misses: +([0-9,]+)"),
                          ("beyond 4 MB", r"LLd misses: +([0-9,]+)")):
        found[name] = int(re.search(pattern, run.stderr).group(1).replace(",", ""))
    requests = float(summary["requests"])
    return "; a request: " + ", ".join(f"{value / requests:.0f} {name}" for name, value in found.items())


def seed(options):
    run = quickest(options.rounds, options.build, "--seconds", SEED_SECONDS)
    minutes = float(run["cpu_s"]) / SEED_SECONDS * HOURS * 60
    yield (f"seed: {run['requests']} requests: {cost(run)};"
           f" {HOURS} hours would take {minutes:.1f} minutes (limit 10)")


def telemetry(options):
    without, with_files = [], []
    for _ in range(options.rounds):
        without.append(simulate(options.build, "--seconds", SEED_SECONDS))
        with tempfile.TemporaryDirectory(prefix="clockwork-bench-") as folder:
            with_files.append(simulate(options.build, "--seconds", SEED_SECONDS, "--out", folder))
    ratio = min(float(run["cpu_s"]) for run in with_files) / min(
        float(run["cpu_s"]) for run in without)
    yield f"telemetry: {ratio:.2f} times the CPU time of a run without (limit 1.6)"


def large(options):
    for workload in ("azure 1000 1 0.4", "poisson-open-loop 50000 500000"):
        run = quickest(options.rounds, options.build, "--workers", 125, "--gpus", 8, "--seconds", 4,
                       "--requests", 1000000, "--workload", workload)
        yield f"large: {workload}: {cost(run)} (limit 300,000/s)"


def sweep(options, name, points):
    first = None
    for number, arguments in points:
        arguments = ("--policy", options.policy, *arguments)
        run = quickest(options.rounds, options.build, "--requests", 4000000, *arguments)
        per_event = float(run["cpu_s"]) / float(run["events"])
        first = first or per_event
        counts = ""
        if options.counts:
            rate = float(run["requests"]) / float(run["simulated_s"])
            counts = count(options.build, f"{COUNTED_REQUESTS / rate:.3f}", "--requests", 4000000, *arguments)
        yield f"{name}={number}: {cost(run)}, {per_event / first:.2f} times the first{counts}"


def gpus(options):
    load = 250  # requests/s a GPU: two thirds of what batch 1 carries
    yield from sweep(options, "gpus", (
        (count, ("--workers", max(1, count // 8), "--gpus", min(count, 8),
                 "--seconds", max(3, 300000 / (load * count)),
                 "--workload", f"poisson-open-loop 4096 {load * count}"))
        for count in (6, 16, 64, 256, 1024, 4096)))


def models(options):
    yield from sweep(options, "models", (
        (count, ("--workers", 8, "--gpus", 8, "--seconds", 30,
                 "--workload", f"poisson-open-loop {count} 16000"))
        for count in (61, 250, 1000, 4000, 16000, 100000)))


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        for line in stream:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown processor"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--build", default=os.environ.get("CLOCKWORK_BUILD", ROOT / "build"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--policy", default="infer4", help="of `gpus` and `models`")
    parser.add_argument("--counts", action="store_true", help="instructions and cache lines too; needs valgrind")
    parser.add_argument("--out", help="append the figures to this file, with machine and commit")
    options = parser.parse_args()
    for case in options.cases:
        if case not in CASES:
            parser.error(f"unknown case '{case}': {', '.join(CASES)}")
    lines = []
    for case in options.cases or CASES:
        for line in globals()[case](options):
            print(line, flush=True)
            lines.append(line)
    if options.out:
        commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
                                capture_output=True, text=True).stdout.strip()
        head = (f"# {time.strftime('%Y-%m-%d')}, commit {commit}, {os.cpu_count()} cores,"
                f" {platform.machine()} ({processor()}), Linux {platform.release().split('-')[0]},"
                f" load average {os.getloadavg()[2]:.1f}: bench/bench_simulate.py --rounds {options.rounds}"
                f"{'' if options.policy == 'infer4' else ' --policy ' + options.policy}"
                f"{' --counts' if options.counts else ''} {' '.join(options.cases)}")
        with open(options.out, "a", encoding="utf-8") as out:
            out.write("\n".join([head.rstrip(), *lines]) + "\n")


if __name__ == "__main__":
    main()
