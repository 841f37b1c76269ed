#!/usr/bin/python3
"""Compares the synthetic day with real days of calls, as a figure and a table.

    plot_trace_fit.py --traces FOLDER [--make-trace build/make_trace] [--output FILE.png]
    plot_trace_fit.py --traces FOLDER --constants

FOLDER holds real days in the public schema, invocations_per_function_md.anon.d01.csv and d02
(or .csv.gz). The first form makes the same two days of as many functions with make_trace and
draws both; the second prints the constants that src/workload/synthetic_day.c carries.
docs/synthetic-day.md explains the six panels.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

MINUTES = 1440
NAME = "invocations_per_function_md.anon.d{:02d}.csv"
PERIODS = [1, 5, 10, 15, 20, 30, 60, 120, 180, 1440]
# Shares above which the quantiles of calls are kept; the first five are the heaviest functions.
ABOVE = [0.02, 0.04, 0.08, 0.15, 0.25, 0.35, 0.5, 0.65, 0.75, 0.85]
REAL, SYNTHETIC = "#1b4f72", "#d35400"


def read_day(folder, day):
    for ending in ("", ".gz"):
        path = os.path.join(folder, NAME.format(day) + ending)
        if os.path.exists(path):
            frame = pd.read_csv(path)
            return frame.set_index("HashFunction")[[str(i + 1) for i in range(MINUTES)]]
    sys.exit(f"plot_trace_fit: {folder}: no {NAME.format(day)} (or .gz); give the traces' folder")


class Days:
    """Two days of the same functions: counts of the first, and of both together."""

    def __init__(self, folder, label, colour):
        first, second = read_day(folder, 1), read_day(folder, 2)
        index = first.index.union(second.index)
        self.label, self.colour = label, colour
        self.first = first.reindex(index, fill_value=0).to_numpy()
        self.second = second.reindex(index, fill_value=0).to_numpy()
        self.both = self.first + self.second
        self.calls = self.first.sum(axis=1)
        self.period = np.array([timer_period(row) for row in self.both])
        self.is_present = self.calls > 0
        self.is_plain = self.is_present & (self.period == 0)

    def varies(self, calls_min):
        """Squared coefficient of variation of the rate by the minute, of functions that are no
        timers: that of the counts less what Poisson counting adds to it. And their calls."""
        chosen = self.is_plain & (self.calls >= calls_min)
        rows = self.first[chosen]
        mean = rows.mean(axis=1)
        return (rows.var(axis=1) - mean) / mean**2, self.calls[chosen]


def timer_period(row):
    """The longest period at which nine tenths of a function's calls fall on one minute or two
    neighbours, while more than half of the periods have a call; 0 if there is none."""
    calls = row.sum()
    if calls < 12 or (row > 0).sum() < 3:
        return 0
    minutes = np.arange(MINUTES)
    for period in sorted(PERIODS, reverse=True):
        if period == 1:
            mean = calls / MINUTES
            # Two days of one call a minute; days that are a draw from a longer sum scatter a little.
            return 1 if 1.9 < mean < 2.1 and row.var() < 1.3 * mean else 0
        folded = np.bincount(minutes % period, weights=row, minlength=period)
        if (folded + np.roll(folded, -1)).max() < 0.9 * calls:
            continue
        if (np.bincount(minutes // period, weights=row) > 0).mean() > 0.5:
            return period
    return 0


def print_constants(days):
    calls = np.sort(days.calls[days.is_plain])[::-1].astype(float)
    above = (np.arange(len(calls)) + 0.5) / len(calls)
    print(f"functions {days.is_present.sum()}, calls {days.calls.sum()}")
    print("quantiles of calls of functions that are no timers (above, calls):")
    for at in list(above[[0, 1, 2, 4, 9, 19]]) + ABOVE + [1.0]:
        value = np.exp(np.interp(np.log(at), np.log(above), np.log(calls)))
        print(f"  {{{at:.5f}, {value:.1f}}},")
    print("share of functions that are timers of a period:")
    for period in PERIODS:
        share = (days.is_present & (days.period == period)).sum() / days.is_present.sum()
        print(f"  {{{period}, {share:.4f}}},")
    on_hour = several = late = timers = 0
    for row, period in zip(days.both, days.period):
        if 5 <= period <= 60:
            folded = np.bincount(np.arange(MINUTES) % period, weights=row, minlength=period)
            timers += 1
            on_hour += folded.argmax() == 0
            several += row.sum() > 1.5 * 2 * MINUTES / period
            late += (folded > 0.05 * folded.sum()).sum() > 1
    print(f"timers of 5 to 60 minutes: at multiples of the period {on_hour / timers:.2f}, several "
          f"calls {several / timers:.2f}, two minutes {late / timers:.2f}")
    print("variation c of the rate, by calls a day: share below 0.05, quantiles 0.5 0.75 0.9")
    varies, calls = days.varies(100)
    for low, high in ((100, 600), (600, 3000), (3000, 2e4), (2e4, 1e9)):
        c = varies[(calls >= low) & (calls < high)]
        print(f"  {low:.0f} to {high:.0f}: {(c < 0.05).mean():.2f}, "
              + " ".join(f"{q:.2f}" for q in np.quantile(c, [0.5, 0.75, 0.9])))


def lag_correlation(days, lag):
    """Correlation of the rate with itself `lag` minutes later, of the bursty functions."""
    result = []
    for row in days.first[days.is_plain & (days.calls >= 300)]:
        mean = row.mean()
        signal = row.var() - mean
        if signal > mean**2:
            centred = row - mean
            result.append((centred[:-lag] * centred[lag:]).mean() / signal)
    return np.clip(result, -1, 1)


def busiest_hour(days):
    rows = days.first[days.is_plain & (days.calls >= 100)]
    return rows.reshape(len(rows), 24, 60).sum(axis=2).max(axis=1) / rows.sum(axis=1)


def cumulate(axes, values, days):
    values = np.sort(values)
    axes.plot(values, (np.arange(len(values)) + 0.5) / len(values), color=days.colour,
              label=f"{days.label} ({len(values)} functions)")


def draw_calls(axes, pair, full):
    for days in pair:
        calls = np.sort(days.calls[days.is_present])[::-1]
        axes.loglog((np.arange(len(calls)) + 1) / len(calls), calls, color=days.colour,
                    label=f"{days.label}: {len(calls)} functions, {calls.sum() / 1e6:.2f} M calls")
    calls = np.sort(full)[::-1]
    axes.loglog((np.arange(len(calls)) + 1) / len(calls), calls, color="grey", linestyle=":",
                label=f"synthetic: {len(calls)} functions, {calls.sum() / 1e6:.0f} M calls")
    axes.set(xlabel="share of functions with more calls", ylabel="calls of a function a day",
             title="a  Heavy tail over functions")


def draw_minutes(axes, pair):
    for days in pair:
        minute = days.first.sum(axis=0)
        axes.plot(np.arange(MINUTES) / 60, minute / minute.mean(), color=days.colour, lw=0.3,
                  alpha=0.5)
        quarter = minute.reshape(-1, 15).mean(axis=1) / minute.mean()
        axes.plot((np.arange(96) + 0.5) / 4, quarter, color=days.colour,
                  label=f"{days.label}, mean of 15 minutes")
    axes.set(xlabel="hour of the day (UTC)", ylabel="calls a minute / mean of the day",
             title="b  Calls by the minute", xlim=(0, 24), ylim=(0, 2.5))
    axes.set_xticks(range(0, 25, 4))


def draw_timers(axes, pair):
    for number, days in enumerate(pair):
        share = [100 * (days.is_present & (days.period == p)).sum() / days.is_present.sum()
                 for p in PERIODS]
        axes.bar(np.arange(len(PERIODS)) + 0.4 * number - 0.2, share, 0.4, color=days.colour,
                 label=f"{days.label}: {sum(share):.1f} % are timers")
    axes.set_xticks(range(len(PERIODS)))
    axes.set_xticklabels([str(p) for p in PERIODS])
    axes.set(xlabel="period, minutes", ylabel="share of functions, %",
             title="c  Timers that two days give away")


def draw(pair, full, path):
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
                         "axes.grid": True, "grid.alpha": 0.3, "legend.fontsize": 7.5})
    figure, ((calls, minutes, timers), (varies, hour, lag)) = plt.subplots(2, 3, figsize=(13, 7.4))
    draw_calls(calls, pair, full)
    draw_minutes(minutes, pair)
    draw_timers(timers, pair)
    for days in pair:
        cumulate(varies, np.clip(days.varies(100)[0], 0.01, None), days)
        cumulate(hour, 100 * busiest_hour(days), days)
        cumulate(lag, lag_correlation(days, 1), days)
    varies.set(xscale="log", xlabel="squared coefficient of variation of the rate (0.01: below)",
               ylabel="share of functions", title="d  How much a function varies (100 calls or more)")
    hour.set(xlabel="calls in a function's busiest hour, % of its day", xlim=(0, 100),
             ylabel="share of functions", title="e  How concentrated it is (100 calls or more)")
    lag.set(xlabel="correlation of the rate with that of the next minute", xlim=(-1, 1),
            ylabel="share of bursty functions", title="f  How long its bursts last (c > 1)")
    for axes in figure.axes:
        axes.legend(loc="best")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def print_table(pair):
    print(f"{'':46}" + "".join(f"{days.label:>12}" for days in pair))

    def line(text, values, form="{:.3g}"):
        print(f"{text:46}" + "".join(f"{form.format(value):>12}" for value in values))

    line("functions", [days.is_present.sum() for days in pair], "{}")
    line("calls", [days.calls.sum() for days in pair], "{}")
    line("minutes with calls, all functions", [(days.first > 0).sum() for days in pair], "{}")
    for share in (0.01, 0.1, 0.5):
        line(f"calls of the function at the upper {share:.0%}",
             [np.quantile(days.calls[days.is_present], 1 - share) for days in pair])
    for count in (1, 10, 100):
        line(f"share of calls of the heaviest {count}",
             [np.sort(days.calls)[-count:].sum() / days.calls.sum() for days in pair])
    line("share of functions found to be timers", [
        (days.is_present & (days.period > 0)).sum() / days.is_present.sum() for days in pair])
    for quantile in (0.25, 0.5, 0.75, 0.9):
        line(f"variation c of the rate, quantile {quantile}",
             [np.quantile(days.varies(100)[0], quantile) for days in pair])
    for quantile in (0.25, 0.5, 0.75, 0.9):
        line(f"busiest hour's share, quantile {quantile}",
             [np.quantile(busiest_hour(days), quantile) for days in pair])
    for lag in (1, 5, 60):
        line(f"median correlation over {lag} minutes",
             [np.median(lag_correlation(days, lag)) for days in pair])
    hours = [days.first.sum(axis=0).reshape(24, 60).sum(axis=1) for days in pair]
    line("busiest hour of all / mean", [hour.max() / hour.mean() for hour in hours])
    line("quietest hour of all / mean", [hour.min() / hour.mean() for hour in hours])


def make_day(program, folder, day, functions):
    subprocess.run([program, "--functions", str(functions), "--day", str(day), "--output", folder],
                   check=True, stdout=subprocess.DEVNULL)


def full_calls(program):
    """Calls of each function of a day of full size."""
    with tempfile.TemporaryDirectory() as folder:
        make_day(program, folder, 1, 46000)
        columns = [str(i + 1) for i in range(MINUTES)]
        chunks = pd.read_csv(os.path.join(folder, NAME.format(1)), usecols=columns, chunksize=4000)
        return np.concatenate([chunk.to_numpy().sum(axis=1) for chunk in chunks])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--traces", required=True, help="folder of the real days")
    parser.add_argument("--make-trace", help="the program make_trace",
                        default=os.path.join(os.environ.get("CLOCKWORK_BUILD", "build"),
                                             "make_trace"))
    parser.add_argument("--output", default="docs/figures/synthetic_day_fit.png")
    parser.add_argument("--constants", action="store_true", help="print the fitted constants only")
    arguments = parser.parse_args()
    real = Days(arguments.traces, "real", REAL)
    if arguments.constants:
        print_constants(real)
        return
    with tempfile.TemporaryDirectory() as folder:
        for day in (1, 2):
            make_day(arguments.make_trace, folder, day, real.is_present.sum())
        synthetic = Days(folder, "synthetic", SYNTHETIC)
    pair = (real, synthetic)
    print_table(pair)
    draw(pair, full_calls(arguments.make_trace), arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
