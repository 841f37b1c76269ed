#!/usr/bin/env python3
"""Turns the telemetry of a run into Figures 9 and 10, two data files and a summary.

How each number is defined stands in README.md beside this file.
"""

import argparse
import functools
import math
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import common  # noqa: E402

common.require("process.py", "numpy", "pandas", "matplotlib")

import numpy  # noqa: E402

from common import aggregates, figures, telemetry  # noqa: E402
from common.aggregates import ABSOLUTE, ACTION_NAMES, ERRORS, OVER, PPM, UNDER  # noqa: E402

SUMMARY_QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p9999", 0.9999))
NS_PER_S, NS_PER_MS, NS_PER_US = 1e9, 1e6, 1e3


class Run:
    """The numbers of a run, derived once: the figures, the data files and the summary read them."""

    def __init__(self, requests, actions, window):
        self.requests, self.actions, self.window = requests, actions, window
        self.duration_s = (requests.t.high + 1 - window.begin_ns) / NS_PER_S
        self.interval_s = window.interval_ns / NS_PER_S
        # The last interval is only as long as there is data, and its rates are per that time.
        # Less than half of one says too little: it is left out of the time series.
        count = max(1, math.floor(self.duration_s / self.interval_s + 0.5))
        self.begin_s = numpy.arange(count) * self.interval_s
        self.covered_s = numpy.minimum(self.interval_s, self.duration_s - self.begin_s)

        self.throughput = requests.requests.values(count) / self.covered_s
        self.goodput = requests.met.values(count) / self.covered_s
        self.cold_starts = requests.cold_starts.values(count) / self.covered_s
        self.cold_models = requests.cold_models.values(count)
        self.active_models = requests.active_models.values(count)
        latency = [requests.latency.distribution(interval) for interval in range(count)]
        self.latency_p50_ms = numpy.array([d.quantile(0.5) for d in latency]) / NS_PER_MS
        self.latency_p99_ms = numpy.array([d.quantile(0.99) for d in latency]) / NS_PER_MS
        self.latency_max_ms = numpy.array([d.quantile(1) for d in latency]) / NS_PER_MS
        self.latency = requests.latency.overall()
        with numpy.errstate(invalid="ignore"):
            self.batch = actions.batched_squared.values(count) / actions.batched.values(count)

    def slo_ms(self):
        """The SLO where all requests had the same, else None."""
        slo = self.requests.slo_ns
        return slo.low / NS_PER_MS if slo.low == slo.high else None


def summarize(run):
    """The summary as (key, text) in the order of the file."""
    requests, actions = run.requests, run.actions
    total = requests.requests.total()
    met = requests.met.total()
    yield "requests", total
    yield "start_unix_s", f"{run.window.begin_ns / NS_PER_S:.3f}"
    yield "duration_s", f"{run.duration_s:.3f}"
    yield "throughput_rps", f"{total / run.duration_s:.3f}"
    yield "goodput_rps", f"{met / run.duration_s:.3f}"
    yield "slo_met_percent", f"{_percent(met, total)}"
    yield "refused", total - requests.succeeded.total()
    for code, count in zip(*requests.results.items()):
        yield f"result_{code}", count
    yield "late_answers", requests.succeeded.total() - met
    for name, share in SUMMARY_QUANTILES + (("max", 1),):
        yield f"latency_{name}_ms", f"{run.latency.quantile(share) / NS_PER_MS:.3f}"
    yield "cold_starts", requests.cold_starts.total()
    batched = actions.batched.total()
    squared = actions.batched_squared.total()
    yield "mean_batch", f"{squared / batched if batched else math.nan:.3f}"
    for action, action_name in ACTION_NAMES.items():
        yield f"{action_name}_actions", actions.count(action)
    for action, action_name in ACTION_NAMES.items():
        for kind in ERRORS:
            for direction in (ABSOLUTE, OVER, UNDER):
                errors = actions.error(action, kind, direction)
                name = "" if direction == ABSOLUTE else direction + "_"
                for quantile_name, share in SUMMARY_QUANTILES:
                    key = f"{action_name}_{kind}_error_{name}{quantile_name}_us"
                    yield key, f"{errors.quantile(share) / NS_PER_US:.3f}"
    for action, action_name in ACTION_NAMES.items():
        shares = actions.prediction_error_share(action)
        for quantile_name, share in SUMMARY_QUANTILES:
            key = f"{action_name}_prediction_error_{quantile_name}_percent"
            yield key, f"{shares.quantile(share) / PPM * 100:.4f}"


