#!/usr/bin/env python3
"""Execution times of the zoo and of trained models on a CPU beside ONNX Runtime's, paired: both in turn, all the time.

    bench/zoo_cpu.py --prepare FOLDER [--models NAME...]      writes and compiles the models first
    bench/zoo_cpu.py --packages FOLDER [--models NAME...] [--append] [-o bench/results/zoo_cpu.txt]

Trained models (TRAINED below) come from the packages of PyPI that `make setup-zoo` unpacks; --trained says where.

Both run on the same cores with as many threads as cores. A turn is about a fifth of a second of
executions, or one that takes longer; of several the first is not counted, as it finds the other's
data in the caches. Execution time is that of the model alone: ours from its begin to its end on the
backend's thread, theirs around session.run() with inputs that are made once.

p99.9 is the worst of what was measured where that is fewer than 1,000 executions; `runs` says so.
"""

import argparse
import datetime
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

TURN_SECONDS = 0.2
RUNS_MIN = 3

# One of each family and kind of the zoo, small ones where there are several.
MODELS = (
    "bert_small",
    "cifar_wideresnet16_10",
    "densenet121",
    "dla34",
    "googlenet",
    "inceptionv3",
    "mobile_pose_mobilenet1.0",
    "mobile_pose_mobilenetv3",
    "mobile_pose_resnet18_v1",
    "mobilenet1.0",
    "mobilenetv2_1.0",
    "mobilenetv3_large",
    "resnest14",
    "resnest50",
    "resnet18_v1",
    "resnet18_v1b",
    "resnet18_v2",
    "resnet50_tuned_1.8x",
    "resnet50_v1",
    "resnet50_v1d",
    "resnet50_v2",
    "resnext50_32x4d",
    "se_resnext50_32x4d",
    "simple_pose_resnet18_v1b",
    "tsn_inceptionv1_kinetics400",
    "tsn_resnet18_v1b_kinetics400",
    "vit_small",
    "winograd_resnet18_v2",
    "xception",
)

@dataclass(frozen=True)
class Trained:
    path: str  # below --trained
    shapes: dict = field(default_factory=dict)  # of inputs with more than one free dimension, without the batch
    has_batch: bool = True


# At the sizes that the demo uses (scripts/reading.py), nudenet at its own.
TRAINED = {
    "ocr_detection": Trained(
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", {"x": (3, 256, 480)}
    ),
    "ocr_direction": Trained(
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", {"x": (3, 48, 192)}
    ),
    "ocr_recognition": Trained(
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", {"x": (3, 48, 320)}
    ),
    "nudenet": Trained("nudenet/320n.onnx", {"images": (3, 320, 320)}),
    "magika": Trained("magika/models/standard_v3_3/model.onnx"),
    "silero_vad": Trained("silero_vad/data/silero_vad_openvino_16k.onnx", has_batch=False),
    "silero_vad_sequence": Trained(
        "silero_vad/data/silero_vad_16k_sequence.onnx", {"input": (8, 576)}, has_batch=False
    ),
}

HEADER = (
    f"{'model':30} {'b':>2} {'thr':>3} {'ours p50':>9} {'p99':>9} {'p99.9':>9}"
    f" {'theirs p50':>10} {'p99':>9} {'p99.9':>9} {'ratio':>6} {'tail':>5} {'theirs':>6} {'runs':>9}"
)


def build(name):
    folder = os.path.abspath(os.environ.get("CLOCKWORK_BUILD") or os.path.join(ROOT, "build"))
    return os.path.join(folder, name)


def write_model(name, path, trained):
    if name in TRAINED:
        shutil.copyfile(os.path.join(trained, TRAINED[name].path), path)
        return
    from zoo import registry

    with open(path, "wb") as file:
        file.write(registry.build(name).SerializeToString())


