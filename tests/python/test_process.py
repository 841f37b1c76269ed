"""process.py and the readers under it: python3 -m unittest discover -s tests/python"""

import contextlib
import functools
import gzip
import importlib.util
import io
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
EXPERIMENTS = os.path.join(HERE, "..", "..", "experiments")
sys.path[:0] = [EXPERIMENTS, HERE]

import make_synthetic_logs  # noqa: E402
from common import aggregates, figures, telemetry  # noqa: E402
from common.columns import ACTION_COLUMNS, REQUEST_COLUMNS  # noqa: E402
from common.histogram import Histogram, SparseCounts  # noqa: E402

_spec = importlib.util.spec_from_file_location(
    "process", os.path.join(EXPERIMENTS, "maf-exp-1-and-2", "process.py")
)
process = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(process)

SECOND = 1_000_000_000
MS = 1_000_000
US = 1_000
START = 1_598_832_443 * SECOND

NINE_FIGURES = {
    "9a_throughput.pdf",
    "9b_timeseries_latency.pdf",
    "9c_timeseries_batchsize.pdf",
    "9d_timeseries_coldmodels.pdf",
    "9e_timeseries_coldstarts.pdf",
    "10_bl_infer_completion_error.pdf",
    "10_br_load_completion_error.pdf",
    "10_tl_infer_prediction_error.pdf",
    "10_tr_load_prediction_error.pdf",
}


def request(at_s, result=0, latency=5 * MS, model_id=0, cold=0, deadline=100 * MS):
    row = dict.fromkeys(REQUEST_COLUMNS, 0)
    row.update(
        t=START + round(at_s * SECOND),
        result=result,
        latency=latency,
        model_id=model_id,
        deadline=deadline,
        deadline_met=int(result == 0 and latency <= deadline),
        is_coldstart=cold,
    )
    return row


def action(
    at_s,
    kind=telemetry.INFER,
    status=0,
    batch=1,
    duration_error=0,
    completion_error=0,
    predicted=3 * MS,
):
    row = dict.fromkeys(ACTION_COLUMNS, 0)
    row.update(
        t=START + round(at_s * SECOND),
        action_type=kind,
        status=status,
        batch_size=batch,
        expected_exec_duration=predicted,
        worker_exec_duration=predicted + duration_error,
        expected_exec_complete=4 * MS,
        worker_exec_complete=4 * MS + completion_error,
    )
    return row


def to_tsv(columns, rows):
    lines = [columns] + [[str(row[column]) for column in columns] for row in rows]
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def to_columns(columns, rows, rows_per_block=3):
    """As src/telemetry/columns.h says, with every value in eight bytes or in none."""
    data = telemetry.COLUMNS_MAGIC + "\t".join(columns).encode() + b"\n"
    for first in range(0, len(rows), rows_per_block):
        block = rows[first : first + rows_per_block]
        head, body = b"", b""
        for column in columns:
            values = [row[column] for row in block]
            base = min(values)
            width = 8 if max(values) > base else 0
            head += struct.pack("<qI", base, width)
            body += b"".join(struct.pack("<Q", value - base) for value in values if width)
        data += struct.pack("<II", len(block), len(head + body)) + head + body
    return data