def write_summary(run, path):
    with open(path, "w", encoding="utf-8") as stream:
        for key, text in summarize(run):
            stream.write(f"{key}: {text}\n")


def write_time_series(run, path):
    _write_tsv(
        path,
        {
            "t_s": run.begin_s,
            "covered_s": run.covered_s,
            "throughput_rps": run.throughput,
            "goodput_rps": run.goodput,
            "latency_p50_ms": run.latency_p50_ms,
            "latency_p99_ms": run.latency_p99_ms,
            "latency_max_ms": run.latency_max_ms,
            "batch_size": run.batch,
            "active_models": run.active_models,
            "cold_models": run.cold_models,
            "coldstarts_per_s": run.cold_starts,
        },
    )


def write_tail_cdf(run, path):
    decades, values = figures.tail_points(run.latency)
    percentiles = 100 * (1 - 10.0**-decades)
    if len(decades):
        percentiles[-1] = 100  # the last point is the largest value
    _write_tsv(path, {"percentile": percentiles, "latency_ms": values / NS_PER_MS})


def panels(run):
    """The nine figures as (file name, caption, what draws it on axes)."""
    edges_s = numpy.append(run.begin_s, run.begin_s[-1] + run.covered_s[-1])

    def series(ylabel, *lines, **options):
        return functools.partial(
            figures.draw_time_series, edges_s=edges_s, series=lines, ylabel=ylabel, **options
        )

    def tail(action, kind, ylabel):
        curves = [
            ("over-prediction", run.actions.error(action, kind, OVER), figures.BLUE),
            ("under-prediction", run.actions.error(action, kind, UNDER), figures.VERMILION),
        ]
        absent = f"no {ACTION_NAMES[action].upper()} actions"
        if run.actions.count(action):
            absent = "no error"
        return functools.partial(
            figures.draw_tail_cdf, curves=curves, ylabel=ylabel, absent=absent
        )

    every = _spell_interval(run.interval_s)
    return [
        (
            "9a_throughput",
            "9a  Throughput and goodput",
            series(
                "Requests/s",
                ("throughput", run.throughput, figures.GREY),
                ("goodput", run.goodput, figures.BLUE),
            ),
        ),
        (
            "9b_timeseries_latency",
            "9b  Latency",
            series(
                "Latency (ms)",
                ("max", run.latency_max_ms, figures.VERMILION),
                ("99th", run.latency_p99_ms, figures.ORANGE),
                ("median", run.latency_p50_ms, figures.BLUE),
                log=True,
                mark=("SLO", run.slo_ms()),
            ),
        ),
        (
            "9c_timeseries_batchsize",
            "9c  Batch size",
            series("Mean batch size", ("batch size", run.batch, figures.GREEN)),
        ),
        (
            "9d_timeseries_coldmodels",
            "9d  Models with a cold start",
            series(f"Cold models per {every}", ("cold", run.cold_models, figures.BLUE)),
        ),
        (
            "9e_timeseries_coldstarts",
            "9e  Cold starts",
            series("Cold starts/s", ("cold starts", run.cold_starts, figures.BLUE)),
        ),
        (
            "10_tl_infer_prediction_error",
            "10 tl  INFER duration",
            tail(telemetry.INFER, "prediction", "INFER duration error"),
        ),
        (
            "10_tr_load_prediction_error",
            "10 tr  LOAD duration",
            tail(telemetry.LOAD, "prediction", "LOAD duration error"),
        ),
        (
            "10_bl_infer_completion_error",
            "10 bl  INFER completion",
            tail(telemetry.INFER, "completion", "INFER completion error"),
        ),
        (
            "10_br_load_completion_error",
            "10 br  LOAD completion",
            tail(telemetry.LOAD, "completion", "LOAD completion error"),
        ),
    ]


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        description="Process clockwork_request_log.tsv and clockwork_action_log.tsv",
        add_help=False,
    )
    seed = parser.add_argument_group("optional arguments")
    seed.add_argument("-h", "--help", action="help", help="show this help message and exit")
    seed.add_argument(
        "-i",
        "--inputdir",
        default=".",
        help="Path to a directory containing experiment output files. Files should be in format"
        ' "file=controller_1_request.tsv" etc.',
    )
    seed.add_argument(
        "-o",
        "--outputdir",
        default=".",
        help="Directory to put the processed output. Directory will be created if it does not"
        " exist.",
    )
    seed.add_argument(
        "-l",
        "--leadin",
        type=float,
        default=600,
        help="Exclude the first LEADIN seconds of data. Default 600 (10 minutes).",
    )
    seed.add_argument(
        "-d",
        "--duration",
        type=float,
        default=-1,
        help="Include the first DURATION seconds of data. Set to -1 to include all data."
        " Default -1.",
    )
    seed.add_argument(
        "-b",
        "--bucketsize",
        type=float,
        default=60,
        help="Interval size for time series data. Default 60 (1 minute).",
    )
    further = parser.add_argument_group("further arguments")
    further.add_argument("--summary", metavar="FILE", help="Default OUTPUTDIR/summary.txt.")
    further.add_argument(
        "--overview",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="All nine graphs on one sheet, OUTPUTDIR/overview.png. Default on.",
    )
    further.add_argument(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="Processes that read. Default: one for each core.",
    )
    options = parser.parse_args(arguments)
    if not (math.isfinite(options.leadin) and options.leadin >= 0):
        parser.error("--leadin: must be 0 or more seconds")
    if not (options.duration == -1 or (math.isfinite(options.duration) and options.duration > 0)):
        parser.error("--duration: must be more than 0 seconds, or -1 for all data")
    if not (math.isfinite(options.bucketsize) and options.bucketsize >= 1e-3):
        parser.error("--bucketsize: must be at least 0.001 seconds")
    if options.jobs < 1:
        parser.error("--jobs: must be at least 1")
    return options


