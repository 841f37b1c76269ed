"""Where 17 joints are in a picture of a person, as heat maps of 64 x 48.

simple_pose: three transposed convolutions on a trunk (Xiao et al. 2018). mobile_pose: convolutions
whose channels become pixels instead, as in the GluonCV zoo.
"""

from zoo import mobilenet, resnet
from zoo.blocks import Graph

PERSON = (3, 256, 192)
JOINTS = 17


def depth_to_pixels(g, x):
    """Groups of four channels become two by two pixels."""
    channels, rows, columns = x.shape
    return g.node(
        "DepthToSpace", [x], (channels // 4, 2 * rows, 2 * columns), blocksize=2, mode="CRD"
    )


def mobile_head(g, x):
    x = g.conv(x, 256, 1)
    for channels in (512, 256, 128):
        x = depth_to_pixels(g, g.conv_bn(x, channels, 3))
    return g.output(g.conv(x, JOINTS, 1))


def mobile_pose_mobilenet(name, version):
    g = Graph(name)
    trunk = mobilenet.trunk_v1 if version == 1 else mobilenet.trunk_v3_large
    return g, mobile_head(g, trunk(g, g.input(PERSON)))


def mobile_pose_resnet(name, depth):
    g = Graph(name)
    return g, mobile_head(g, resnet.trunk_v1(g, g.input(PERSON), depth, "v1"))


def simple_pose_resnet(name, depth):
    g = Graph(name)
    x = resnet.trunk_v1(g, g.input(PERSON), depth, "v1b")
    for _ in range(3):
        x = g.relu(g.batch_norm(g.conv_transpose(x, 256, 4, 2, 1)))
    return g, g.output(g.conv(x, JOINTS, 1, bias=True))