class LogsTestCase(unittest.TestCase):
    """A folder of logs, and process.py on it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.output = os.path.join(self.folder, "output")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as stream:
            stream.write(data)

    def write_logs(self, requests, actions=(), controller=1):
        self.write(
            f"file=controller_{controller}_request.tsv", to_tsv(REQUEST_COLUMNS, requests)
        )
        self.write(f"file=controller_{controller}_action.tsv", to_tsv(ACTION_COLUMNS, actions))

    def load(self, *arguments):
        """The numbers of a run, with no lead-in and intervals of a second unless told."""
        arguments = ("-l", "0", "-b", "1", "--jobs", "1") + arguments
        return process.load_run(process.parse_arguments(["-i", self.folder, *arguments]))

    def summarize(self, *arguments):
        return {key: str(text) for key, text in process.summarize(self.load(*arguments))}

    def run_main(self, *arguments):
        """(exit status, lines on stderr)"""
        messages = io.StringIO()
        with contextlib.redirect_stderr(messages):
            status = process.main(
                ["-i", self.folder, "-o", self.output, "-l", "0", "--jobs", "1", *arguments]
            )
        return status, messages.getvalue().splitlines()

    def assert_refused(self, *words):
        status, lines = self.run_main()
        self.assertEqual(status, 1)
        self.assertEqual(len(lines), 1, lines)
        for word in words:
            self.assertIn(word, lines[0])


class HistogramTest(unittest.TestCase):
    def test_quantiles_are_within_a_thousandth_of_the_nearest_rank(self):
        random = numpy.random.default_rng(7)
        values = random.lognormal(15, 3, 50_001).astype(numpy.int64)
        histogram = Histogram()
        histogram.add(values[:20_000])
        histogram.add(values[20_000:])
        ordered = numpy.sort(values)
        for share in (0, 0.001, 0.5, 0.9, 0.99, 0.9999, 1):
            rank = max(1, math.ceil(round(share * len(values), 6)))
            exact = ordered[rank - 1]
            self.assertAlmostEqual(
                histogram.overall().quantile(share), exact, delta=max(exact / 1000, 0.5)
            )
        self.assertEqual(histogram.overall().quantile(1), values.max())

    def test_small_numbers_are_exact(self):
        histogram = Histogram()
        histogram.add(numpy.arange(1024))
        quantiles = histogram.overall().quantile(numpy.arange(1, 1025) / 1024)
        self.assertEqual(quantiles.tolist(), list(range(1024)))

    def test_very_large_numbers_have_bins(self):
        histogram = Histogram()
        histogram.add(numpy.array([2**62]), numpy.array([3]))
        histogram.add(numpy.array([1]), numpy.array([4]))
        self.assertEqual(histogram.distribution(3).quantile(0.5), 2**62)
        self.assertEqual(histogram.distribution(4).quantile(0.5), 1)

    def test_groups_do_not_mix_and_merge_adds_up(self):
        first, second = Histogram(), Histogram()
        first.add(numpy.array([10, 20, 30]), numpy.array([0, 0, 7]))
        second.add(numpy.array([40, 5]), numpy.array([7, 0]))
        first.merge(second)
        self.assertEqual(first.distribution(0).quantile(1), 20)
        self.assertEqual(first.distribution(7).quantile([0.5, 1]).tolist(), [30, 40])
        self.assertEqual(first.overall().count, 5)
        self.assertEqual(first.overall().quantile(0.5), 20)

    def test_empty_has_no_quantile(self):
        self.assertTrue(math.isnan(Histogram().overall().quantile(0.5)))
        self.assertTrue(math.isnan(Histogram().distribution(2).quantile(0.5)))

    def test_zeros_count_as_values(self):
        histogram = Histogram()
        histogram.add(numpy.array([100]))
        histogram.add_zeros(99)
        self.assertEqual(histogram.overall().quantile([0.98, 0.99, 1]).tolist(), [0, 0, 100])

    def test_sparse_counts_compact_to_the_same(self):
        counts = SparseCounts()
        counts._COMPACT_AT = 10
        random = numpy.random.default_rng(3)
        keys = random.integers(0, 50, 1000)
        for part in numpy.split(keys, 100):
            counts.add(part)
        expected = numpy.unique(keys, return_counts=True)
        self.assertEqual(counts.items()[0].tolist(), expected[0].tolist())
        self.assertEqual(counts.items()[1].tolist(), expected[1].tolist())


class ReaderTest(LogsTestCase):
    def test_order_of_columns_comes_from_the_header(self):
        self.write_logs([request(0, latency=7 * MS)], [action(0, batch=4)])
        turned = tuple(reversed(REQUEST_COLUMNS))
        self.write(
            "file=controller_1_request.tsv", to_tsv(turned, [request(0, latency=7 * MS)])
        )
        self.assertEqual(self.summarize()["latency_max_ms"], "7.000")

    def test_the_sample_of_the_published_system_is_read(self):
        self.write_logs([])
        rows = (
            "1598832443793706631\t68\t0\t357\t30\t0\t11428945\t100000000\t1\t0\t2\t1\n"
            "1598832443794996383\t506\t0\t357\t30\t0\t3124478\t100000000\t1\t2\t2\t0\n"
        )
        header = "\t".join(REQUEST_COLUMNS) + "\n"
        self.write("file=controller_1_request.tsv", (header + rows).encode())
        summary = self.summarize()
        self.assertEqual(summary["requests"], "2")
        self.assertEqual(summary["cold_starts"], "1")
        self.assertEqual(summary["latency_max_ms"], "11.429")

    def test_ranges_and_blocks_of_any_size_give_the_same(self):
        paths = make_synthetic_logs.make_logs(self.folder, 3000, 900, 30)
        log = telemetry.open_request_log(paths[0])
        whole = list(telemetry.read_blocks(telemetry.whole(log), ("t", "latency"), self.fail))
        self.assertEqual(len(whole), 1)
        for range_bytes, block_bytes in ((1 << 30, 37), (1000, 1 << 20), (997, 100), (1, 64)):
            frames = [
                frame
                for part in telemetry.split(log, range_bytes)
                for frame in telemetry.read_blocks(part, ("t", "latency"), self.fail, block_bytes)
            ]
            self.assertEqual(
                [value for frame in frames for value in frame["latency"].tolist()],
                whole[0]["latency"].tolist(),
            )

    def test_several_processes_give_the_same_summary(self):
        make_synthetic_logs.make_logs(self.folder, 30_000, 9000, 30)
        pairs = telemetry.find_logs(self.folder)
        window = aggregates.Window(make_synthetic_logs.START_NS, None, SECOND)
        summaries = []
        for jobs, range_bytes in ((1, 1 << 30), (2, 100_000)):
            requests, actions, torn = aggregates.aggregate_logs(pairs, window, jobs, range_bytes)
            self.assertEqual(torn, set())
            summaries.append(list(process.summarize(process.Run(requests, actions, window))))
        self.assertEqual(summaries[0], summaries[1])

    def write_columns(self, requests, actions):
        requests = to_columns(REQUEST_COLUMNS, requests)
        self.write("clockwork_request_log.columns", requests)
        self.write("clockwork_action_log.columns", to_columns(ACTION_COLUMNS, actions))
        return requests

    def test_columns_say_the_same_as_rows(self):
        requests = [request(at / 7, latency=at * MS, model_id=at % 5) for at in range(1, 50)]
        actions = [action(at / 9, batch=1 + at % 4, duration_error=-at) for at in range(1, 40)]
        self.write_logs(requests, actions)
        rows = self.summarize()
        for name in os.listdir(self.folder):
            os.remove(self.path(name))
        self.write_columns(requests, actions)
        self.assertEqual(self.summarize(), rows)
        log = telemetry.open_request_log(self.path("clockwork_request_log.columns"))
        parts = telemetry.split(log, 500)
        self.assertGreater(len(parts), 5)
        arrivals = [
            int(t) for part in parts for frame in telemetry.read_blocks(part, ("t",), self.fail)
            for t in frame["t"]
        ]
        self.assertEqual(arrivals, [row["t"] for row in requests])

    def test_a_torn_block_of_columns_is_left_out_with_one_warning(self):
        whole = self.write_columns([request(at) for at in range(1, 8)], [action(1)])
        self.write("clockwork_request_log.columns", whole[:-5])
        status, lines = self.run_main()
        self.assertEqual((status, len(lines)), (0, 1), lines)
        self.assertIn("clockwork_request_log.columns", lines[0])
        self.assertEqual(self.summarize()["requests"], "6")

    def test_damaged_columns_are_named(self):
        name = "clockwork_request_log.columns"
        whole = self.write_columns([request(at) for at in range(1, 8)], [action(1)])
        begin = whole.index(b"\n", len(telemetry.COLUMNS_MAGIC)) + 1
        self.write(name, whole[:begin] + b"\xff" * 4 + whole[begin + 4 :])
        self.assert_refused(name, f"byte {begin}", "damaged")
        width_at = begin + 8 + 8
        self.write(name, whole[:width_at] + b"\x03" + whole[width_at + 1 :])
        self.assert_refused(name, f"byte {begin}", "'t'")
        self.write(name, whole.replace(b"columns 1", b"columns 2", 1))
        self.assert_refused(name, "version")

    def test_compressed_logs(self):
        self.write_logs([request(0), request(1)], [action(0)])
        expected = self.summarize()
        for kind in ("request", "action"):
            name = f"file=controller_1_{kind}.tsv"
            with open(self.path(name), "rb") as plain:
                self.write(name + ".gz", gzip.compress(plain.read()))
            os.remove(self.path(name))
        self.assertEqual(self.summarize(), expected)

    def test_truncated_compressed_log_is_an_error(self):
        self.write_logs([request(0)], [action(0)])
        name = "file=controller_1_request.tsv"
        with open(self.path(name), "rb") as plain:
            self.write(name + ".gz", gzip.compress(plain.read())[:-9])
        os.remove(self.path(name))
        self.assert_refused(name + ".gz")

    def test_plain_names_are_read_only_where_there_are_no_others(self):
        self.write("clockwork_request_log.tsv", to_tsv(REQUEST_COLUMNS, [request(0)]))
        self.write("clockwork_action_log.tsv", to_tsv(ACTION_COLUMNS, []))
        self.assertEqual(self.summarize()["requests"], "1")
        self.write_logs([request(0), request(1)])
        self.assertEqual(self.summarize()["requests"], "2")

    def test_logs_of_several_controllers_add_up(self):
        self.write_logs([request(0, model_id=3, cold=1), request(0.5)], [action(0)])
        self.write_logs([request(0.1, model_id=3, cold=1)], [action(0)], controller=12)
        run = self.load()
        self.assertEqual(run.requests.requests.total(), 3)
        self.assertEqual(run.cold_models.tolist(), [2])  # model 3 of each
        self.assertEqual(run.actions.count(telemetry.INFER), 2)

    def test_torn_last_row_is_left_out_with_one_warning(self):
        self.write_logs([request(0), request(1), request(2)], [action(0)])
        make_synthetic_logs.tear(self.path("file=controller_1_request.tsv"))
        status, lines = self.run_main()
        self.assertEqual(status, 0)
        self.assertEqual(len(lines), 1)
        self.assertIn("warning: " + self.path("file=controller_1_request.tsv"), lines[0])
        with open(os.path.join(self.output, "summary.txt"), encoding="utf-8") as summary:
            self.assertEqual(summary.readline(), "requests: 2\n")

    def test_missing_column(self):
        self.write_logs([request(0)], [action(0)])
        columns = tuple(column for column in REQUEST_COLUMNS if column != "latency")
        self.write("file=controller_1_request.tsv", to_tsv(columns, [request(0)]))
        self.assert_refused("file=controller_1_request.tsv", "'latency'", "missing")

    def test_unknown_column(self):
        self.write_logs([request(0)], [action(0)])
        columns = ACTION_COLUMNS + ("colour",)
        self.write("file=controller_1_action.tsv", to_tsv(columns, [action(0) | {"colour": 1}]))
        self.assert_refused("file=controller_1_action.tsv", "'colour'", "unknown")

    def test_column_twice(self):
        self.write_logs([request(0)], [action(0)])
        self.write(
            "file=controller_1_request.tsv", to_tsv(REQUEST_COLUMNS + ("t",), [request(0)])
        )
        self.assert_refused("file=controller_1_request.tsv", "'t'", "twice")

    def test_empty_file(self):
        self.write_logs([request(0)], [action(0)])
        self.write("file=controller_1_action.tsv", b"")
        self.assert_refused("file=controller_1_action.tsv", "empty")

    def test_missing_file(self):
        self.write_logs([request(0)], [action(0)])
        os.remove(self.path("file=controller_1_action.tsv"))
        self.assert_refused("file=controller_1_action.tsv", "no such file")

    def test_no_logs_at_all(self):
        self.assert_refused("clockwork_request_log.tsv", "no such file")

    def test_a_python_without_the_libraries(self):
        for script, word in (("maf-exp-1-and-2/process.py", "python3-pandas"), ("plan/plot.py", "python3-numpy")):
            # -S: without Debian's folder of modules.
            run = subprocess.run([sys.executable, "-E", "-S", os.path.join(EXPERIMENTS, script)],
                                 capture_output=True, text=True)
            self.assertEqual(run.returncode, 2, run.stderr)
            self.assertRegex(run.stderr, rf"^[a-z]+\.py: .* has no numpy.*: apt install .*{word}.*\n$")

    def test_header_only(self):
        self.write_logs([])
        self.assert_refused("file=controller_1_request.tsv", "no requests")

    def test_damaged_row_is_named(self):
        good = to_tsv(REQUEST_COLUMNS, [request(0)])
        row = good.splitlines(keepends=True)[1]
        self.write_logs([request(0)], [action(0)])
        name = "file=controller_1_request.tsv"
        self.write(name, good + row.replace(b"5000000", b"5x", 1) + row)
        self.assert_refused(name, f"byte {len(good)}", "'latency'", "'5x'")
        self.write(name, good + b"1\t2\t3\n" + row)
        self.assert_refused(name, f"byte {len(good)}", "3 columns")
        self.write(name, good + row[:-1] + b"\t9\n" + row)
        self.assert_refused(name, f"byte {len(good)}", "13 columns")
        self.write(name, good + b"9" * 30 + row[19:])
        self.assert_refused(name, f"byte {len(good)}", "'t'")

    def test_clock_that_jumps_is_named_not_allocated(self):
        self.write_logs([request(0), request(2e9)], [action(0)])
        self.assert_refused("file=controller_1_request.tsv", "'t'")


class WindowTest(LogsTestCase):
    def setUp(self):
        super().setUp()
        # one a second for 100 s; the file is in order of answers, not of arrivals
        times = [1, 0] + list(range(2, 100))
        self.write_logs([request(second) for second in times], [action(s) for s in times])

    def test_leadin_is_excluded(self):
        summary = self.summarize("-l", "40")
        self.assertEqual(summary["requests"], "60")
        self.assertEqual(summary["start_unix_s"], f"{START // SECOND + 40}.000")
        self.assertEqual(summary["infer_actions"], "60")

    def test_duration_counts_from_the_end_of_the_leadin(self):
        summary = self.summarize("-l", "40", "-d", "20")
        self.assertEqual(summary["requests"], "20")
        self.assertEqual(summary["infer_actions"], "20")

    def test_leadin_longer_than_the_data(self):
        status, lines = self.run_main("-l", "600")
        self.assertEqual(status, 1)
        self.assertIn("--leadin", lines[0])
        self.assertEqual(len(lines), 1)

    def test_intervals(self):
        run = self.load("-b", "30")
        # the last nine seconds are no interval of their own
        self.assertEqual(run.begin_s.tolist(), [0, 30, 60])
        self.assertEqual(run.throughput.tolist(), [1, 1, 1])

    def test_last_interval_counts_as_long_as_it_is(self):
        run = self.load("-b", "35")
        self.assertEqual(run.begin_s.tolist(), [0, 35, 70])
        self.assertAlmostEqual(run.covered_s[-1], 29, places=6)
        self.assertAlmostEqual(run.throughput[-1], 30 / 29, places=6)

    def test_interval_shorter_than_a_second(self):
        run = self.load("-b", "0.5", "-d", "3")
        self.assertEqual(run.throughput.tolist(), [2, 0, 2, 0])
        self.assertTrue(math.isnan(run.latency_p50_ms[1]))


class NumbersTest(LogsTestCase):
    def test_requests(self):
        self.write_logs(
            [request(i / 100, latency=(i + 1) * MS, deadline=90 * MS) for i in range(100)]
            + [request(1, result=4, latency=500 * MS), request(2, result=8)]
        )
        summary = self.summarize()
        self.assertEqual(summary["requests"], "102")
        self.assertEqual(summary["duration_s"], "2.000")
        self.assertEqual(summary["throughput_rps"], "51.000")
        self.assertEqual(summary["goodput_rps"], "45.000")
        self.assertEqual(summary["slo_met_percent"], "88.2352")
        self.assertEqual(summary["refused"], "2")
        self.assertEqual(summary["result_0"], "100")
        self.assertEqual(summary["result_4"], "1")
        self.assertEqual(summary["result_8"], "1")
        self.assertEqual(summary["late_answers"], "10")
        self.assertAlmostEqual(float(summary["latency_p50_ms"]), 50, delta=0.05)
        self.assertAlmostEqual(float(summary["latency_p99_ms"]), 99, delta=0.1)
        self.assertEqual(summary["latency_max_ms"], "100.000")  # refused requests have none

    def test_cold_starts(self):
        self.write_logs(
            [
                request(0.0, model_id=1, cold=1),
                request(0.1, model_id=1, cold=1),
                request(0.2, model_id=2, cold=1),
                request(0.3, model_id=3),
                request(1.5, model_id=2, cold=1),
                request(2.9, model_id=3),
            ]
        )
        run = self.load()
        self.assertEqual(run.cold_models.tolist(), [2, 1, 0])
        self.assertEqual(run.active_models.tolist(), [3, 1, 1])
        self.assertEqual(run.cold_starts.tolist()[:2], [3, 1])

    def test_batch_size_is_weighted_by_request(self):
        self.write_logs(
            [request(0), request(1.9)],
            [
                action(0, batch=1),
                action(0, batch=3),
                action(0, batch=16, status=11),
                action(0, kind=telemetry.LOAD, batch=9),
                action(1, batch=8),
            ],
        )
        self.assertEqual(self.load().batch.tolist(), [2.5, 8])
        self.assertEqual(self.summarize()["mean_batch"], f"{(1 + 9 + 64) / 12:.3f}")

    def test_errors_over_and_under(self):
        infers = [action(0, duration_error=error * US) for error in [-4] * 50 + [0] * 40 + [9] * 10]
        loads = [action(0, kind=telemetry.LOAD, completion_error=-700 * US)]
        refused = [action(0, status=11, duration_error=-(10**9))]
        evict = [action(0, kind=telemetry.EVICT, duration_error=10**9)]
        self.write_logs([request(0), request(1)], infers + loads + refused + evict)
        summary = self.summarize()
        error = {key: float(text) for key, text in summary.items() if "_error_" in key}
        self.assertEqual(summary["infer_actions"], "100")
        self.assertAlmostEqual(error["infer_prediction_error_p50_us"], 4, delta=0.004)
        self.assertAlmostEqual(error["infer_prediction_error_p99_us"], 9, delta=0.009)
        self.assertEqual(error["infer_prediction_error_over_p50_us"], 0)
        self.assertAlmostEqual(error["infer_prediction_error_over_p99_us"], 4, delta=0.004)
        self.assertEqual(error["infer_prediction_error_under_p50_us"], 0)
        self.assertAlmostEqual(error["infer_prediction_error_under_p9999_us"], 9, delta=0.009)
        self.assertEqual(error["infer_completion_error_p9999_us"], 0)
        self.assertAlmostEqual(error["load_completion_error_p50_us"], 700, delta=0.7)
        self.assertAlmostEqual(error["load_completion_error_over_p99_us"], 700, delta=0.7)
        self.assertEqual(error["load_completion_error_under_p99_us"], 0)

    def test_errors_as_a_share_of_what_was_predicted(self):
        load = functools.partial(action, 0, kind=telemetry.LOAD)
        infers = [action(0, predicted=4 * MS, duration_error=-1 * MS)] * 60
        infers += [action(0, predicted=MS, duration_error=3 * MS)] * 40
        loads = [load(predicted=8 * MS, duration_error=400 * US)] * 98
        loads += [load(predicted=10 * MS, duration_error=-125 * US)] * 101
        loads += [load(predicted=2 * MS, duration_error=5 * MS)]
        unpredicted = [load(predicted=0, duration_error=9 * MS)] * 300
        refused = [load(status=11, duration_error=-3 * MS)] * 300
        evicts = [action(0, kind=telemetry.EVICT, duration_error=SECOND)] * 300
        self.write_logs([request(0)], infers + loads + unpredicted + refused + evicts)
        summary = self.summarize()
        self.assertEqual(summary["load_actions"], "500")
        percents = {
            "infer_prediction_error_p50_percent": 25,
            "infer_prediction_error_p99_percent": 300,
            "infer_prediction_error_p9999_percent": 300,
            "load_prediction_error_p50_percent": 1.25,
            "load_prediction_error_p99_percent": 5,
            "load_prediction_error_p9999_percent": 250,
        }
        for key, percent in percents.items():
            self.assertAlmostEqual(float(summary[key]), percent, delta=percent / 1000, msg=key)

    def test_errors_without_any_prediction_have_no_share(self):
        self.write_logs([request(0)], [action(0, predicted=0, duration_error=MS)])
        self.assertEqual(self.summarize()["infer_prediction_error_p99_percent"], "nan")

    def test_tail_points_reach_from_the_smallest_to_the_largest(self):
        histogram = Histogram()
        histogram.add(numpy.arange(1, 1001))
        decades, values = figures.tail_points(histogram.overall(), points_per_decade=1)
        self.assertEqual(decades.tolist(), [0, 1, 2, 3])
        self.assertEqual(values.tolist(), [1, 900, 990, 1000])

    def test_labels(self):
        labels = [figures.percentile_label(decade) for decade in range(5)]
        self.assertEqual(labels, ["0", "90", "99", "99.9", "99.99"])
        labels = [figures.duration_label(10.0**power) for power in (2, 3, 5, 6, 9)]
        self.assertEqual(labels, ["100 ns", "1 µs", "100 µs", "1 ms", "1 s"])


class ResultsTest(LogsTestCase):
    SUMMARY_KEYS = (
        ["requests", "duration_s", "throughput_rps", "goodput_rps", "slo_met_percent", "refused"]
        + ["late_answers", "cold_starts", "mean_batch"]
        + [f"latency_{name}_ms" for name in ("p50", "p99", "p9999", "max")]
        + [
            f"{action}_{kind}_error_{sign}{quantile}_us"
            for action in ("infer", "load")
            for kind in ("prediction", "completion")
            for sign in ("", "over_", "under_")
            for quantile in ("p50", "p99", "p9999")
        ]
        + [
            f"{action}_prediction_error_{quantile}_percent"
            for action in ("infer", "load")
            for quantile in ("p50", "p99", "p9999")
        ]
    )

    def read_table(self, name):
        with open(os.path.join(self.output, name), encoding="utf-8") as stream:
            lines = [line.rstrip("\n").split("\t") for line in stream]
        return lines[0], lines[1:]

    def test_all_files_are_written(self):
        make_synthetic_logs.make_logs(self.folder, 5000, 2000, 50)
        status, lines = self.run_main("-b", "10")
        self.assertEqual((status, lines), (0, []))
        written = set(os.listdir(self.output))
        self.assertEqual({name for name in written if name.endswith(".pdf")}, NINE_FIGURES)
        self.assertEqual(
            written - NINE_FIGURES,
            {"summary.txt", "overview.png", "client_tail_cdf_data.tsv", "timeseries_data.tsv"},
        )
        for name in written:
            self.assertGreater(os.path.getsize(os.path.join(self.output, name)), 0)

        with open(os.path.join(self.output, "summary.txt"), encoding="utf-8") as stream:
            summary = dict(line.rstrip("\n").split(": ") for line in stream)
        for key in self.SUMMARY_KEYS:
            self.assertTrue(math.isfinite(float(summary[key])), key)

        header, rows = self.read_table("timeseries_data.tsv")
        self.assertEqual(header[0], "t_s")
        self.assertEqual([row[0] for row in rows], ["0", "10", "20", "30", "40"])
        header, rows = self.read_table("client_tail_cdf_data.tsv")
        self.assertEqual(header, ["percentile", "latency_ms"])
        latencies = [float(row[1]) for row in rows]
        self.assertEqual(latencies, sorted(latencies))
        self.assertEqual(rows[-1][0], "100")

    def test_run_without_success_or_actions_still_has_figures(self):
        self.write_logs([request(0, result=4), request(1, result=4)])
        status, lines = self.run_main()
        self.assertEqual((status, lines), (0, []))
        self.assertLessEqual(NINE_FIGURES, set(os.listdir(self.output)))

    def test_single_request(self):
        self.write_logs([request(0)], [action(0)])
        self.assertEqual(self.run_main("--no-overview"), (0, []))
        self.assertFalse(os.path.exists(os.path.join(self.output, "overview.png")))

    def test_summary_elsewhere(self):
        self.write_logs([request(0), request(1)])
        elsewhere = self.path("elsewhere.txt")
        self.assertEqual(self.run_main("--summary", elsewhere), (0, []))
        self.assertTrue(os.path.exists(elsewhere))

    def test_output_that_cannot_be_written(self):
        self.write_logs([request(0)])
        self.write("output", b"a file, not a folder")
        status, lines = self.run_main()
        self.assertEqual((status, len(lines)), (1, 1))


class ArgumentsTest(unittest.TestCase):
    def test_defaults(self):
        options = process.parse_arguments([])
        self.assertEqual(
            (options.leadin, options.duration, options.bucketsize), (600, -1, 60)
        )

    def test_bad_numbers_exit_2(self):
        for arguments in (["-l", "-1"], ["-b", "0"], ["-d", "0"], ["-l", "ten"], ["--jobs", "0"]):
            with contextlib.redirect_stderr(io.StringIO()):
                with self.assertRaises(SystemExit) as raised:
                    process.parse_arguments(arguments)
            self.assertEqual(raised.exception.code, 2)

    def test_help_has_the_published_options(self):
        text = io.StringIO()
        with contextlib.redirect_stdout(text), self.assertRaises(SystemExit):
            process.parse_arguments(["-h"])
        words = " ".join(text.getvalue().split())
        self.assertIn(
            "[-h] [-i INPUTDIR] [-o OUTPUTDIR] [-l LEADIN] [-d DURATION] [-b BUCKETSIZE]", words
        )
        self.assertIn("Exclude the first LEADIN seconds of data. Default 600 (10 minutes).", words)


if __name__ == "__main__":
    unittest.main()