def load_run(options):
    pairs = telemetry.find_logs(options.inputdir)
    request_logs = [requests for requests, _ in pairs]
    start_ns = aggregates.find_start(request_logs)
    if start_ns is None:
        raise telemetry.LogError(f"{request_logs[0].path}: has a header row but no requests")
    begin_ns = start_ns + round(options.leadin * NS_PER_S)
    duration_ns = None if options.duration == -1 else round(options.duration * NS_PER_S)
    window = aggregates.Window(
        begin_ns,
        None if duration_ns is None else begin_ns + duration_ns,
        round(options.bucketsize * NS_PER_S),
    )
    requests, actions, torn_paths = aggregates.aggregate_logs(pairs, window, options.jobs)
    for path in sorted(torn_paths):
        _say(f"warning: {path}: the last row has no end and is left out")
    if requests.t.high is None:
        raise telemetry.LogError(
            f"{request_logs[0].path}: no request after the first {options.leadin:g} s, which"
            " --leadin excludes; choose a smaller one"
        )
    return Run(requests, actions, window)


def write_results(run, options):
    def path_of(name):
        return os.path.join(options.outputdir, name)

    os.makedirs(options.outputdir, exist_ok=True)
    write_summary(run, options.summary or path_of("summary.txt"))
    write_time_series(run, path_of("timeseries_data.tsv"))
    write_tail_cdf(run, path_of("client_tail_cdf_data.tsv"))
    nine = panels(run)
    for name, _, draw in nine:
        figures.save_panel(draw, path_of(name + ".pdf"))
    if options.overview:
        title = (
            f"{run.requests.requests.total():,} requests in {_spell_interval(run.duration_s)}"
            f" · {_percent(run.requests.met.total(), run.requests.requests.total())} % met the SLO"
        )
        figures.save_overview([panel[1:] for panel in nine], path_of("overview.png"), title)


def main(arguments=None):
    options = parse_arguments(arguments)
    try:
        write_results(load_run(options), options)
    except telemetry.LogError as error:
        _say(str(error))
        return 1
    except OSError as error:
        _say(f"{error.filename or options.outputdir}: {error.strerror or error}")
        return 1
    return 0


def _write_tsv(path, columns):
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\t".join(columns) + "\n")
        for row in zip(*columns.values()):
            stream.write("\t".join(f"{value:.10g}" for value in row) + "\n")


def _percent(part, whole):
    """Rounded down at the fourth decimal: 100 only where nothing is missing."""
    return f"{math.floor(part / whole * 1e6) / 1e4:.4f}" if part < whole else "100.0000"


def _spell_interval(seconds):
    for size, name in ((3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = f"{seconds / size:.3g}"
            return name if count == "1" else f"{count} {name}s"
    return "second" if seconds == 1 else f"{seconds:.3g} s"


def _say(text):
    print(f"process.py: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
