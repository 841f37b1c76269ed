"""Models of the zoo: what the table says of their sizes, and their answers beside ONNX Runtime's.

    zoo_models.py [NAME...] [--backends reference,cpu] [--batches 1,2] [--onnx FOLDER] [--results FILE]

Names as for zoo/build.py; without any, small ones of different kinds. FOLDER has their files, as zoo/build.py
--keep-onnx leaves them; without it they are made here, twice, and must be the same. FILE gets a line a model: how
far the answers were off at worst, of the greatest number in the answer.
"""

import argparse
import concurrent.futures
import csv
import functools
import os
import sys

import numpy as np
import onnx

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from report import Report  # noqa: E402
from subject import CPU, FAILED, OK, REFERENCE, Subject, Unsupported, Wrong  # noqa: E402
from subject import onnx_runtime, runnable  # noqa: E402
from zoo import build, registry  # noqa: E402

QUICK = ("bert_small", "cifar_wideresnet16_10", "mobile_pose_mobilenetv3", "mobilenetv2_1.0", "vit_small")
BATCHES = (1, 2)
# Two inputs' answers differ by more than this of the greatest number; of the 72 models the least is 0.039 (resnest26).
ALIVE_SHARE = 0.02
WEIGHTS_SHARE = 0.03
SEED = 1

# Their table rows are of transformed weights: zoo/README.md.
OTHER_WEIGHTS = {name for name in registry.MODELS if name.startswith("winograd_")}


def table():
    with open(os.path.join(ROOT, "zoo", "profiles", "v100.tsv"), encoding="ascii") as file:
        return {row["model"]: row for row in csv.DictReader(file, delimiter="\t")}


def inputs_of(model, batch):
    """Random pictures; ids of words; a mask that covers the end of a text."""
    random = np.random.default_rng(SEED)
    arrays = []
    for value in model.graph.input:
        shape = [batch, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])]
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            arrays.append(random.standard_normal(shape, dtype=np.float32))
        elif value.name == "attention_mask":
            arrays.append((np.arange(shape[1]) < shape[1] - 5 * np.arange(1, batch + 1)[:, None]) * 1)
        else:
            arrays.append(random.integers(0, 8192, shape))
    return arrays


def check_sizes(name, model, inputs, outputs):
    row = table().get(name)
    if row is None:
        return
    for key, arrays in (("input_bytes", inputs), ("output_bytes", outputs)):
        bytes_count = sum(array[:1].nbytes for array in arrays)
        if bytes_count != int(row[key]):
            raise Wrong(f"{key} is {bytes_count}, the table has {row[key]}")
    weights = sum(4 * int(np.prod(i.dims)) for i in model.graph.initializer)
    if name not in OTHER_WEIGHTS and abs(weights / int(row["weights_bytes"]) - 1) > WEIGHTS_SHARE:
        raise Wrong(f"{weights} bytes of weights, the table has {row['weights_bytes']}")


def check_alive(outputs):
    """Random weights must leave a network that answers differently to different pictures."""
    for array in outputs:
        if not np.all(np.isfinite(array)) or np.std(array) == 0:
            raise Wrong("the answers are not finite, or constant")
        if np.max(np.abs(array[0] - array[1])) < ALIVE_SHARE * np.max(np.abs(array)):
            raise Wrong("the answer hardly depends on the input")


def make(name):
    model = registry.build(name)
    onnx.checker.check_model(model, full_check=True)
    if registry.build(name).SerializeToString() != model.SerializeToString():
        raise Wrong("the generator wrote other bytes the second time")
    return model


def try_model(backends, batches, folder, name):
    """(name, outcome, text, {(backend, batch): worst error})"""
    subject = Subject()
    errors = {}
    try:
        model = onnx.load(os.path.join(folder, f"{name}.onnx")) if folder else make(name)
        # two at least: check_alive() compares the answers to two
        inputs = inputs_of(model, max(2, *batches))
        wanted = onnx_runtime(model, inputs)
        check_sizes(name, model, inputs, wanted)
        check_alive(wanted)
        subject.compile(model, batches)
        for batch in batches:
            fed, answers = ([array[:batch] for array in arrays] for arrays in (inputs, wanted))
            for backend, error in subject.check(fed, answers, batch, backends=backends).items():
                errors[backend, batch] = error
        return name, OK, "", errors
    except Unsupported as refusal:
        return name, FAILED, f"refused: {refusal}", errors
    except Wrong as error:
        return name, FAILED, str(error), errors
    finally:
        subject.close()


def write_results(path, backends, batches, rows):
    keys = [(backend, batch) for backend in backends for batch in batches]
    with open(path, "w", encoding="ascii") as file:
        file.write("\t".join(["model", *(f"{backend}_b{batch}" for backend, batch in keys)]) + "\n")
        for name, errors in sorted(rows):
            cells = [f"{errors[key]:.1e}" if key in errors else "failed" for key in keys]
            file.write("\t".join([name, *cells]) + "\n")


def chosen_backends(text):
    names = tuple(text.split(","))
    for name in names:
        if name not in (REFERENCE, CPU):
            raise argparse.ArgumentTypeError(f"'{name}' is none of {REFERENCE}, {CPU}")
    return names


def chosen_batches(text):
    return tuple(int(size) for size in text.split(","))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="a model, subset, seed or all")
    parser.add_argument("--backends", type=chosen_backends, default=runnable())
    parser.add_argument("--batches", type=chosen_batches, default=BATCHES)
    parser.add_argument("--onnx", help="a folder with the models' files")
    parser.add_argument("--results", help="a file for how far the answers were off")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    names = build.names_of(options.names) if options.names else QUICK
    report = Report()
    difference_of_names = set(registry.SEED) ^ (set(table()) - registry.NOT_IN_SEED)
    if difference_of_names:
        report.fail(f"the table and the registry differ in {sorted(difference_of_names)}")
    rows = []
    with concurrent.futures.ProcessPoolExecutor(options.processes) as pool:
        tried = functools.partial(try_model, options.backends, options.batches, options.onnx)
        for name, outcome, text, errors in pool.map(tried, names):
            report.add("zoo", name, outcome, text)
            rows.append((name, errors))
            if options.results:
                write_results(options.results, options.backends, options.batches, rows)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
