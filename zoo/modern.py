"""Kinds of network that the seed's experiment has none of: EfficientNet-B0 (Tan and Le 2019), ConvNeXt
(Liu et al. 2022), and a detector whose head is that of the YOLO family."""

import numpy as np

from zoo.blocks import RESIDUAL_SCALE, Graph
from zoo.mobilenet import inverted_residual
from zoo.resnet import IMAGE
from zoo.transformers import gelu, layer_norm, project

# expansion, channels, blocks, stride of the first, kernel
EFFICIENTNET_B0 = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
                   (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]


def efficientnet_b0(name):
    g = Graph(name)
    x = g.conv_bn(g.input(IMAGE), 32, 3, stride=2, activation="swish", after_relu=False)
    for expansion, channels, blocks, first_stride, kernel in EFFICIENTNET_B0:
        for block in range(blocks):
            stride = first_stride if not block else 1
            x = inverted_residual(
                g, x, kernel, expansion * x.channels, channels, stride, "swish",
                squeezed=max(1, x.channels // 4), gate="sigmoid",
            )
    x = g.conv_bn(x, 1280, 1, activation="swish", after_relu=False)
    return g, g.classifier(x, 1000)


def layer_norm_of_channels(g, x):
    return g.transpose(layer_norm(g, g.transpose(x, 2, 3, 1)), 3, 1, 2)


def convnext_block(g, x):
    y = g.conv(x, x.channels, 7, groups=x.channels, bias=True, after_relu=False)
    y = layer_norm(g, g.transpose(y, 2, 3, 1))
    y = project(g, gelu(g, project(g, y, 4 * x.channels)), x.channels)
    scale = np.full(x.channels, RESIDUAL_SCALE, dtype=np.float32)
    y = g.mul(y, g.constant(scale, "scale"))
    return g.add(x, g.transpose(y, 3, 1, 2))


def convnext(name, widths, depths):
    g = Graph(name)
    x = g.conv(g.input(IMAGE), widths[0], 4, 4, 0, bias=True, after_relu=False)
    x = layer_norm_of_channels(g, x)
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        if stage:
            x = layer_norm_of_channels(g, x)
            x = g.conv(x, width, 2, 2, 0, bias=True, after_relu=False)
        for _ in range(depth):
            x = convnext_block(g, x)
    x = layer_norm(g, g.flatten(g.global_pool(x)))
    return g, g.output(g.dense(x, 1000, after_relu=False))


def cross_stage(g, x, channels, blocks):
    """Half of the channels pass through residual blocks; every step's result is kept and joined."""
    x = g.conv_bn(x, channels, 1, activation="swish")
    half = channels // 2
    sizes = g.constant(np.array([half, half], dtype=np.int64), "sizes")
    left = g.node("Split", [x, sizes], (half, *x.shape[1:]), axis=1)
    right = type(left)(f"{left.name}_right", left.shape)
    g.nodes[-1].output.append(right.name)
    parts = [left, right]
    for _ in range(blocks):
        y = g.conv_bn(parts[-1], half, 3, activation="swish")
        parts.append(g.add(parts[-1], g.conv_bn(y, half, 3, activation="swish")))
    return g.conv_bn(g.concat(parts), channels, 1, activation="swish")


def double(g, x):
    scales = g.constant(np.array([1, 1, 2, 2], dtype=np.float32), "scales")
    channels, rows, columns = x.shape
    return g.node(
        "Resize", [x, "", scales], (channels, 2 * rows, 2 * columns), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )


def spatial_pyramid(g, x):
    y = g.conv_bn(x, x.channels // 2, 1, activation="swish")
    parts = [y]
    for _ in range(3):
        parts.append(g.max_pool(parts[-1], 5, 1, 2))
    return g.conv_bn(g.concat(parts), x.channels, 1, activation="swish")


def detector(name, width, size, classes):
    """Boxes and class scores of every cell of two grids: (batch, 4 + classes, cells)."""
    g = Graph(name)
    x = g.conv_bn(g.input((3, size, size)), width, 3, 2, activation="swish", after_relu=False)
    levels = []
    for factor in (2, 4, 8, 16):
        x = g.conv_bn(x, factor * width, 3, 2, activation="swish")
        x = cross_stage(g, x, factor * width, 1)
        levels.append(x)
    deep = spatial_pyramid(g, levels[-1])
    fine = cross_stage(g, g.concat([double(g, deep), levels[-2]]), 8 * width, 1)
    cells = []
    for level in (fine, deep):
        y = g.conv_bn(level, 64, 3, activation="swish")
        y = g.conv(y, 4 + classes, 1, bias=True)
        cells.append(g.reshape(y, 4 + classes, y.shape[1] * y.shape[2]))
    count = sum(part.shape[1] for part in cells)
    joined = g.node("Concat", cells, (4 + classes, count), axis=2)
    sizes = g.constant(np.array([4, classes], dtype=np.int64), "sizes")
    boxes = g.node("Split", [joined, sizes], (4, count), axis=1)
    scores = type(boxes)(f"{boxes.name}_scores", (classes, count))
    g.nodes[-1].output.append(scores.name)
    return g, g.output(g.node("Concat", [boxes, g.sigmoid(scores)], joined.shape, axis=1))
