#!/usr/bin/env python3
"""Figures 9 and 10 of the seed's experiment (section 6.5), by simulation, into docs/figures/.

    scripts/figures.py [--build build] [--hours 8] [--seed 1] [--policy infer4] [--out docs/figures]
    scripts/figures.py --measured FOLDER [--title TEXT] [--command TEXT] [--leadin 10] [--out docs/figures]

Eight hours of `azure 8` on six V100s: simulate --columns into a temporary folder (some 8 GB, TMPDIR says
where), then the numbers and panels of experiments/maf-exp-1-and-2/process.py. Writes figure_9.png,
figure_10.png and figures_9_and_10.md, which says how they were made.

With --measured nothing is simulated: the telemetry of a real run (scripts/gpu_run.sh leaves it in its OUT)
gives figure_9_gpu.png, figure_10_gpu.png and figures_9_and_10_gpu.md, with the numbers of that run.
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


def write_measured_caption(path, options, rows):
    lines = [
        "# Figures 9 and 10, measured", "",
        "Written by `scripts/figures.py --measured FOLDER`; do not edit.", "",
        f"* {options.title}: `{options.command}`",
        f"* drawn on {time.strftime('%Y-%m-%d', time.gmtime())}; the first {options.leadin:g} s are left out",
        "", "![Figure 9: load, latency, batches, cold starts over time](figure_9_gpu.png)", "",
        "![Figure 10: how far predictions were off](figure_10_gpu.png)", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(process, run, out, title, suffix=""):
    nine = process.panels(run)
    for name, chosen, columns in (("figure_9", nine[:5], 3), ("figure_10", nine[5:], 2)):
        file = out / f"{name}{suffix}.png"
        process.figures.save_overview([panel[1:] for panel in chosen], file,
                                      title if columns == 3 else title.replace(" --workload", "\n--workload"),
                                      columns)
        print(f"figures: {file}")


def draw_measured(process, options):
    lacking = [name for name in ("clockwork_request_log.tsv", "clockwork_action_log.tsv")
               if not (options.measured / name).is_file()]
    if lacking:
        raise SystemExit(f"figures: {options.measured}: has no {lacking[0]}; name the OUT of scripts/gpu_run.sh")
    run = process.load_run(process.parse_arguments(
        ["-i", str(options.measured), "-l", f"{options.leadin:g}", "-b", "5"]))
    options.out.mkdir(parents=True, exist_ok=True)
    draw(process, run, options.out, options.title, "_gpu")
    write_measured_caption(options.out / "figures_9_and_10_gpu.md", options, process.summarize(run))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path,
                        default=pathlib.Path(os.environ.get("CLOCKWORK_BUILD", "build")))
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--policy", default="infer4")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "figures")
    parser.add_argument("--measured", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--title", default="one GPU, scripts/gpu_run.sh", help="of measured figures")
    parser.add_argument("--command", default="scripts/gpu_run.sh", help="that made the measured run")
    parser.add_argument("--leadin", type=float, help="seconds left out; 10 of a measured run")
    options = parser.parse_args()
    if options.measured is not None:
        options.leadin = 10 if options.leadin is None else options.leadin
        draw_measured(load_process(), options)
        return
    options.build = options.build.resolve()
    if options.leadin is None:
        options.leadin = min(LEADIN_S, options.hours * 3600 / 10)
    process = load_process()
    commit = describe_commit()  # before there are new figures
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="clockwork-figures-") as folder:
        command, summary = simulate(options, folder)
        interval = max(1, min(60, options.hours * 3600 / 120))
        run = process.load_run(process.parse_arguments(
            ["-i", folder, "-l", f"{options.leadin:g}", "-b", f"{interval:g}"]))
    draw(process, run, options.out, f"{command} · commit {commit}")
    write_caption(options.out / "figures_9_and_10.md", options, commit, command, summary)


if __name__ == "__main__":
    sys.exit(main())
