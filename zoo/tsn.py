"""Temporal segment networks (Wang et al. 2016) for the 400 actions of Kinetics: at inference each frame
passes through an image network, here the input is one frame."""

from zoo import inception, resnet
from zoo.blocks import Graph

ACTIONS = 400


def tsn_inception(name, version):
    g = Graph(name)
    trunk = inception.trunk_googlenet if version == 1 else inception.trunk_v3
    return g, g.classifier(trunk(g, g.input(inception.LARGE_IMAGE)), ACTIONS)


def tsn_resnet(name, depth):
    g = Graph(name)
    return g, g.classifier(resnet.trunk_v1(g, g.input(resnet.IMAGE), depth, "v1b"), ACTIONS)
