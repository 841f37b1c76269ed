"""ResNet: He et al. 2015 (v1), 2016 (v2), and the variants b, c, d, s of He et al. 2018 ("Bag of
Tricks") as the GluonCV model zoo names them. The trunk alone also serves pose and video models.

    v1     stride in a bottleneck's first 1x1 convolution; its 1x1 convolutions have a bias
    v1b    stride in the 3x3 convolution, no biases
    v1c    v1b with three 3x3 convolutions (32, 32, 64) for the first 7x7
    v1d    v1c with 2x2 averages in front of the 1x1 convolutions of the shortcuts
    v1s    v1b with a first part of 64, 64, 128 channels
    v2     normalisation and activation in front of each convolution
    tuned  v1d with fewer channels inside the bottlenecks, see README.md
"""

from zoo.blocks import RESIDUAL_SCALE, Graph, make_divisible

IMAGE = (3, 224, 224)
WIDTHS = (64, 128, 256, 512)
BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

UNPRUNED = (1, 1, 1, 1)  # the share of each stage's inner channels that is left


def stage_depths(depth):
    return BASIC.get(depth) or BOTTLENECK[depth]


def deep_stem(g, x, width):
    x = g.conv_bn(x, width, 3, stride=2, after_relu=False)
    x = g.conv_bn(x, width, 3)
    return g.conv_bn(x, 2 * width, 3)


def shortcut(g, x, channels, stride, averaged=False):
    """What a block's input is added as; itself where the shape stays."""
    if stride == 1 and x.channels == channels:
        return x
    if averaged and stride > 1:
        x = g.average_pool(x, stride, stride, ceil_mode=True, count_padding=False)
        stride = 1
    return g.conv_bn(x, channels, 1, stride, activation=None)


def basic_block(g, x, width, stride, variant):
    y = g.conv_bn(x, width, 3, stride)
    y = g.conv_bn(y, width, 3, scale=RESIDUAL_SCALE, activation=None)
    return g.relu(g.add(y, shortcut(g, x, width, stride, variant == "v1d")))


def bottleneck_block(g, x, width, stride, variant, share=1.0):
    """`share`: of the channels inside, what pruning left."""
    first, second = (stride, 1) if variant == "v1" else (1, stride)
    bias = variant == "v1"
    inside = make_divisible(width * share)
    y = g.conv_bn(x, inside, 1, first, bias=bias)
    y = g.conv_bn(y, inside, 3, second)
    y = g.conv_bn(y, 4 * width, 1, bias=bias, scale=RESIDUAL_SCALE, activation=None)
    return g.relu(g.add(y, shortcut(g, x, 4 * width, stride, variant == "v1d")))


def trunk_v1(g, x, depth, variant, shares=UNPRUNED):
    """All up to the last block's image."""
    if variant in ("v1c", "v1d"):
        x = deep_stem(g, x, 32)
    elif variant == "v1s":
        x = deep_stem(g, x, 64)
    else:
        x = g.conv_bn(x, 64, 7, stride=2, after_relu=False)
    x = g.max_pool(x, 3, 2, 1)
    for stage, (width, blocks) in enumerate(zip(WIDTHS, stage_depths(depth))):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            if depth in BASIC:
                x = basic_block(g, x, width, stride, variant)
            else:
                x = bottleneck_block(g, x, width, stride, variant, shares[stage])
    return x


def resnet_v1(name, depth, variant, shares=UNPRUNED):
    g = Graph(name)
    return g, g.classifier(trunk_v1(g, g.input(IMAGE), depth, variant, shares), 1000)


def basic_block_v2(g, x, width, stride):
    y = g.bn_relu(x)
    kept = x if stride == 1 and x.channels == width else g.conv(y, width, 1, stride)
    y = g.conv(y, width, 3, stride)
    y = g.conv(g.bn_relu(y, RESIDUAL_SCALE), width, 3)
    return g.add(y, kept)


def bottleneck_block_v2(g, x, width, stride):
    y = g.bn_relu(x)
    kept = x if stride == 1 and x.channels == 4 * width else g.conv(y, 4 * width, 1, stride)
    y = g.conv(y, width, 1)
    y = g.conv(g.bn_relu(y), width, 3, stride)
    y = g.conv(g.bn_relu(y, RESIDUAL_SCALE), 4 * width, 1)
    return g.add(y, kept)


def resnet_v2(name, depth):
    g = Graph(name)
    x = g.batch_norm(g.input(IMAGE))
    x = g.conv_bn(x, 64, 7, stride=2, after_relu=False)
    x = g.max_pool(x, 3, 2, 1)
    block_of = basic_block_v2 if depth in BASIC else bottleneck_block_v2
    for stage, (width, blocks) in enumerate(zip(WIDTHS, stage_depths(depth))):
        for block in range(blocks):
            x = block_of(g, x, width, 2 if stage and not block else 1)
    return g, g.classifier(g.bn_relu(x), 1000)
