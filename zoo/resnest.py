"""ResNeSt (Zhang et al. 2020): v1d with split attention of radix 2 for each 3x3 convolution."""

from zoo.blocks import RESIDUAL_SCALE, Graph
from zoo.resnet import BOTTLENECK, IMAGE, WIDTHS, deep_stem

RADIX = 2
DEPTHS = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: BOTTLENECK[50], 101: BOTTLENECK[101]}
STEM_WIDTHS = {14: 32, 26: 32, 50: 32, 101: 64}


def split_attention(g, x, width):
    """Two convolutions of one image, summed with weights that are a softmax over the two."""
    splits = g.conv_bn(x, RADIX * width, 3, groups=RADIX)
    halves = g.reshape(splits, RADIX, width, -1)
    halves = type(halves)(halves.name, (RADIX, width, splits.shape[1] * splits.shape[2]))
    both = g.node(
        "ReduceSum", [halves, g.integers(1)], (width, halves.shape[2]), keepdims=0
    )
    both = g.reshape(both, width, *splits.shape[1:])
    inner = max(RADIX * width // 4, 32)
    y = g.conv_bn(g.global_pool(both), inner, 1, bias=True)
    y = g.conv(y, RADIX * width, 1, bias=True)
    y = g.node("Softmax", [g.reshape(y, RADIX, width, 1)], (RADIX, width, 1), axis=1)
    weighted = g.mul(halves, y)
    y = g.node(
        "ReduceSum", [weighted, g.integers(1)], (width, halves.shape[2]), keepdims=0
    )
    return g.reshape(y, width, *splits.shape[1:])


def resnest_block(g, x, width, stride, first_of_stage):
    y = g.conv_bn(x, width, 1)
    y = split_attention(g, y, width)
    if stride > 1 or first_of_stage:
        y = g.average_pool(y, 3, stride, 1)
    y = g.conv_bn(y, 4 * width, 1, scale=RESIDUAL_SCALE, activation=None)
    kept = x
    if first_of_stage:
        if stride > 1:
            kept = g.average_pool(kept, stride, stride, ceil_mode=True, count_padding=False)
        kept = g.conv_bn(kept, 4 * width, 1, activation=None)
    return g.relu(g.add(y, kept))


def resnest(name, depth):
    g = Graph(name)
    x = deep_stem(g, g.input(IMAGE), STEM_WIDTHS[depth])
    x = g.max_pool(x, 3, 2, 1)
    for stage, (width, blocks) in enumerate(zip(WIDTHS, DEPTHS[depth])):
        for block in range(blocks):
            x = resnest_block(g, x, width, 2 if stage and not block else 1, not block)
    return g, g.classifier(x, 1000)
