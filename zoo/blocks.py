"""The pieces that every generator is made of: a graph under construction, and layers that add to it.

A layer takes and returns a `Value`: the name of a tensor and its shape without the batch, which stays
open in the file. Weights are drawn from a stream that is seeded by the model's name and a number, so a
model's bytes depend on nothing else.

Random weights have to leave a network usable. Three rules keep the activations of all depths near one,
neither vanishing nor growing, and make an answer depend on its input:
 - a filter's weights keep half of their mean over its inputs. With all of it, what all inputs have in
   common, the mean that a ReLU leaves, is all that arrives; with none of it a difference grows by a
   fifth a layer, and the rounding of tf32 to 4 % of Inception's answer, whoever computes it;
 - their scale is that of He's initialisation for the power that then arrives;
 - the last normalisation of a residual branch scales it by `RESIDUAL_SCALE`.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
BATCH = "N"

# 1 + 0.2^2 a block: fifty blocks in a row multiply the variance by 7. With 0.3 (by 75) what one bit of the
# input changes grows to 3e-4 of the answer in the deepest networks, whoever computes them.
RESIDUAL_SCALE = 0.2

# Variance of max(x, 0) for x of the standard normal distribution: 1/2 - 1/(2 pi).
RELU_VARIANCE = 0.3408
RELU_POWER = 0.5  # mean of its square, where the mean stays in

# Of the mean of a filter's weights. Per layer the square of a small difference grows by
# RELU_POWER / (RELU_VARIANCE + 0.5^2 (RELU_POWER - RELU_VARIANCE)) = 1.31; by 1.47 were it 0.
MEAN_KEPT = 0.5

# Filters with fewer inputs than this keep their mean: without it a depthwise filter of nine weights
# would answer edges alone.
CENTERED_INPUTS_MIN = 16

BN_EPSILON = 1e-5


@dataclass(frozen=True)
class Value:
    """A tensor of the graph; `shape` is without the batch."""

    name: str
    shape: tuple

    @property
    def channels(self):
        return self.shape[0]


def pair(number_or_pair):
    return tuple(number_or_pair) if isinstance(number_or_pair, (tuple, list)) else (number_or_pair,) * 2


def same_padding(kernel, dilation=1):
    return tuple(dilation * (size - 1) // 2 for size in pair(kernel))


def make_divisible(channels, divisor=8):
    """The multiple of `divisor` next to `channels`, never more than a tenth below it."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


