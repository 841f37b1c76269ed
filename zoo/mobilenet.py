"""MobileNet v1 (Howard et al. 2017), v2 (Sandler et al. 2018) and v3 large (Howard et al. 2019)."""

from zoo.blocks import RESIDUAL_SCALE, Graph, make_divisible
from zoo.resnet import IMAGE

# v1: channels and stride of each separable convolution
V1 = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
      (1024, 1)]

# v2: expansion, channels, blocks, stride of the first
V2 = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
      (6, 320, 1, 1)]

# v3 large: kernel, inner channels, channels, squeeze-and-excitation, activation, stride
V3_LARGE = [
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_swish", 2),
    (3, 200, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 480, 112, True, "hard_swish", 1),
    (3, 672, 112, True, "hard_swish", 1),
    (5, 672, 160, True, "hard_swish", 2),
    (5, 960, 160, True, "hard_swish", 1),
    (5, 960, 160, True, "hard_swish", 1),
]


def trunk_v1(g, x):
    x = g.conv_bn(x, 32, 3, stride=2, after_relu=False)
    for channels, stride in V1:
        x = g.conv_bn(x, x.channels, 3, stride, groups=x.channels)
        x = g.conv_bn(x, channels, 1)
    return x


def inverted_residual(g, x, kernel, inner, channels, stride, activation, squeezed=0,
                      gate="hard_sigmoid"):
    """Wide inside, narrow outside. `squeezed` > 0: with squeeze-and-excitation."""
    y = x
    if inner != x.channels:
        y = g.conv_bn(y, inner, 1, activation=activation, after_relu=False)
    y = g.conv_bn(y, inner, kernel, stride, groups=inner, activation=activation)
    if squeezed:
        mean = g.relu(g.conv(g.global_pool(y), squeezed, 1, bias=True))
        y = g.mul(y, getattr(g, gate)(g.conv(mean, inner, 1, bias=True)))
    stays = stride == 1 and x.channels == channels
    scale = RESIDUAL_SCALE if stays else 1.0
    if squeezed:
        scale *= 2  # the gates stand around one half
    y = g.conv_bn(y, channels, 1, scale=scale, activation=None)
    return g.add(y, x) if stays else y


def trunk_v3_large(g, x):
    x = g.conv_bn(x, 16, 3, stride=2, activation="hard_swish", after_relu=False)
    for kernel, inner, channels, excite, activation, stride in V3_LARGE:
        squeezed = make_divisible(inner / 4) if excite else 0
        x = inverted_residual(g, x, kernel, inner, channels, stride, activation, squeezed)
    return g.conv_bn(x, 960, 1, activation="hard_swish", after_relu=False)


def mobilenet_v1(name):
    g = Graph(name)
    return g, g.classifier(trunk_v1(g, g.input(IMAGE)), 1000)


def mobilenet_v2(name):
    g = Graph(name)
    x = g.conv_bn(g.input(IMAGE), 32, 3, stride=2, activation="relu6", after_relu=False)
    for expansion, channels, blocks, first_stride in V2:
        for block in range(blocks):
            stride = first_stride if not block else 1
            inner = expansion * x.channels
            x = inverted_residual(g, x, 3, inner, channels, stride, "relu6")
    x = g.conv_bn(x, 1280, 1, activation="relu6", after_relu=False)
    return g, g.classifier(x, 1000)


def mobilenet_v3(name):
    g = Graph(name)
    x = g.global_pool(trunk_v3_large(g, g.input(IMAGE)))
    x = g.hard_swish(g.conv(x, 1280, 1, bias=True, after_relu=False))
    return g, g.output(g.dense(g.flatten(x), 1000))
