#!/usr/bin/env python3
"""Draws what `plan --csv FILE` found: the share of requests in their SLO against the number of GPUs.

    plot.py trials.csv figure.png [--target 99.99]

Whole trials of the busiest stretch as a line; those that ended early, because too many had missed,
as open circles (their share is that of the requests until then); the verification on the longer
stretch as a filled one.  The axis is stretched towards 100 %.
"""

import argparse
import csv
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import common  # noqa: E402

common.require("plot.py", "numpy", "matplotlib")

import numpy  # noqa: E402

from common import figures  # noqa: E402

COLUMNS = ("stage", "gpus", "is_whole", "is_enough", "share_percent")


def read_trials(path):
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise SystemExit(f"{path}: no column '{missing[0]}'; give the file of plan --csv")
            return [
                (
                    row["stage"],
                    int(row["gpus"]),
                    row["is_whole"] == "1",
                    row["is_enough"] == "1",
                    float(row["share_percent"]),
                )
                for row in reader
            ]
    except (OSError, ValueError, TypeError) as error:
        raise SystemExit(f"{path}: {error}") from None


def decades(percent):
    """99 % → 2, 99.9 % → 3, …; what misses nothing is drawn at the upper edge."""
    return -numpy.log10(numpy.maximum(1 - numpy.asarray(percent) / 100, 1e-6))


def draw(axes, trials, target):
    whole = sorted(
        {(gpus, share) for stage, gpus, is_whole, _, share in trials if is_whole and stage != "verify"}
    )
    if whole:
        axes.plot(
            [gpus for gpus, _ in whole],
            decades([share for _, share in whole]),
            color=figures.BLUE,
            marker=".",
            label="busiest",
        )
    early = [(gpus, share) for _, gpus, is_whole, _, share in trials if not is_whole]
    if early:
        axes.plot(
            [gpus for gpus, _ in early],
            decades([share for _, share in early]),
            "o",
            color=figures.GREY,
            fillstyle="none",
            markersize=4,
            label="ended early",
        )
    verified = [(gpus, share) for stage, gpus, _, is_enough, share in trials
                if stage == "verify" and is_enough]
    if verified:
        axes.plot(
            [gpus for gpus, _ in verified],
            decades([share for _, share in verified]),
            "o",
            color=figures.VERMILION,
            markersize=5,
            label="verified",
        )
    axes.axhline(decades(target), color="black", linewidth=0.8, linestyle=(0, (4, 2)))
    ticks = numpy.arange(0, 7)
    labels = [figures.percentile_label(tick) for tick in ticks]
    labels[-1] = "100"
    axes.set_yticks(ticks, labels)
    axes.set_ylim(0, 6.2)
    axes.set_xlabel("GPUs")
    axes.set_ylabel("Requests in SLO (%)")
    figures.draw_legend(axes, 3)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trials")
    parser.add_argument("figure")
    parser.add_argument("--target", type=float, default=99.99, help="percent (99.99)")
    options = parser.parse_args()
    trials = read_trials(options.trials)
    if not trials:
        raise SystemExit(f"{options.trials}: no trial in it")
    if not 0 < options.target <= 100:
        raise SystemExit("--target: must be above 0 and at most 100 percent")
    figures.save_panel(
        lambda axes: draw(axes, trials, options.target), options.figure, dpi=200
    )


if __name__ == "__main__":
    main()