class Graph:
    """An ONNX graph under construction."""

    def __init__(self, name, seed=0):
        self.name = name
        # crc32, because Python's hash() differs from run to run
        self.random = np.random.Generator(np.random.PCG64([zlib.crc32(name.encode()), seed]))
        self.nodes = []
        self.initializers = []
        self.inputs = []
        self.outputs = []
        self.counts = {}

    # --- the graph itself ----------------------------------------------------------------------

    def fresh(self, kind):
        kind = kind.lower()
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"{kind}{self.counts[kind] - 1}"

    def constant(self, array, kind):
        name = self.fresh(kind)
        self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def integers(self, *values):
        return self.constant(np.array(values, dtype=np.int64), "shape")

    def node(self, operator, inputs, shape, **attributes):
        """One node with one output of this shape; inputs are Values or names, "" for an absent one."""
        name = self.fresh(operator)
        names = [value.name if isinstance(value, Value) else value for value in inputs]
        self.nodes.append(helper.make_node(operator, names, [name], name=name, **attributes))
        return Value(name, tuple(shape))

    def input(self, shape, name="data", element_type=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, element_type, [BATCH, *shape]))
        return Value(name, tuple(shape))

    def output(self, value, name="output"):
        self.nodes[-1].output[0] = name
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *value.shape])
        self.outputs.append(info)
        return Value(name, value.shape)

    def model(self):
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, self.initializers
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="clockwork-zoo"
        )
        model.ir_version = IR_VERSION
        return model

    # --- weights -------------------------------------------------------------------------------

    def filters(self, shape, fan_in, after_relu=True):
        """Weights whose first axis is the output and whose other axes are its inputs."""
        weights = self.random.standard_normal(shape, dtype=np.float32)
        centered = fan_in >= CENTERED_INPUTS_MIN
        if centered:
            mean = weights.mean(axis=tuple(range(1, len(shape))), keepdims=True)
            weights -= np.float32(1.0 - MEAN_KEPT) * mean
        kept = MEAN_KEPT if centered else 1.0
        power = RELU_VARIANCE + kept**2 * (RELU_POWER - RELU_VARIANCE) if after_relu else 1.0
        weights *= np.float32(1.0 / np.sqrt(power * fan_in))
        return weights

    def bias(self, count):
        return self.random.uniform(-0.05, 0.05, count).astype(np.float32)

    # --- layers --------------------------------------------------------------------------------

    def conv(self, x, channels, kernel, stride=1, pad=None, groups=1, bias=False, dilation=1,
             after_relu=True):
        kernel, stride, dilation = pair(kernel), pair(stride), pair(dilation)
        pad = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation)) if pad is None else pair(pad)
        per_group = x.channels // groups
        fan_in = per_group * kernel[0] * kernel[1]
        weights = self.filters((channels, per_group, *kernel), fan_in, after_relu)
        inputs = [x, self.constant(weights, "weight")]
        if bias:
            inputs.append(self.constant(self.bias(channels), "bias"))
        spatial = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, p, k, s, d in zip(x.shape[1:], pad, kernel, stride, dilation)
        ]
        return self.node(
            "Conv", inputs, (channels, *spatial), kernel_shape=kernel, strides=stride,
            pads=[*pad, *pad], group=groups, dilations=dilation,
        )

    def conv_transpose(self, x, channels, kernel, stride, pad):
        # A weight of the transposed kernel meets 1 / stride^2 of the positions.
        fan_in = x.channels * kernel * kernel // (stride * stride)
        weights = self.filters((channels, x.channels, kernel, kernel), fan_in)
        weights = weights.transpose(1, 0, 2, 3)
        spatial = [(size - 1) * stride - 2 * pad + kernel for size in x.shape[1:]]
        return self.node(
            "ConvTranspose", [x, self.constant(weights, "weight")], (channels, *spatial),
            kernel_shape=pair(kernel), strides=pair(stride), pads=[pad] * 4,
        )

    def batch_norm(self, x, scale=1.0, epsilon=BN_EPSILON):
        """Statistics near those of the identity, times `scale`."""
        count = x.channels
        draw = self.random.uniform
        parameters = [
            scale * draw(0.9, 1.1, count),
            draw(-0.1, 0.1, count),
            draw(-0.1, 0.1, count),
            draw(0.9, 1.1, count),
        ]
        kinds = ["gamma", "beta", "mean", "variance"]
        names = [
            self.constant(values.astype(np.float32), kind)
            for values, kind in zip(parameters, kinds)
        ]
        return self.node("BatchNormalization", [x, *names], x.shape, epsilon=epsilon)

    def relu(self, x):
        return self.node("Relu", [x], x.shape)

    def relu6(self, x):
        zero = self.constant(np.float32(0), "limit")
        six = self.constant(np.float32(6), "limit")
        return self.node("Clip", [x, zero, six], x.shape)

    def sigmoid(self, x):
        return self.node("Sigmoid", [x], x.shape)

    def swish(self, x):
        return self.mul(x, self.sigmoid(x))

    def hard_sigmoid(self, x):
        return self.node("HardSigmoid", [x], x.shape, alpha=1 / 6, beta=0.5)

    def hard_swish(self, x):
        return self.node("HardSwish", [x], x.shape)

    def conv_bn(self, x, channels, kernel, stride=1, pad=None, groups=1, bias=False, scale=1.0,
                activation="relu", after_relu=True, epsilon=BN_EPSILON):
        """Convolution, normalisation and activation (a method's name, or None)."""
        x = self.conv(x, channels, kernel, stride, pad, groups, bias, after_relu=after_relu)
        x = self.batch_norm(x, scale, epsilon)
        return getattr(self, activation)(x) if activation else x

    def bn_relu(self, x, scale=1.0):
        return self.relu(self.batch_norm(x, scale))

    def max_pool(self, x, kernel, stride, pad=0, ceil_mode=False):
        return self._pool("MaxPool", x, kernel, stride, pad, ceil_mode)

    def average_pool(self, x, kernel, stride, pad=0, ceil_mode=False, count_padding=True):
        return self._pool(
            "AveragePool", x, kernel, stride, pad, ceil_mode, count_include_pad=int(count_padding)
        )

    def _pool(self, operator, x, kernel, stride, pad, ceil_mode, **attributes):
        kernel, stride, pad = pair(kernel), pair(stride), pair(pad)
        spatial = []
        for size, k, s, p in zip(x.shape[1:], kernel, stride, pad):
            count, rest = divmod(size + 2 * p - k, s)
            # a window that would begin behind the image and its first padding is left out
            more = ceil_mode and rest and (count + 1) * s < size + p
            spatial.append(count + 1 + int(more))
        return self.node(
            operator, [x], (x.channels, *spatial), kernel_shape=kernel, strides=stride,
            pads=[*pad, *pad], ceil_mode=int(ceil_mode), **attributes,
        )

    def global_pool(self, x):
        return self.node("GlobalAveragePool", [x], (x.channels, 1, 1))

    def flatten(self, x):
        return self.node("Flatten", [x], (int(np.prod(x.shape)),))

    def add(self, a, b):
        return self.node("Add", [a, b], a.shape)

    def mul(self, a, b):
        return self.node("Mul", [a, b], a.shape)

    def concat(self, values):
        channels = sum(value.channels for value in values)
        return self.node("Concat", values, (channels, *values[0].shape[1:]), axis=1)

    def reshape(self, x, *shape):
        """To (batch, *shape)."""
        return self.node("Reshape", [x, self.integers(0, *shape)], shape)

    def transpose(self, x, *order):
        """Axes after the batch in this order, counted from 1."""
        return self.node(
            "Transpose", [x], [x.shape[axis - 1] for axis in order], perm=[0, *order]
        )

    def dense(self, x, units, after_relu=True):
        """On a flat value."""
        weights = self.filters((units, x.channels), x.channels, after_relu)
        inputs = [x, self.constant(weights, "weight"), self.constant(self.bias(units), "bias")]
        return self.node("Gemm", inputs, (units,), transB=1)

    def classifier(self, x, classes):
        """Pooled over the image, flat, one dense layer: the end of most networks."""
        return self.output(self.dense(self.flatten(self.global_pool(x)), classes))
