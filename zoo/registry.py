"""Every model of the zoo by name.

`SEED` holds the 61 models of profiles/v100.tsv that the published trace experiment uses here
(src/workload/azure.c), `TABLE` the rest of that table, `EXTRA` models of other kinds, which tests need
and the table has not.
"""

from zoo import (
    densenet,
    dla,
    inception,
    mobilenet,
    modern,
    pose,
    resnest,
    resnet,
    resnext,
    transformers,
    tsn,
    wideresnet,
    xception,
)

# Chosen so that the parameters have the bytes of the table: see README.md.
PRUNED = {
    "resnet50_tuned_1.8x": (50, (0.3, 0.3, 0.72, 1)),
    "resnet101_tuned_1.9x": (101, (0.3, 0.3, 0.72, 1)),
    "resnet101_tuned_2.2x": (101, (0.3, 0.3, 0.7, 1)),
}

NOT_IN_SEED = {"winograd_resnet50_v2", "winograd_resnet101_v2", "winograd_resnet152_v2"}


def _image_classifiers():
    for depth in densenet.SHAPES:
        yield f"densenet{depth}", densenet.densenet, (depth,)
    yield "dla34", dla.dla34, ()
    yield "googlenet", inception.googlenet, ()
    yield "inceptionv3", inception.inception_v3, ()
    yield "xception", xception.xception, ()
    for depth in resnest.DEPTHS:
        yield f"resnest{depth}", resnest.resnest, (depth,)
    for depth in (*resnet.BASIC, *resnet.BOTTLENECK):
        variants = ("v1", "v1b") if depth in resnet.BASIC else ("v1", "v1b", "v1c", "v1d", "v1s")
        for variant in variants:
            yield f"resnet{depth}_{variant}", resnet.resnet_v1, (depth, variant)
        yield f"resnet{depth}_v2", resnet.resnet_v2, (depth,)
    for name, (depth, shares) in PRUNED.items():
        yield name, resnet.resnet_v1, (depth, "v1d", shares)
    for depth in (18, 50, 101, 152):
        yield f"winograd_resnet{depth}_v2", resnet.resnet_v2, (depth,)
    for excite in (False, True):
        for depth, group_width, cardinality in ((50, 4, 32), (101, 4, 32), (101, 4, 64)):
            name = f"{'se_' * excite}resnext{depth}_{cardinality}x{group_width}d"
            yield name, resnext.resnext, (depth, cardinality, group_width, excite)
    for depth, factor in ((16, 10), (28, 10), (40, 8)):
        yield f"cifar_wideresnet{depth}_{factor}", wideresnet.wideresnet, (depth, factor)


def _others():
    yield "mobile_pose_mobilenet1.0", pose.mobile_pose_mobilenet, (1,)
    yield "mobile_pose_mobilenetv3", pose.mobile_pose_mobilenet, (3,)
    yield "mobile_pose_resnet18_v1", pose.mobile_pose_resnet, (18,)
    yield "mobile_pose_resnet50_v1", pose.mobile_pose_resnet, (50,)
    yield "simple_pose_resnet18_v1b", pose.simple_pose_resnet, (18,)
    for version in (1, 3):
        yield f"tsn_inceptionv{version}_kinetics400", tsn.tsn_inception, (version,)
    for depth in (*resnet.BASIC, *resnet.BOTTLENECK):
        yield f"tsn_resnet{depth}_v1b_kinetics400", tsn.tsn_resnet, (depth,)


_OF_TABLE = {name: (make, more) for name, make, more in (*_image_classifiers(), *_others())}

SEED = {name: entry for name, entry in _OF_TABLE.items() if name not in NOT_IN_SEED}
TABLE = {name: entry for name, entry in _OF_TABLE.items() if name in NOT_IN_SEED}
EXTRA = {
    "bert_small": (transformers.bert, (4, 256, 4, 64, 8192, 2)),
    "convnext_small": (modern.convnext, ((48, 96, 192, 384), (2, 2, 4, 2))),
    "detector_small": (modern.detector, (16, 320, 20)),
    "efficientnet_b0": (modern.efficientnet_b0, ()),
    "mobilenet1.0": (mobilenet.mobilenet_v1, ()),
    "mobilenetv2_1.0": (mobilenet.mobilenet_v2, ()),
    "mobilenetv3_large": (mobilenet.mobilenet_v3, ()),
    "vit_small": (transformers.vit, (6, 192, 3, 16, 1000)),
}
MODELS = {**SEED, **TABLE, **EXTRA}

# What `make zoo` makes unless told otherwise: one of each kind, the small ones.
SUBSET = (
    "densenet121",
    "googlenet",
    "mobile_pose_mobilenetv3",
    "resnest14",
    "resnet18_v2",
    "resnet50_v2",
    "cifar_wideresnet16_10",
    "bert_small",
    "convnext_small",
    "detector_small",
    "efficientnet_b0",
    "vit_small",
)


def build(name):
    """The model as a protobuf message."""
    make, more = MODELS[name]
    graph, _ = make(name, *more)
    return graph.model()
