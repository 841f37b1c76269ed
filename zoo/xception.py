"""Xception (Chollet 2016) with 65 layers, as aligned by Chen et al. 2018 for segmentation."""

from zoo.blocks import RESIDUAL_SCALE, Graph
from zoo.resnet import IMAGE

MIDDLE_BLOCKS = 16


def separable(g, x, channels, stride=1):
    """Filters of single channels, then a mix of the channels."""
    x = g.conv_bn(x, x.channels, 3, stride, groups=x.channels, activation=None)
    return g.conv(x, channels, 1, after_relu=False)


def block(g, x, widths, stride=1, relu_first=True):
    """Separable convolutions of these channels; the last one has the stride."""
    y = x
    stays = stride == 1 and x.channels == widths[-1]
    for index, channels in enumerate(widths):
        if index or relu_first:
            y = g.relu(y)
        last = index == len(widths) - 1
        y = separable(g, y, channels, stride if last else 1)
        y = g.batch_norm(y, RESIDUAL_SCALE if last else 1.0)
    if not stays:
        x = g.conv_bn(x, widths[-1], 1, stride, activation=None)
    return g.add(y, x)


def xception(name):
    g = Graph(name)
    x = g.conv_bn(g.input(IMAGE), 32, 3, stride=2, after_relu=False)
    x = g.conv_bn(x, 64, 3)
    x = g.relu(block(g, x, (128, 128, 128), 2, relu_first=False))
    x = block(g, x, (256, 256, 256), 2, relu_first=False)
    x = block(g, x, (728, 728, 728), 2)
    for _ in range(MIDDLE_BLOCKS):
        x = block(g, x, (728, 728, 728))
    x = g.relu(block(g, x, (728, 1024, 1024), 2))
    for channels in (1536, 1536, 2048):
        x = g.bn_relu(separable(g, x, channels))
    return g, g.classifier(x, 1000)
