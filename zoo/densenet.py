"""DenseNet (Huang et al. 2016): each layer reads what all layers before it in its block made."""

from zoo.blocks import Graph
from zoo.resnet import IMAGE

# first channels, growth, layers of each block
SHAPES = {
    121: (64, 32, (6, 12, 24, 16)),
    161: (96, 48, (6, 12, 36, 24)),
    169: (64, 32, (6, 12, 32, 32)),
    201: (64, 32, (6, 12, 48, 32)),
}
BOTTLENECK_WIDTH = 4


def dense_layer(g, x, growth):
    y = g.conv(g.bn_relu(x), BOTTLENECK_WIDTH * growth, 1)
    y = g.conv(g.bn_relu(y), growth, 3)
    return g.concat([x, y])


def densenet(name, depth):
    first, growth, blocks = SHAPES[depth]
    g = Graph(name)
    x = g.conv_bn(g.input(IMAGE), first, 7, stride=2, after_relu=False)
    x = g.max_pool(x, 3, 2, 1)
    for block, layers in enumerate(blocks):
        if block:
            x = g.conv(g.bn_relu(x), x.channels // 2, 1)
            x = g.average_pool(x, 2, 2)
        for _ in range(layers):
            x = dense_layer(g, x, growth)
    return g, g.classifier(g.bn_relu(x), 1000)
