"""The ONNX project's own tests of single operators and its light models, from the package `onnx`.

    node_tests.py [NAME...] [--all] [--processes N] [--verbose]

Each is compiled and run with the reference kernels; with --all by the CPU backend too. Passed: the answer is the test's. Unsupported: the
compiler refused it with one line. Anything else failed, and nothing may. Of the tests with float32
and int64 tensors of the operators that models use (LISTED), 85 % have to pass.
"""

import argparse
import concurrent.futures
import functools
import glob
import os
import re
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from report import Report
from subject import FAILED, OK, REFERENCE, UNSUPPORTED, Subject, Unsupported, Wrong, onnx_runtime, runnable

OPSET_MAX = 21
SHARE_MIN = 0.85
LIGHT_SEED = 1

# The reference kernels need seconds for these and minutes for some of the others.
LIGHT_QUICK = ("light_shufflenet", "light_squeezenet")

# Of float32 and int64 node tests of these, SHARE_MIN have to pass.
LISTED = set(
    """
    Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization LRN
    InstanceNormalization GroupNormalization Gemm MatMul LayerNormalization Softmax LogSoftmax Gelu Erf
    Gather Transpose Reshape Flatten Squeeze Unsqueeze Slice Split Concat Expand Where Resize Tile Pad
    DepthToSpace SpaceToDepth Shape Size Constant ConstantOfShape Identity Cast
    ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceSumSquare ArgMax ArgMin
    Add Sub Mul Div Pow Sqrt Exp Log Abs Neg Reciprocal Floor Ceil Round Sign Min Max Mean Sum Mod
    Relu LeakyRelu PRelu Elu Selu Celu ThresholdedRelu Sigmoid HardSigmoid HardSwish Tanh Softplus
    Softsign Clip Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh
    Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor Not
    QuantizeLinear DequantizeLinear
    """.split()
)


def lowered(model):
    """With an operator set that the compiler reads, where the operators mean the same there."""
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version <= OPSET_MAX:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for opset in copy.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = OPSET_MAX
    copy.ir_version = min(copy.ir_version, 10)
    try:
        onnx.checker.check_model(copy)
    except onnx.checker.ValidationError:
        return None
    return copy


def with_constants(model, inputs):
    """All inputs but the first made part of the model, as exporters write shapes and axes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value, array in zip(list(copy.graph.input)[1:], inputs[1:]):
        copy.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
        copy.graph.input.remove(value)
    return copy, inputs[:1]


def one_run(subject, backends, model, inputs, outputs, rtol, atol):
    subject.compile(model)
    subject.check(inputs, outputs, 1, False, rtol, max(atol, 1e-7), backends)


def try_case(backends, case):
    """(name, group, counted, outcome, text)"""
    name, model, inputs, outputs, rtol, atol = case
    operators = {node.op_type for node in model.graph.node}
    group = model.graph.node[0].op_type if len(operators) == 1 else "(several operators)"
    tensors = [np.asarray(array).dtype for array in (*inputs, *outputs)]
    counted = operators <= LISTED and all(
        dtype in (np.float32, np.int64, np.bool_) for dtype in tensors
    )
    if any(np.size(array) == 0 for array in (*inputs[:1], *outputs)):
        return name, group, counted, UNSUPPORTED, "a tensor without elements is no request"
    subject = Subject()
    try:
        try:
            if any(np.size(array) == 0 for array in inputs):  # axes, say: no request, but a constant
                raise Unsupported("a tensor without elements is no request")
            one_run(subject, backends, model, inputs, outputs, rtol, atol)
        except Unsupported:
            if len(inputs) < 2:
                raise
            one_run(subject, backends, *with_constants(model, inputs), outputs, rtol, atol)
        return name, group, counted, OK, ""
    except Unsupported as refusal:
        return name, group, counted, UNSUPPORTED, str(refusal)
    except Wrong as error:
        return name, group, counted, FAILED, str(error)
    finally:
        subject.close()


def is_tensor(value):
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiub"


def node_cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    for case in found:
        model = lowered(case.model)
        if model is None or not model.graph.node:
            continue
        for inputs, outputs in case.data_sets:
            if inputs and all(is_tensor(value) for value in (*inputs, *outputs)):
                yield case.name, model, list(inputs), list(outputs), case.rtol, case.atol


def light_models(wants_all):
    """Whole networks whose weights are made of constants; the answers are ONNX Runtime's."""
    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
    random = np.random.default_rng(LIGHT_SEED)
    for path in sorted(glob.glob(os.path.join(folder, "*.onnx"))):
        name = os.path.basename(path).removesuffix(".onnx")
        if name not in LIGHT_QUICK and not wants_all:
            continue
        model = onnx.load(path)
        known = {value.name for value in model.graph.initializer}
        inputs = []
        for value in model.graph.input:
            if value.name not in known:
                dims = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
                inputs.append(random.standard_normal(dims, dtype=np.float32))
        outputs = onnx_runtime(model, inputs)
        yield name, model, inputs, outputs, 1e-4, 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of the names of tests; all without")
    parser.add_argument("--all", action="store_true", help="the slow light models and the CPU backend too")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--verbose", action="store_true", help="say why something is unsupported")
    options = parser.parse_args()
    cases = [*node_cases(), *light_models(options.all)]
    if options.names:
        cases = [case for case in cases if any(re.search(n, case[0]) for n in options.names)]
    backends = runnable() if options.all or options.names else (REFERENCE,)
    report = Report()
    counted = {OK: 0, UNSUPPORTED: 0, FAILED: 0}
    with concurrent.futures.ProcessPoolExecutor(options.processes) as pool:
        tried = pool.map(functools.partial(try_case, backends), cases, chunksize=8)
        for name, group, counts, outcome, text in tried:
            report.add(group, name, outcome, text)
            counted[outcome] += counts
            if options.verbose and outcome == UNSUPPORTED:
                print(f"unsupported: {name}: {text}")
    report.table("operator")
    total = sum(counted.values())
    if total:
        share = counted[OK] / total
        print(f"float32 and int64 tests of listed operators: {counted[OK]} of {total}, {share:.1%}")
        if share < SHARE_MIN and not options.names:
            report.fail(f"less than {SHARE_MIN:.0%} of the tests of listed operators pass")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
