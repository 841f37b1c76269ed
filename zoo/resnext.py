"""ResNeXt (Xie et al. 2016), with squeeze-and-excitation (Hu et al. 2017) where the name says "se"."""

from zoo.blocks import RESIDUAL_SCALE, Graph
from zoo.resnet import BOTTLENECK, IMAGE, WIDTHS, shortcut

SQUEEZE = 16


def squeeze_excite(g, x, squeezed):
    """Each channel times a number between 0 and 1 that depends on all channels' means."""
    y = g.relu(g.conv(g.global_pool(x), squeezed, 1, bias=True))
    return g.mul(x, g.sigmoid(g.conv(y, x.channels, 1, bias=True)))


def resnext_block(g, x, width, stride, cardinality, group_width, excite):
    inside = width * group_width // 64 * cardinality
    y = g.conv_bn(x, inside, 1)
    y = g.conv_bn(y, inside, 3, stride, groups=cardinality)
    y = g.conv_bn(y, 4 * width, 1, scale=RESIDUAL_SCALE, activation=None)
    if excite:
        y = squeeze_excite(g, y, 4 * width // SQUEEZE)
    return g.relu(g.add(y, shortcut(g, x, 4 * width, stride)))


def resnext(name, depth, cardinality, group_width, excite=False):
    g = Graph(name)
    x = g.conv_bn(g.input(IMAGE), 64, 7, stride=2, after_relu=False)
    x = g.max_pool(x, 3, 2, 1)
    for stage, (width, blocks) in enumerate(zip(WIDTHS, BOTTLENECK[depth])):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            x = resnext_block(g, x, width, stride, cardinality, group_width, excite)
    return g, g.classifier(x, 1000)
