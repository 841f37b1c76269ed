#!/usr/bin/env python3
"""Figures 9 and 10 of the seed's experiment (section 6.5), by simulation, into docs/figures/.

    scripts/figures.py [--build build] [--hours 8] [--seed 1] [--policy infer4] [--out docs/figures]

Eight hours of `azure 8` on six V100s: simulate --columns into a temporary folder (some 8 GB, TMPDIR says
where), then the numbers and panels of experiments/maf-exp-1-and-2/process.py. Writes figure_9.png,
figure_10.png and figures_9_and_10.md, which says how they were made.
"""
import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXPERIMENT = ROOT / "experiments" / "maf-exp-1-and-2"
WORKLOAD = "azure 8 1 1.0 4"
LEADIN_S = 600
SUMMARY_KEYS = ("requests", "duration_s", "throughput_rps", "goodput_rps", "slo_met_percent", "late_answers",
                "latency_p50_ms", "latency_p99_ms", "latency_p9999_ms", "latency_max_ms", "cold_starts",
                "mean_batch", "infer_actions", "load_actions", "cpu_s", "requests_per_cpu_s", "memory_max_mb",
                "trace_hash")


def load_process():
    spec = importlib.util.spec_from_file_location("process", EXPERIMENT / "process.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def describe_commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True,
                              check=False).stdout.strip()

    dirty = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + dirty


def simulate(options, folder):
    """(the command as a person would type it, the summary)"""
    arguments = ["--workers", "6", "--gpus", "1", "--policy", options.policy, "--workload", WORKLOAD,
                 "--hours", f"{options.hours:g}", "--seed", str(options.seed)]
    shown = "simulate " + " ".join(f'"{a}"' if " " in a else a for a in arguments)
    run = subprocess.run([options.build / "simulate", *arguments, "--leadin", str(options.leadin),
                          "--columns", "--out", folder], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"figures: simulate ended with {run.returncode}; build it first: make build")
    return shown, dict(line.split(": ", 1) for line in run.stdout.splitlines())


def write_caption(path, options, commit, command, summary):
    lines = [
        "# Figures 9 and 10, simulated", "",
        "Written by `make figures`; do not edit.", "",
        f"* commit {commit}, {time.strftime('%Y-%m-%d', time.gmtime())}",
        f"* `{command}`; seed {options.seed}; synthetic day 1; the first {options.leadin:g} s are left out",
        "", "![Figure 9: load, latency, batches, cold starts over time](figure_9.png)", "",
        "![Figure 10: how far predictions were off](figure_10.png)", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {summary[key]} |" for key in SUMMARY_KEYS]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path,
                        default=pathlib.Path(os.environ.get("CLOCKWORK_BUILD", "build")))
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--policy", default="infer4")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.leadin = min(LEADIN_S, options.hours * 3600 / 10)
    process = load_process()
    commit = describe_commit()  # before there are new figures
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="clockwork-figures-") as folder:
        command, summary = simulate(options, folder)
        interval = max(1, min(60, options.hours * 3600 / 120))
        run = process.load_run(process.parse_arguments(
            ["-i", folder, "-l", f"{options.leadin:g}", "-b", f"{interval:g}"]))
    nine = process.panels(run)
    title = f"{command} · commit {commit}"
    for name, chosen, columns in (("figure_9.png", nine[:5], 3), ("figure_10.png", nine[5:], 2)):
        process.figures.save_overview([panel[1:] for panel in chosen], options.out / name,
                                      title if columns == 3 else title.replace(" --workload", "\n--workload"),
                                      columns)
        print(f"figures: {options.out / name}")
    write_caption(options.out / "figures_9_and_10.md", options, commit, command, summary)


if __name__ == "__main__":
    sys.exit(main())
