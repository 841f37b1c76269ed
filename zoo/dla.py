"""Deep layer aggregation (Yu et al. 2017): trees of residual blocks whose results a root joins. The
classifier reads the means of all levels, as in the GluonCV zoo."""

from zoo.blocks import RESIDUAL_SCALE, Graph
from zoo.resnet import IMAGE, basic_block

CHANNELS = (16, 32, 64, 128, 256, 512)
TREE_DEPTHS = (1, 2, 2, 1)


def joined_block(g, x, kept, channels, stride):
    y = g.conv_bn(x, channels, 3, stride)
    y = g.conv_bn(y, channels, 3, scale=RESIDUAL_SCALE, activation=None)
    return g.relu(g.add(y, kept))


def tree(g, x, depth, channels, stride, children, keeps_bottom=False):
    """`children`: what the root reads beside the two halves of its own tree."""
    bottom = g.max_pool(x, stride, stride) if stride > 1 else x
    if keeps_bottom:
        children = [*children, bottom]
    if depth > 1:
        first = tree(g, x, depth - 1, channels, stride, [])
        return tree(g, first, depth - 1, channels, 1, [*children, first])
    kept = bottom
    if x.channels != channels:
        kept = g.conv_bn(bottom, channels, 1, activation=None)
    first = joined_block(g, x, kept, channels, stride)
    second = basic_block(g, first, channels, 1, "v1b")
    return g.conv_bn(g.concat([second, first, *children]), channels, 1)


def dla34(name):
    g = Graph(name)
    x = g.conv_bn(g.input(IMAGE), CHANNELS[0], 7, after_relu=False)
    levels = [g.conv_bn(x, CHANNELS[0], 3)]
    levels.append(g.conv_bn(levels[-1], CHANNELS[1], 3, 2))
    for index, (channels, depth) in enumerate(zip(CHANNELS[2:], TREE_DEPTHS)):
        levels.append(tree(g, levels[-1], depth, channels, 2, [], keeps_bottom=index > 0))
    means = [g.flatten(g.global_pool(level)) for level in levels]
    return g, g.output(g.dense(g.concat(means), 1000))
