"""GoogLeNet (Szegedy et al. 2014; with normalisation, and 3x3 where the first paper has 5x5, as the
GluonCV zoo has it) and Inception v3 (Szegedy et al. 2015)."""

from zoo.blocks import Graph
from zoo.resnet import IMAGE

LARGE_IMAGE = (3, 299, 299)
EPSILON = 1e-3

# 1x1 | 1x1, 3x3 | 1x1, 3x3 | after the pool; None: a pool of stride 2
GOOGLENET = [
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
]


def conv(g, x, channels, kernel, stride=1, pad=0, **more):
    return g.conv_bn(x, channels, kernel, stride, pad, epsilon=EPSILON, **more)


def googlenet_block(g, x, one, squeeze3, three, squeeze5, five, pooled):
    return g.concat([
        conv(g, x, one, 1),
        conv(g, conv(g, x, squeeze3, 1), three, 3, pad=1),
        conv(g, conv(g, x, squeeze5, 1), five, 3, pad=1),
        conv(g, g.max_pool(x, 3, 1, 1), pooled, 1),
    ])


def trunk_googlenet(g, x):
    x = conv(g, x, 64, 7, 2, 3, after_relu=False)
    x = g.max_pool(x, 3, 2, ceil_mode=True)
    x = conv(g, conv(g, x, 64, 1), 192, 3, pad=1)
    x = g.max_pool(x, 3, 2, ceil_mode=True)
    pools = 0
    for widths in GOOGLENET:
        if widths is None:
            pools += 1
            x = g.max_pool(x, 3 if pools == 1 else 2, 2, ceil_mode=True)
        else:
            x = googlenet_block(g, x, *widths)
    return x


def googlenet(name):
    g = Graph(name)
    return g, g.classifier(trunk_googlenet(g, g.input(IMAGE)), 1000)


def mean3(g, x):
    return g.average_pool(x, 3, 1, 1)


def block_a(g, x, pooled):
    """35 x 35"""
    double = conv(g, conv(g, x, 64, 1), 96, 3, pad=1)
    return g.concat([
        conv(g, x, 64, 1),
        conv(g, conv(g, x, 48, 1), 64, 5, pad=2),
        conv(g, double, 96, 3, pad=1),
        conv(g, mean3(g, x), pooled, 1),
    ])


def block_b(g, x):
    """35 x 35 to 17 x 17"""
    double = conv(g, conv(g, x, 64, 1), 96, 3, pad=1)
    return g.concat([conv(g, x, 384, 3, 2), conv(g, double, 96, 3, 2), g.max_pool(x, 3, 2)])


def block_c(g, x, width):
    """17 x 17, 7 x 7 convolutions in two halves"""
    row, column = {"kernel": (1, 7), "pad": (0, 3)}, {"kernel": (7, 1), "pad": (3, 0)}
    once = conv(g, conv(g, conv(g, x, width, 1), width, **row), 192, **column)
    twice = conv(g, conv(g, conv(g, x, width, 1), width, **column), width, **row)
    twice = conv(g, conv(g, twice, width, **column), 192, **row)
    return g.concat([conv(g, x, 192, 1), once, twice, conv(g, mean3(g, x), 192, 1)])


def block_d(g, x):
    """17 x 17 to 8 x 8"""
    once = conv(g, conv(g, x, 192, 1), 320, 3, 2)
    twice = conv(g, conv(g, x, 192, 1), 192, (1, 7), pad=(0, 3))
    twice = conv(g, conv(g, twice, 192, (7, 1), pad=(3, 0)), 192, 3, 2)
    return g.concat([once, twice, g.max_pool(x, 3, 2)])


def block_e(g, x):
    """8 x 8, 3 x 3 convolutions as two halves side by side"""

    def halves(y):
        return [conv(g, y, 384, (1, 3), pad=(0, 1)), conv(g, y, 384, (3, 1), pad=(1, 0))]

    once = conv(g, x, 384, 1)
    twice = conv(g, conv(g, x, 448, 1), 384, 3, pad=1)
    return g.concat(
        [conv(g, x, 320, 1), *halves(once), *halves(twice), conv(g, mean3(g, x), 192, 1)]
    )


def trunk_v3(g, x):
    x = conv(g, x, 32, 3, 2, after_relu=False)
    x = conv(g, conv(g, x, 32, 3), 64, 3, pad=1)
    x = g.max_pool(x, 3, 2)
    x = conv(g, conv(g, x, 80, 1), 192, 3)
    x = g.max_pool(x, 3, 2)
    for pooled in (32, 64, 64):
        x = block_a(g, x, pooled)
    x = block_b(g, x)
    for width in (128, 160, 160, 192):
        x = block_c(g, x, width)
    x = block_d(g, x)
    return block_e(g, block_e(g, x))


def inception_v3(name):
    g = Graph(name)
    return g, g.classifier(trunk_v3(g, g.input(LARGE_IMAGE)), 1000)
