"""Random graphs, small and valid, compiled and run beside ONNX Runtime.

    random_graphs.py [--seed S] [--count N] [--processes N]

Graph number i is a function of seed S + i alone; a failure prints the line that repeats it.
"""

import argparse
import concurrent.futures
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from report import Report
from subject import FAILED, OK, UNSUPPORTED, Subject, Unsupported, Wrong, onnx_runtime

OPSETS = (13, 15, 17, 18, 21)
STEPS_MAX = 12
ELEMENTS_MAX = 1 << 14
# Of the graphs; more would mean that the generator no longer tests the compiler.
UNSUPPORTED_SHARE_MAX = 0.1
# What is left where numbers around 1 cancel to 0: a logarithm of a softmax over one element, for example.
CANCELLED = 1e-5


class Maker:
    """A graph that grows by one random operator after another; batch in front everywhere."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.opset = int(self.random.choice(OPSETS))
        self.nodes = []
        self.initializers = []
        self.inputs = []
        self.values = []  # (name, shape without the batch) of float tensors

    def pick(self, *choices):
        return choices[self.random.integers(len(choices))]

    def whole(self, low, high):
        return int(self.random.integers(low, high + 1))

    def name(self, kind):
        return f"{kind}{len(self.nodes) + len(self.initializers) + len(self.inputs)}"

    def constant(self, array):
        name = self.name("c")
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *shape):
        fan_in = max(1, int(np.prod(shape[1:])))
        array = self.random.standard_normal(shape) / np.sqrt(fan_in)
        return self.constant(array.astype(np.float32))

    def integers(self, *numbers):
        return self.constant(np.array(numbers, dtype=np.int64))

    def add(self, operator, inputs, shape, **attributes):
        name = self.name("t")
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        value = (name, tuple(int(size) for size in shape))
        self.values.append(value)
        return value

    def new_input(self):
        rank = self.pick(1, 2, 3, 3, 3)
        if rank == 3:
            shape = (self.whole(1, 9), self.whole(3, 12), self.whole(3, 12))
        else:
            shape = tuple(self.whole(1, 12) for _ in range(rank))
        value = (f"in{len(self.inputs)}", shape)
        self.inputs.append(value)
        self.values.append(value)

    def any(self, rank=None):
        found = [v for v in self.values if rank is None or len(v[1]) == rank]
        # The newest are taken more often: deep graphs, and some branches.
        return found[-1 - min(int(self.random.exponential(1.5)), len(found) - 1)] if found else None

    def model(self):
        read = {name for node in self.nodes for name in node.input}
        ends = [v for v in self.values if v[0] not in read and not v[0].startswith("in")]
        outputs = [self.info(name, shape) for name, shape in ends[-4:]]
        inputs = [self.info(name, shape) for name, shape in self.inputs]
        graph = helper.make_graph(self.nodes, "random", inputs, outputs, self.initializers)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = 8
        return model

    @staticmethod
    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])


# --- operators: each returns False where nothing of the graph fits ------------------------------


def unary(m):
    name, shape = m.any()
    operator = m.pick(
        "Relu", "Sigmoid", "Tanh", "Erf", "Abs", "Neg", "Softplus", "Softsign", "LeakyRelu", "Elu",
        "HardSigmoid", "HardSwish", "Floor", "Ceil", "Sin", "Cos", "Atan", "Identity", "Selu", "Round",
    )
    if operator == "HardSwish" and m.opset < 14:
        operator = "Relu"
    if operator in ("Floor", "Ceil", "Round"):
        # Halves and whole numbers would be decided by the last bit of what comes before.
        name, _ = m.add("Tanh", [name], shape)
        name, _ = m.add("Mul", [name, m.constant(np.float32(0.49))], shape)
    return m.add(operator, [name], shape)


def clip(m):
    name, shape = m.any()
    low, high = sorted(m.random.uniform(-2, 2, 2).astype(np.float32))
    return m.add("Clip", [name, m.constant(low), m.constant(high)], shape)


def positive(m):
    name, shape = m.any()
    name, _ = m.add("Abs", [name], shape)
    name, _ = m.add("Add", [name, m.constant(np.float32(0.5))], shape)
    operator = m.pick("Sqrt", "Log", "Reciprocal", "Pow")
    inputs = [name]
    if operator == "Pow":
        inputs.append(m.constant(np.float32(m.pick(0.5, 2, 3, -1))))
    return m.add(operator, inputs, shape)


def with_constant(m):
    name, shape = m.any()
    kept = m.whole(0, len(shape))
    other = tuple(size if m.random.random() < 0.7 else 1 for size in shape[kept:])
    array = m.random.standard_normal(other).astype(np.float32)
    operator = m.pick("Add", "Mul", "Sub", "Div", "Max", "Min")
    if operator == "Div":
        array = np.abs(array) + np.float32(0.5)
    inputs = [name, m.constant(array)]
    if operator in ("Add", "Mul", "Sub") and m.random.random() < 0.5:
        inputs.reverse()
    return m.add(operator, inputs, shape)


def of_two(m):
    name, shape = m.any()
    others = [v for v in m.values if v[1] == shape]
    other = others[m.whole(0, len(others) - 1)]
    return m.add(m.pick("Add", "Mul", "Sub", "Max", "Min"), [name, other[0]], shape)


def where(m):
    name, shape = m.any()
    condition = m.name("b")
    limit = m.constant(np.float32(0.123))
    m.nodes.append(helper.make_node(m.pick("Greater", "Less"), [name, limit], [condition]))
    other = m.constant(np.float32(m.random.standard_normal()))
    return m.add("Where", [condition, name, other], shape)


def convolution(m):
    value = m.any(3)
    if value is None:
        return False
    name, (channels, rows, columns) = value
    groups = m.pick(1, 1, channels, 2 if channels % 2 == 0 else 1)
    filters = groups * m.whole(1, 4)
    kernel = (m.whole(1, min(3, rows)), m.whole(1, min(3, columns)))
    stride, pads = m.pick(1, 1, 2), [m.whole(0, 1) for _ in range(4)]
    sizes = (rows, columns)
    spatial = [
        (sizes[i] + pads[i] + pads[i + 2] - kernel[i]) // stride + 1 for i in range(2)
    ]
    inputs = [name, m.weights(filters, channels // groups, *kernel)]
    if m.random.random() < 0.5:
        inputs.append(m.weights(filters))
    value = m.add(
        "Conv", inputs, (filters, *spatial), kernel_shape=kernel, strides=[stride] * 2, pads=pads,
        group=groups,
    )
    if m.random.random() < 0.5:
        value = normalization_of(m, value)
    if m.random.random() < 0.5:
        value = m.add("Relu", [value[0]], value[1])
    return value


def normalization_of(m, value):
    name, shape = value
    count = shape[0]
    arrays = [m.random.uniform(0.5, 1.5, count), m.random.uniform(-1, 1, count)] * 2
    arrays = [arrays[0], arrays[1], arrays[3], arrays[2]]
    names = [m.constant(array.astype(np.float32)) for array in arrays]
    return m.add("BatchNormalization", [name, *names], shape)


def batch_normalization(m):
    value = m.any(3)
    return normalization_of(m, value) if value else False


def transposed_convolution(m):
    value = m.any(3)
    if value is None:
        return False
    name, (channels, rows, columns) = value
    kernel, stride, filters = m.whole(1, 3), m.pick(1, 2), m.whole(1, 4)
    spatial = [(size - 1) * stride + kernel for size in (rows, columns)]
    inputs = [name, m.weights(channels, filters, kernel, kernel)]
    return m.add(
        "ConvTranspose", inputs, (filters, *spatial), kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
    )


def pool(m):
    value = m.any(3)
    if value is None:
        return False
    name, (channels, rows, columns) = value
    kernel, stride, pad = m.pick(2, 3), m.pick(1, 2), m.pick(0, 1)
    if min(rows, columns) + 2 * pad < kernel:
        return False
    operator = m.pick("MaxPool", "AveragePool")
    more = {"count_include_pad": m.whole(0, 1)} if operator == "AveragePool" else {}
    spatial = [(size + 2 * pad - kernel) // stride + 1 for size in (rows, columns)]
    return m.add(
        operator, [name], (channels, *spatial), kernel_shape=[kernel] * 2, strides=[stride] * 2,
        pads=[pad] * 4, **more,
    )


def global_pool(m):
    value = m.any(3)
    if value is None:
        return False
    return m.add(m.pick("GlobalAveragePool", "GlobalMaxPool"), [value[0]], (value[1][0], 1, 1))


def matrix_product(m):
    name, shape = m.any()
    width = m.whole(1, 12)
    return m.add("MatMul", [name, m.weights(shape[-1], width)], (*shape[:-1], width))


def dense(m):
    value = m.any(1)
    if value is None:
        return False
    name, (count,) = value
    width = m.whole(1, 12)
    turned = m.whole(0, 1)
    shape = (width, count) if turned else (count, width)
    return m.add("Gemm", [name, m.weights(*shape), m.weights(width)], (width,), transB=turned)


def attention(m):
    value = m.any(2)
    if value is None:
        return False
    name, (rows, columns) = value
    turned, _ = m.add("Transpose", [name], (columns, rows), perm=[0, 2, 1])
    product, _ = m.add("MatMul", [name, turned], (rows, rows))
    scaled, _ = m.add("Div", [product, m.constant(np.float32(np.sqrt(columns)))], (rows, rows))
    weights, _ = m.add("Softmax", [scaled], (rows, rows), axis=-1)
    return m.add("MatMul", [weights, name], (rows, columns))


def softmax(m):
    name, shape = m.any()
    axis = m.pick(-1, m.whole(1, len(shape)))
    return m.add(m.pick("Softmax", "LogSoftmax"), [name], shape, axis=axis)


def layer_normalization(m):
    name, shape = m.any()
    if m.opset < 17 or shape[-1] < 2:
        return False
    inputs = [name, m.weights(shape[-1]), m.weights(shape[-1])]
    return m.add("LayerNormalization", inputs, shape, axis=-1, epsilon=1e-3)


def transpose(m):
    name, shape = m.any()
    order = m.random.permutation(len(shape))
    return m.add(
        "Transpose", [name], [shape[i] for i in order], perm=[0, *(int(i) + 1 for i in order)]
    )


def reshape(m):
    name, shape = m.any()
    count = int(np.prod(shape))
    first = m.pick(*[n for n in range(1, min(count, 12) + 1) if count % n == 0])
    new = m.pick((count,), (first, count // first), (first, count // first, 1))
    return m.add("Reshape", [name, m.integers(0, *new)], new)


def flatten(m):
    name, shape = m.any()
    return m.add("Flatten", [name], (int(np.prod(shape)),))


def concat(m):
    name, shape = m.any()
    axis = m.whole(0, len(shape) - 1)
    fits = [
        v for v in m.values
        if len(v[1]) == len(shape) and v[1][:axis] + v[1][axis + 1 :] == shape[:axis] + shape[axis + 1 :]
    ]
    parts = [fits[m.whole(0, len(fits) - 1)] for _ in range(m.whole(1, 3))]
    length = shape[axis] + sum(part[1][axis] for part in parts)
    new = (*shape[:axis], length, *shape[axis + 1 :])
    return m.add("Concat", [name, *(part[0] for part in parts)], new, axis=axis + 1)


def cut(m):
    name, shape = m.any()
    axis = m.whole(0, len(shape) - 1)
    size = shape[axis]
    start = m.whole(0, size - 1)
    end = m.whole(start + 1, size)
    step = m.pick(1, 1, 2)
    new = (*shape[:axis], -(-(end - start) // step), *shape[axis + 1 :])
    inputs = [name, *(m.integers(n) for n in (start, end, axis + 1, step))]
    return m.add("Slice", inputs, new)


def halves(m):
    name, shape = m.any()
    axis = m.whole(0, len(shape) - 1)
    if shape[axis] < 2:
        return False
    left = m.whole(1, shape[axis] - 1)
    sizes = m.integers(left, shape[axis] - left)
    value = m.add(
        "Split", [name, sizes], (*shape[:axis], left, *shape[axis + 1 :]), axis=axis + 1
    )
    other = (f"{value[0]}_more", (*shape[:axis], shape[axis] - left, *shape[axis + 1 :]))
    m.nodes[-1].output.append(other[0])
    m.values.append(other)
    return value


def gather(m):
    name, shape = m.any()
    axis = m.whole(0, len(shape) - 1)
    count = m.whole(1, 4)
    indices = m.random.integers(0, shape[axis], count)
    new = (*shape[:axis], count, *shape[axis + 1 :])
    return m.add("Gather", [name, m.constant(indices)], new, axis=axis + 1)


def pad(m):
    name, shape = m.any()
    before = [m.whole(0, 2) for _ in shape]
    after = [m.whole(0, 2) for _ in shape]
    new = [a + size + b for a, size, b in zip(before, shape, after)]
    value = m.constant(np.float32(m.random.standard_normal()))
    return m.add("Pad", [name, m.integers(0, *before, 0, *after), value], new)


def reduce(m):
    name, shape = m.any()
    axis = m.whole(0, len(shape) - 1)
    operator = m.pick("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")
    new = (*shape[:axis], 1, *shape[axis + 1 :])
    if operator == "ReduceSum" or m.opset >= 18:
        return m.add(operator, [name, m.integers(axis + 1)], new, keepdims=1)
    return m.add(operator, [name], new, axes=[axis + 1], keepdims=1)


def resize(m):
    value = m.any(3)
    if value is None:
        return False
    name, (channels, rows, columns) = value
    factor = m.pick(1, 2, 3)
    scales = m.constant(np.array([1, 1, factor, 2], dtype=np.float32))
    mode = m.pick("nearest", "linear")
    coordinates = "asymmetric" if mode == "nearest" else m.pick("half_pixel", "align_corners")
    more = {"nearest_mode": "floor"} if mode == "nearest" else {}
    return m.add(
        "Resize", [name, "", scales], (channels, factor * rows, 2 * columns), mode=mode,
        coordinate_transformation_mode=coordinates, **more,
    )


def unsqueeze(m):
    name, shape = m.any()
    if len(shape) > 3:
        return False
    axis = m.whole(0, len(shape))
    return m.add("Unsqueeze", [name, m.integers(axis + 1)], (*shape[:axis], 1, *shape[axis:]))


STEPS = (
    unary, unary, clip, positive, with_constant, with_constant, of_two, of_two, where, convolution,
    convolution, convolution, batch_normalization, transposed_convolution, pool, global_pool,
    matrix_product, matrix_product, dense, attention, softmax, layer_normalization, transpose,
    reshape, flatten, concat, cut, halves, gather, pad, reduce, resize, unsqueeze,
)


def make(seed):
    """(model, inputs without the batch)"""
    m = Maker(seed)
    for _ in range(m.pick(1, 1, 2)):
        m.new_input()
    steps = m.whole(1, STEPS_MAX)
    while steps:
        marks = len(m.nodes), len(m.initializers), len(m.values)
        done = m.pick(*STEPS)(m)
        if done and any(np.prod(shape) > ELEMENTS_MAX for _, shape in m.values[marks[2] :]):
            del m.nodes[marks[0] :], m.initializers[marks[1] :], m.values[marks[2] :]
        steps -= bool(done)
    return m.model(), m.inputs


def try_seed(seed):
    subject = Subject()
    try:
        model, ports = make(seed)
        onnx.checker.check_model(model, full_check=True)
        random = np.random.default_rng(seed)
        batches = (1, 3)
        subject.compile(model, batches)
        for batch in batches:
            arrays = [
                random.standard_normal((batch, *shape)).astype(np.float32) for _, shape in ports
            ]
            wanted = onnx_runtime(model, arrays)
            subject.check(arrays, wanted, batch, absolute=CANCELLED)
        return seed, OK, ""
    except Unsupported as refusal:
        return seed, UNSUPPORTED, str(refusal)
    except Wrong as error:
        return seed, FAILED, str(error)
    finally:
        subject.close()


# Answered wrongly once, by a library's code for processors that not every machine has.
FOUND = (1552,)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the first graph")
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--save", help="write the first graph here as an ONNX file and end")
    options = parser.parse_args()
    if options.save:
        onnx.save(make(options.seed)[0], options.save)
        return 0
    report = Report()
    seeds = [*range(options.seed, options.seed + options.count)]
    seeds += [seed for seed in FOUND if options.count > 1 and seed not in seeds]
    with concurrent.futures.ProcessPoolExecutor(options.processes) as pool:
        for seed, outcome, text in pool.map(try_seed, seeds, chunksize=4):
            if outcome != OK:
                print(f"{outcome}: {text}")
            name = f"{os.path.relpath(__file__)} --seed {seed} --count 1"
            report.add("random graphs", name, outcome, "repeats it")
    if report.counts[UNSUPPORTED] > UNSUPPORTED_SHARE_MAX * options.count:
        report.fail(f"more than {UNSUPPORTED_SHARE_MAX:.0%} of the graphs are refused")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