def prepare(names, folder, batches, trained):
    os.makedirs(folder, exist_ok=True)
    for name in names:
        path = os.path.join(folder, f"{name}.onnx")
        if not os.path.exists(path):
            write_model(name, path, trained)
        command = [build("compile_model"), path, "-o", os.path.join(folder, name), "--name", name]
        one = TRAINED.get(name, Trained(path))
        if one.has_batch:
            command += ["--batch", ",".join(str(size) for size in sorted({1, *batches}))]
        for value, shape in one.shapes.items():
            dims = [*("N" if one.has_batch else ""), *map(str, shape)]
            command += ["--shape", f"{value}={'x'.join(dims)}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(name, flush=True)


class Ours:
    def __init__(self, package, batch, threads):
        command = [build("check_model"), package, "--paced"]
        command += ["--batch", str(batch), "--cores", str(threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("check_model ended")
        return [int(word) / 1e6 for word in line.split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Theirs:
    def __init__(self, name, path, batch, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Its threads would go on spinning, on our cores, when their turn is over.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        random = np.random.default_rng(1)
        one = TRAINED.get(name, Trained(path))
        self.inputs = {}
        for value in self.session.get_inputs():
            shape = one.shapes.get(value.name, value.shape[1:] if one.has_batch else value.shape)
            shape = [batch, *shape] if one.has_batch else shape
            if value.type == "tensor(float)":
                self.inputs[value.name] = random.random(shape, dtype=np.float32)
            else:
                kind = np.int32 if value.type == "tensor(int32)" else np.int64
                self.inputs[value.name] = np.zeros(shape, dtype=kind)
        self.names = [value.name for value in self.session.get_outputs()]

    def run(self, count):
        durations = []
        for _ in range(count):
            begin = time.perf_counter_ns()
            self.session.run(self.names, self.inputs)
            durations.append((time.perf_counter_ns() - begin) / 1e6)
        return durations

    def close(self):
        del self.session


def percentile(durations, share):
    ordered = sorted(durations)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measure(name, folder, batch, threads, seconds):
    sides = [Ours(os.path.join(folder, name), batch, threads)]
    sides.append(Theirs(name, os.path.join(folder, f"{name}.onnx"), batch, threads))
    counts = []
    for side in sides:
        took = min(side.run(1))
        counts.append(max(1, min(1000, int(TURN_SECONDS * 1000 / took))))
    kept = [[], []]
    begin = time.monotonic()
    while time.monotonic() - begin < seconds or min(map(len, kept)) < RUNS_MIN:
        for index, side in enumerate(sides):
            count = counts[index]
            kept[index] += side.run(count + 1)[1:] if count > 1 else side.run(1)
    for side in sides:
        side.close()
    return kept


def line_of(name, batch, threads, kept):
    ours, theirs = ([percentile(side, share) for share in (0.5, 0.99, 0.999)] for side in kept)
    text = f"{name:30} {batch:2d} {threads:3d} {ours[0]:9.3f} {ours[1]:9.3f} {ours[2]:9.3f}"
    text += f" {theirs[0]:10.3f} {theirs[1]:9.3f} {theirs[2]:9.3f} {ours[0] / theirs[0]:6.3f}"
    text += f" {ours[2] / ours[0]:5.2f} {theirs[2] / theirs[0]:6.2f}"
    return f"{text} {min(map(len, kept)):9d}"


def summary(rows):
    """What is claimed of ratios, for each batch size and number of threads, and of all."""
    groups = {}
    for row in rows:
        words = row.split()
        ratio = float(words[9])
        for key in (f"b{words[1]}, {words[2]} thread(s)", "all"):
            groups.setdefault(key, []).append((ratio, words[0]))
    for key in sorted(groups, key=lambda key: (key == "all", key)):
        ratios = groups[key]
        mean = math.exp(sum(math.log(ratio) for ratio, _ in ratios) / len(ratios))
        worst, name = max(ratios)
        over = sum(ratio > 1.3 for ratio, _ in ratios)
        yield (
            f"{key}: geometric mean {mean:.3f} over {len(ratios)}, greatest {worst:.3f} ({name}),"
            f" {over} above 1.3"
        )


def head():
    import onnxruntime

    with open("/proc/cpuinfo", encoding="ascii") as file:
        model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    commit = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    yield "# bench/zoo_cpu.py: execution times in ms, ours beside ONNX Runtime's; ratio = ours / theirs, both p50;"
    yield "# tail and theirs: p99.9 / p50 (of the worst, where there are fewer than 1,000 runs)."
    yield (
        f"# {datetime.date.today()}, {commit}, {len(os.sched_getaffinity(0))} cores of {model},"
        f" ONNX Runtime {onnxruntime.__version__}, Python {platform.python_version()}"
    )


def write(path, rows):
    texts = [*head(), HEADER, *rows, "", *summary(rows)]
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(texts) + "\n")


def rows_of(path):
    with open(path, encoding="ascii") as file:
        lines = file.read().splitlines()
    return [line for line in lines if len(line.split()) == 13 and line.split()[1].isdigit()]


def parser_of(doc, models):
    """What this and tails_cpu.py are told alike."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", metavar="FOLDER", help="write models and packages there; no timing")
    parser.add_argument("--packages", metavar="FOLDER", help="what --prepare wrote")
    parser.add_argument("--models", nargs="+", default=models)
    parser.add_argument(
        "--trained", default=f"{build('')[:-1]}-venv/models", help="folder of unpacked packages; %(default)s"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--append", action="store_true", help="keep other rows of the output file")
    parser.add_argument("-o", "--output", help="file of the table; without it, standard output")
    return parser


def parse(parser):
    options = parser.parse_args()
    if bool(options.prepare) == bool(options.packages):
        parser.error("give either --prepare FOLDER or --packages FOLDER")
    return options


def main():
    parser = parser_of(__doc__, (*MODELS, *TRAINED))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--seconds", type=float, default=3, help="of each comparison")
    options = parse(parser)
    if options.prepare:
        prepare(options.models, options.prepare, options.batch, options.trained)
        return
    rows = []
    if options.append and options.output and os.path.exists(options.output):
        rows = rows_of(options.output)
    cores = sorted(os.sched_getaffinity(0))
    for threads in options.threads:
        os.sched_setaffinity(0, cores[:threads])
        for name in options.models:
            for batch in options.batch:
                if batch > 1 and name in TRAINED and not TRAINED[name].has_batch:
                    continue
                kept = measure(name, options.packages, batch, threads, options.seconds)
                line = line_of(name, batch, threads, kept)
                print(line, flush=True)
                rows = [row for row in rows if row.split()[:3] != line.split()[:3]] + [line]
                if options.output:
                    os.sched_setaffinity(0, cores)
                    write(options.output, sorted(rows))
                    os.sched_setaffinity(0, cores[:threads])
    print(*summary(rows), sep="\n")


if __name__ == "__main__":
    main()
