"""Telemetry of any size → sums, counts and histograms per interval, on several processes.

A file is read in ranges; each range becomes one aggregate; aggregates add up, in any order, to
the same result.  How each number is defined stands in experiments/maf-exp-1-and-2/README.md.
"""

import contextlib
import functools
import multiprocessing
from dataclasses import dataclass

import numpy

from common import telemetry
from common.histogram import Histogram, SparseCounts

# More intervals than this mean a clock that jumped, or an interval in the wrong unit.
INTERVALS_MAX = 10_000_000

ACTION_NAMES = {telemetry.INFER: "infer", telemetry.LOAD: "load"}
ERRORS = {
    "prediction": ("worker_exec_duration", "expected_exec_duration"),
    "completion": ("worker_exec_complete", "expected_exec_complete"),
}

# Histograms hold whole numbers; in this unit even a share far below a percent keeps its digits.
PPM = 1_000_000

# Directions of an error.  Each is a distribution over all actions: an action that took longer
# than predicted counts as under-predicted by the difference and as over-predicted by 0.
OVER, UNDER, ABSOLUTE = "over", "under", "absolute"


@dataclass(frozen=True)
class Window:
    """Which part of a run counts, and how it is cut into intervals.  `end_ns` None: to the end."""

    begin_ns: int
    end_ns: int | None
    interval_ns: int

    def select(self, frame, path):
        """(the columns of the rows inside the window, the number of each row's interval)"""
        t = frame["t"].to_numpy()
        inside = t >= self.begin_ns
        if self.end_ns is not None:
            inside &= t < self.end_ns
        if not inside.all():
            frame, t = frame[inside], t[inside]
        intervals = (t - self.begin_ns) // self.interval_ns
        if intervals.max(initial=0) >= INTERVALS_MAX:
            raise telemetry.LogError(
                f"{path}: column 't': {t.max()} is more than {INTERVALS_MAX:,} intervals after"
                f" the first row; has the clock jumped, or is the interval too short?"
            )
        return {name: frame[name].to_numpy() for name in frame.columns}, intervals


class Extent:
    """The smallest and the largest value seen; None before the first."""

    def __init__(self):
        self.low = self.high = None

    def add(self, values):
        if len(values):
            self._include(int(values.min()), int(values.max()))

    def merge(self, other):
        if other.low is not None:
            self._include(other.low, other.high)

    def _include(self, low, high):
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)


class IntervalSums:
    """An integer sum for each interval, growing as later intervals come."""

    def __init__(self):
        self._sums = numpy.zeros(0, numpy.int64)

    def add(self, intervals, weights=None):
        # bincount adds weights as doubles: exact below 2^53
        self._add(numpy.bincount(intervals, weights).astype(numpy.int64))

    def merge(self, other):
        self._add(other._sums.copy())

    def values(self, count):
        """The sums of the first `count` intervals."""
        sums = self._sums[:count]
        return numpy.pad(sums, (0, count - len(sums)))

    def total(self):
        return int(self._sums.sum())

    def _add(self, sums):
        if len(sums) > len(self._sums):
            sums, self._sums = self._sums, sums
        self._sums[: len(sums)] += sums


class IntervalModels:
    """How many different models came in each interval.  Each controller numbers its own models."""

    def __init__(self):
        self._seen = SparseCounts()

    def add(self, intervals, controller, models):
        self._seen.add((intervals << 36) | (controller << 28) | models)

    def merge(self, other):
        self._seen.merge(other._seen)

    def values(self, count):
        keys, _ = self._seen.items()
        return numpy.bincount(keys >> 36, minlength=count)[:count]


class Aggregate:
    """What is known of some rows of one kind of log.  Every attribute has `merge`."""

    def merge(self, other):
        for name, value in vars(other).items():
            getattr(self, name).merge(value)


class RequestAggregate(Aggregate):
    COLUMNS = ("t", "result", "model_id", "latency", "deadline", "deadline_met", "is_coldstart")

    def __init__(self):
        self.t = Extent()
        self.slo_ns = Extent()
        self.results = SparseCounts()
        self.requests = IntervalSums()
        self.succeeded = IntervalSums()
        self.met = IntervalSums()
        self.cold_starts = IntervalSums()
        self.latency = Histogram()  # of successful requests; a group is an interval
        self.active_models = IntervalModels()
        self.cold_models = IntervalModels()

    def add(self, rows, intervals, controller):
        succeeded = rows["result"] == telemetry.SUCCESS
        met = rows["deadline_met"] == 1
        cold = rows["is_coldstart"] == 1
        self.t.add(rows["t"])
        self.slo_ns.add(rows["deadline"])
        self.results.add(rows["result"])
        self.requests.add(intervals)
        self.succeeded.add(intervals[succeeded])
        self.met.add(intervals[met])
        self.cold_starts.add(intervals[cold])
        # below zero only where the clock was set back while the request waited
        self.latency.add(numpy.maximum(rows["latency"][succeeded], 0), intervals[succeeded])
        self.active_models.add(intervals, controller, rows["model_id"])
        self.cold_models.add(intervals[cold], controller, rows["model_id"][cold])


