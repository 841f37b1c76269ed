#!/usr/bin/env python3
"""How far executions on a CPU stray from their median, beside ONNX Runtime's: p99.9 / p50 of both, paired.

    bench/tails_cpu.py --prepare FOLDER [--models NAME...]     writes and compiles the models first
    bench/tails_cpu.py --packages FOLDER [--models NAME...] [--append] [-o bench/results/tails_cpu.txt]

Models are those of zoo_cpu.py at batch size 1, and small ones of the onnx package whose weights are constants. As there,
both run on the same cores in turns of a fifth of a second. A row is several rounds, each of as many executions of both:
on a machine that others share, one pair of tails says which of the two met a neighbour. `tail` and `theirs` are of all
rounds' executions together; `shorter` says in how many rounds ours was the shorter; `ratio` is the median over rounds of
(ours / theirs). A round's tail is its p99.9, the worst of fewer than 1,000 executions.

`floor` is the machine's own: p99.9 / p50 of a loop of hashes on one core, without memory, system calls or other threads,
made as long as our median, that takes turns with both and as often. A disturbance of fixed length weighs more in p99.9 / p50
the quicker a side is: so the summary also says in how many rows our p99.9 itself is no longer.
"""

import hashlib
import os
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "bench"))

import zoo_cpu  # noqa: E402
from zoo_cpu import Ours, Theirs, Trained, percentile  # noqa: E402

# Each takes under about 12 ms on a core of 2021.
MODELS = (
    "bert_small",
    "light_shufflenet",
    "light_squeezenet",
    "magika",
    "mobile_pose_mobilenetv3",
    "mobilenet1.0",
    "mobilenetv2_1.0",
    "mobilenetv3_large",
    "ocr_direction",
    "silero_vad",
    "silero_vad_sequence",
)

HEADER = (
    f"{'model':26} {'thr':>3} {'ours p50':>9} {'p99':>9} {'p99.9':>9} {'theirs p50':>10} {'p99':>9} {'p99.9':>9}"
    f" {'tail':>6} {'theirs':>6} {'floor':>6} {'shorter':>7} {'ratio':>6} {'runs':>6}"
)
WORDS = len(HEADER.split()) - 1


def add_light_models():
    """Files of the onnx package, with a batch of one."""
    import onnx

    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
    for name in ("light_shufflenet", "light_squeezenet"):
        zoo_cpu.TRAINED[name] = Trained(os.path.join(folder, f"{name}.onnx"), has_batch=False)


def tail(durations):
    return percentile(durations, 0.999) / percentile(durations, 0.5)


class Loop:
    """What the machine does to a computation that touches nothing: as long as told."""

    PROBED = 2000

    def __init__(self, milliseconds):
        self.hashes = self.PROBED
        took = statistics.median(self.run(100))
        self.hashes = max(1, round(self.PROBED * milliseconds / took))

    def run(self, count):
        durations = []
        for _ in range(count):
            begin = time.perf_counter_ns()
            hashlib.pbkdf2_hmac("sha256", b"loop", b"salt", self.hashes)
            durations.append((time.perf_counter_ns() - begin) / 1e6)
        return durations

    def close(self):
        pass


def typical(side):
    """Once it is warm."""
    return statistics.median(side.run(25)[20:])


def measure(name, folder, threads, rounds, executions):
    """Of each side, the loop the third, a list of rounds, each a list of durations."""
    ours = Ours(os.path.join(folder, name), 1, threads)
    theirs = Theirs(name, os.path.join(folder, f"{name}.onnx"), 1, threads)
    sides = [ours, theirs, Loop(typical(ours))]
    counts = [max(1, min(1000, int(zoo_cpu.TURN_SECONDS * 1000 / typical(side)))) for side in sides]
    kept = [[] for _ in sides]
    for _ in range(rounds):
        of_round = [[] for _ in sides]
        while min(map(len, of_round)) < executions:
            for index, side in enumerate(sides):
                # The first of a turn finds the other's data in the caches.
                of_round[index] += side.run(counts[index] + 1)[1:]
        for side, durations in zip(kept, of_round):
            side.append(durations[:executions])
    for side in sides:
        side.close()
    return kept


def line_of(name, threads, kept):
    alls = [[one for part in side for one in part] for side in kept]
    ours, theirs = ([percentile(side, share) for share in (0.5, 0.99, 0.999)] for side in alls[:2])
    ratios = [tail(a) / tail(b) for a, b in zip(*kept[:2])]
    text = f"{name:26} {threads:3d} {ours[0]:9.3f} {ours[1]:9.3f} {ours[2]:9.3f}"
    text += f" {theirs[0]:10.3f} {theirs[1]:9.3f} {theirs[2]:9.3f} "
    text += " ".join(f"{tail(side):6.2f}" for side in alls)
    text += f" {f'{sum(ratio <= 1 for ratio in ratios)}/{len(ratios)}':>7} {statistics.median(ratios):6.2f}"
    return f"{text} {len(alls[0]):6d}"


def summary(rows):
    words = [row.split() for row in rows]
    shorter = sum(float(row[8]) <= float(row[9]) for row in words)
    won, rounds = (sum(int(row[11].split("/")[i]) for row in words) for i in (0, 1))
    ratios = [float(row[12]) for row in words]
    yield f"tail no longer than theirs in {shorter} of {len(rows)} rows and {won} of {rounds} rounds;"
    absolute = sum(float(row[4]) <= float(row[7]) for row in words)
    yield f"p99.9 itself no longer in {absolute} of {len(rows)} rows;"
    yield f"geometric mean of the ratios {statistics.geometric_mean(ratios):.2f}, greatest {max(ratios):.2f}"


def write(path, rows):
    head = list(zoo_cpu.head())[2:]
    first = "# bench/tails_cpu.py: execution times in ms, ours beside ONNX Runtime's; what the columns are it says itself."
    texts = [first, *head, HEADER, *rows, "", *summary(rows)]
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(texts) + "\n")


def rows_of(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="ascii") as file:
        lines = file.read().splitlines()
    return [line for line in lines if len(line.split()) == WORDS - 1 and line.split()[1].isdigit()]


def main():
    parser = zoo_cpu.parser_of(__doc__, MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--executions", type=int, default=400, help="of each in a round")
    options = zoo_cpu.parse(parser)
    add_light_models()
    if options.prepare:
        zoo_cpu.prepare(options.models, options.prepare, [1], options.trained)
        return
    rows = rows_of(options.output) if options.append and options.output else []
    cores = sorted(os.sched_getaffinity(0))
    for name in options.models:
        for threads in options.threads:
            os.sched_setaffinity(0, cores[:threads])
            line = line_of(name, threads, measure(name, options.packages, threads, options.rounds, options.executions))
            os.sched_setaffinity(0, cores)
            print(line, flush=True)
            rows = sorted([row for row in rows if row.split()[:2] != line.split()[:2]] + [line])
            if options.output:
                write(options.output, rows)
    print(*summary(rows), sep="\n")


if __name__ == "__main__":
    main()
