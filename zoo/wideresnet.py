"""Wide residual networks (Zagoruyko and Komodakis 2016) for the pictures of CIFAR-10."""

from zoo.blocks import Graph
from zoo.resnet import basic_block_v2

PICTURE = (3, 32, 32)


def wideresnet(name, depth, factor):
    g = Graph(name)
    x = g.conv(g.batch_norm(g.input(PICTURE)), 16, 3, after_relu=False)
    x = g.batch_norm(x)
    for stage, width in enumerate((16, 32, 64)):
        for block in range((depth - 4) // 6):
            x = basic_block_v2(g, x, width * factor, 2 if stage and not block else 1)
    return g, g.classifier(g.bn_relu(x), 10)
