#!/usr/bin/env python3
"""Writes telemetry files of any size that look like a run's, to time and test the analysis.

    make_synthetic_logs.py --requests 20000000 --actions 5000000 /tmp/logs

Numbers are drawn and turned into text a block at a time with numpy: millions of rows a second.
The same seed writes the same bytes.
"""

import argparse
import os
import sys

import numpy

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../experiments"))

from common.columns import ACTION_COLUMNS, REQUEST_COLUMNS  # noqa: E402

START_NS = 1_700_000_000_000_000_000
SLO_NS = 100_000_000
BLOCK_ROWS = 200_000


def format_rows(columns):
    """Integer columns of equal length → TSV bytes.

    Digits go into one wide table of characters, right-aligned; one selection then drops the
    unused places of every row at once.
    """
    texts, used = [], []
    for values in columns:
        values = numpy.asarray(values, numpy.int64)
        size = numpy.abs(values)
        width = len(str(int(size.max(initial=0))))
        text = numpy.full((len(values), width + 2), ord("\t"), numpy.uint8)
        keep = numpy.ones(text.shape, bool)
        text[:, 0] = ord("-")
        keep[:, 0] = values < 0
        for place in range(width, 0, -1):
            keep[:, place] = (size > 0) | (place == width)
            size, digit = numpy.divmod(size, 10)
            text[:, place] = digit + ord("0")
        texts.append(text)
        used.append(keep)
    texts[-1][:, -1] = ord("\n")
    return numpy.concatenate(texts, axis=1)[numpy.concatenate(used, axis=1)].tobytes()


def draw_requests(random, first, t):
    count = len(t)
    model = (4026 * random.random(count) ** 3).astype(numpy.int64)
    latency = random.lognormal(numpy.log(9e6), 0.6, count).astype(numpy.int64)
    refused = random.random(count) < 2e-4
    latency[refused] = 95_000_000
    cold = random.random(count) < 5e-3
    latency[cold & ~refused] += 12_000_000
    latency = numpy.minimum(latency, 99_900_000)
    result = numpy.where(refused, 4, 0)
    copies = numpy.where(cold, 0, 1 + model % 3)
    met = (result == 0) & (latency <= SLO_NS)
    return {
        "t": t,
        "request_id": numpy.arange(first, first + count),
        "result": result,
        "user_id": model % 1000,
        "model_id": model,
        "slo_factor": numpy.zeros(count),
        "latency": latency,
        "deadline": numpy.full(count, SLO_NS),
        "deadline_met": met,
        "arrival_count": copies,
        "departure_count": numpy.maximum(copies, 1),
        "is_coldstart": cold,
    }


def draw_actions(random, first, t):
    count = len(t)
    kind = random.choice([1, 2, 3], count, p=[0.03, 0.94, 0.03])
    batch = numpy.where(kind == 2, 2 ** random.integers(0, 5, count), 0)
    actual = numpy.where(kind == 1, 8_320_000, 1_600_000 + 1_000_000 * batch)
    expected = (actual * (1 + random.normal(2e-4, 1e-4, count))).astype(numpy.int64)
    begin = random.integers(500_000, 9_000_000, count)
    late = random.exponential(40_000, count).astype(numpy.int64) - 20_000
    return {
        "t": t,
        "action_id": numpy.arange(first, first + count),
        "action_type": kind,
        "status": numpy.where(random.random(count) < 1e-4, 11, 0),
        "worker_id": random.integers(0, 6, count),
        "gpu_id": numpy.zeros(count),
        "model_id": random.integers(0, 4026, count),
        "batch_size": batch,
        "expected_exec_duration": expected,
        "worker_exec_duration": actual,
        "expected_exec_complete": begin + expected,
        "worker_exec_complete": begin + actual + late,
        "expected_gpu_clock": numpy.full(count, 1380),
        "worker_gpu_clock_before": numpy.full(count, 1380),
        "worker_gpu_clock": numpy.full(count, 1380),
        "worker_copy_output_complete": begin + actual + 60_000,
        "worker_action_received": random.integers(80_000, 200_000, count),
        "worker_result_sent": begin + actual + 70_000,
        "controller_result_enqueue": begin + actual + 150_000,
        "controller_action_duration": begin + actual + 160_000,
        "goodput": actual,
        "requests_queued": random.integers(1, 40, count),
        "copies_loaded": random.integers(1, 4, count),
    }


def write_log(path, columns, draw, count, duration_s, seed):
    random = numpy.random.default_rng(seed)
    gap_ns = duration_s * 1e9 / max(count, 1)
    with open(path, "wb") as stream:
        stream.write(("\t".join(columns) + "\n").encode())
        for first in range(0, count, BLOCK_ROWS):
            rows = numpy.arange(first, min(first + BLOCK_ROWS, count))
            t = START_NS + (rows * gap_ns).astype(numpy.int64)
            drawn = draw(random, first, t)
            stream.write(format_rows([drawn[column] for column in columns]))


def tear(path):
    """Cuts a file inside its last row, as the end of a killed process does."""
    with open(path, "rb+") as stream:
        stream.truncate(os.path.getsize(path) - 5)


def make_logs(directory, requests, actions, duration_s, seed=1, controller=1, torn=False):
    os.makedirs(directory, exist_ok=True)
    paths = [
        os.path.join(directory, f"file=controller_{controller}_{kind}.tsv")
        for kind in ("request", "action")
    ]
    write_log(paths[0], REQUEST_COLUMNS, draw_requests, requests, duration_s, seed)
    write_log(paths[1], ACTION_COLUMNS, draw_actions, actions, duration_s, seed + 1)
    if torn:
        for path in paths:
            tear(path)
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("directory")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, default=250_000)
    parser.add_argument("--duration", type=float, help="seconds; default: 8,700 requests a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--torn", action="store_true", help="cut both files inside the last row")
    options = parser.parse_args()
    duration_s = options.duration or options.requests / 8700
    make_logs(
        options.directory,
        options.requests,
        options.actions,
        duration_s,
        seed=options.seed,
        torn=options.torn,
    )


if __name__ == "__main__":
    main()