class ActionAggregate(Aggregate):
    COLUMNS = ("t", "action_type", "status", "batch_size") + sum(ERRORS.values(), ())

    def __init__(self):
        self.succeeded = SparseCounts()  # by action type
        self.batched = IntervalSums()
        self.batched_squared = IntervalSums()
        self.sizes = _ErrorSizes()
        self.shares = Histogram()  # absolute errors of durations, ppm; a group is an action type

    def add(self, rows, intervals, controller):
        del controller  # actions are counted, whoever sent them
        succeeded = rows["status"] == telemetry.SUCCESS
        self.succeeded.add(rows["action_type"][succeeded])
        for action in ACTION_NAMES:
            chosen = succeeded & (rows["action_type"] == action)
            for kind, (actual, expected) in ERRORS.items():
                self.sizes.add(action, kind, rows[actual][chosen] - rows[expected][chosen])
        actual, expected = (rows[name] for name in ERRORS["prediction"])
        predicted = succeeded & numpy.isin(rows["action_type"], list(ACTION_NAMES)) & (expected > 0)
        actual, expected = actual[predicted], expected[predicted]
        parts = numpy.rint(numpy.abs(actual - expected) / expected * PPM)
        self.shares.add(parts, rows["action_type"][predicted])
        infers = succeeded & (rows["action_type"] == telemetry.INFER)
        batch = rows["batch_size"][infers]
        self.batched.add(intervals[infers], batch)
        self.batched_squared.add(intervals[infers], batch * batch)

    def count(self, action):
        """Actions of this type that succeeded."""
        keys, counts = self.succeeded.items()
        return int(counts[keys == action].sum())

    def error(self, action, kind, direction):
        """How large an error is, in ns: a distribution over all actions that succeeded."""
        return self.sizes.distribution(action, kind, direction, self.count(action))

    def prediction_error_share(self, action):
        """How large the absolute error of a duration is, in ppm of what was predicted."""
        return self.shares.distribution(action)


class _ErrorSizes:
    def __init__(self):
        self._sizes = {
            (action, kind, sign): Histogram()
            for action in ACTION_NAMES
            for kind in ERRORS
            for sign in (OVER, UNDER)
        }

    def add(self, action, kind, error):
        self._sizes[action, kind, UNDER].add(error[error > 0])
        self._sizes[action, kind, OVER].add(-error[error < 0])

    def merge(self, other):
        for key, sizes in other._sizes.items():
            self._sizes[key].merge(sizes)

    def distribution(self, action, kind, direction, action_count):
        sizes = Histogram()
        for sign in (OVER, UNDER) if direction == ABSOLUTE else (direction,):
            sizes.merge(self._sizes[action, kind, sign])
        sizes.add_zeros(action_count - sizes.count())
        return sizes.overall()


def find_start(logs):
    """The earliest arrival, ns of wall clock, or None where no log has a row.

    Rows are written when a request is answered, so the first arrival is not in the first row; it
    is in the first block, unless a request waited while a hundred thousand others were answered.
    """
    seen = Extent()
    for log in logs:
        first = next(telemetry.read_blocks(telemetry.whole(log), ("t",), lambda path: None), None)
        if first is not None:
            seen.add(first["t"])
    return seen.low


def aggregate_logs(log_pairs, window, jobs, range_bytes=telemetry.RANGE_BYTES):
    """Reads every log on `jobs` processes: (RequestAggregate, ActionAggregate, torn paths).

    Memory: each process holds a few blocks and one range's counts, the caller the sums.
    """
    tasks = [
        (kind, part, controller)
        for controller, pair in enumerate(log_pairs)
        for kind, log in zip((RequestAggregate, ActionAggregate), pair)
        for part in telemetry.split(log, range_bytes)
    ]
    sums = {RequestAggregate: RequestAggregate(), ActionAggregate: ActionAggregate()}
    torn_paths = set()
    with contextlib.ExitStack() as stack:
        run = map
        if jobs > 1 and len(tasks) > 1:
            pool = stack.enter_context(multiprocessing.Pool(min(jobs, len(tasks))))
            run = pool.imap_unordered
        for aggregate, torn in run(functools.partial(_aggregate_range, window), tasks):
            sums[type(aggregate)].merge(aggregate)
            torn_paths.update(torn)
    return sums[RequestAggregate], sums[ActionAggregate], torn_paths


def _aggregate_range(window, task):
    kind, part, controller = task
    aggregate, torn_paths = kind(), []
    for frame in telemetry.read_blocks(part, kind.COLUMNS, torn_paths.append):
        rows, intervals = window.select(frame, part.log.path)
        aggregate.add(rows, intervals, controller)
    return aggregate, torn_paths
