"""Encoders of the BERT kind (Devlin et al. 2018) and ViT (Dosovitskiy et al. 2020), as exporters write
them: LayerNormalization, separate products for query, key and value, GELU by its error function."""

import numpy as np
from onnx import TensorProto

from zoo.blocks import Graph

LAYER_NORM_EPSILON = 1e-5
MASKED = -1e4


def layer_norm(g, x):
    width = x.shape[-1]
    scale = g.constant(g.random.uniform(0.9, 1.1, width).astype(np.float32), "gamma")
    bias = g.constant(g.bias(width), "beta")
    return g.node(
        "LayerNormalization", [x, scale, bias], x.shape, axis=-1, epsilon=LAYER_NORM_EPSILON
    )


def project(g, x, width, gain=1.0):
    """x W + b on the last axis."""
    fan_in = x.shape[-1]
    weights = g.random.standard_normal((fan_in, width), dtype=np.float32)
    weights *= np.float32(gain / np.sqrt(fan_in))
    product = g.node("MatMul", [x, g.constant(weights, "weight")], (*x.shape[:-1], width))
    return g.node("Add", [g.constant(g.bias(width), "bias"), product], product.shape)


def gelu(g, x):
    """x / 2 (1 + erf(x / sqrt 2))"""
    inner = g.node("Div", [x, g.constant(np.float32(np.sqrt(2)), "number")], x.shape)
    inner = g.node("Erf", [inner], x.shape)
    inner = g.node("Add", [inner, g.constant(np.float32(1), "number")], x.shape)
    half = g.node("Mul", [x, g.constant(np.float32(0.5), "number")], x.shape)
    return g.mul(half, inner)


def heads_of(g, x, heads, *order):
    length, width = x.shape
    return g.transpose(g.reshape(x, length, heads, width // heads), *order)


def attention(g, x, heads, mask):
    length, width = x.shape
    query = heads_of(g, project(g, x, width), heads, 2, 1, 3)
    key = heads_of(g, project(g, x, width), heads, 2, 3, 1)
    value = heads_of(g, project(g, x, width), heads, 2, 1, 3)
    scores = g.node("MatMul", [query, key], (heads, length, length))
    root = np.float32(np.sqrt(width // heads))
    scores = g.node("Div", [scores, g.constant(root, "number")], scores.shape)
    if mask:
        scores = g.add(scores, mask)
    weights = g.node("Softmax", [scores], scores.shape, axis=-1)
    mixed = g.node("MatMul", [weights, value], query.shape)
    mixed = g.reshape(g.transpose(mixed, 2, 1, 3), length, width)
    return project(g, mixed, width)


def feed_forward(g, x):
    width = x.shape[-1]
    return project(g, gelu(g, project(g, x, 4 * width)), width)


def first_token(g, x):
    index = g.constant(np.array(0, dtype=np.int64), "index")
    return g.node("Gather", [x, index], (x.shape[-1],), axis=1)


def embedding(g, ids, rows, width):
    table = g.constant(g.random.standard_normal((rows, width), dtype=np.float32), "table")
    return g.node("Gather", [table, ids], (*ids.shape, width))


def bert(name, layers, width, heads, length, vocabulary, classes):
    g = Graph(name)
    ids = g.input((length,), "input_ids", TensorProto.INT64)
    present = g.input((length,), "attention_mask", TensorProto.INT64)
    mask = g.node("Unsqueeze", [present, g.integers(1, 2)], (1, 1, length))
    mask = g.node("Cast", [mask], mask.shape, to=TensorProto.FLOAT)
    mask = g.node("Sub", [g.constant(np.float32(1), "number"), mask], mask.shape)
    mask = g.node("Mul", [mask, g.constant(np.float32(MASKED), "number")], mask.shape)
    position = g.random.standard_normal((length, width), dtype=np.float32)
    x = embedding(g, ids, vocabulary, width)
    x = layer_norm(g, g.node("Add", [x, g.constant(position, "position")], x.shape))
    for _ in range(layers):
        x = layer_norm(g, g.add(attention(g, x, heads, mask), x))
        x = layer_norm(g, g.add(feed_forward(g, x), x))
    pooled = project(g, first_token(g, x), width)
    pooled = g.node("Tanh", [pooled], pooled.shape)
    return g, g.output(g.dense(pooled, classes, after_relu=False))


def vit(name, layers, width, heads, patch, classes):
    g = Graph(name)
    x = g.conv(g.input((3, 224, 224)), width, patch, stride=patch, pad=0, bias=True,
               after_relu=False)
    tokens = x.shape[1] * x.shape[2]
    x = g.transpose(g.reshape(x, width, tokens), 2, 1)
    mark = g.random.standard_normal((1, 1, width), dtype=np.float32)
    # One row for every image of the batch: the shape of the mark comes from that of the input.
    shape = g.node("Shape", [x], (3,))
    batch = g.node("Slice", [shape, g.integers(0), g.integers(1), g.integers(0)], (1,))
    shape = g.node("Concat", [batch, g.integers(1, width)], (3,), axis=0)
    mark = g.node("Expand", [g.constant(mark, "mark"), shape], (1, width))
    x = g.node("Concat", [mark, x], (tokens + 1, width), axis=1)
    position = 0.5 * g.random.standard_normal((1, tokens + 1, width), dtype=np.float32)
    x = g.node("Add", [x, g.constant(position, "position")], x.shape)
    for _ in range(layers):
        x = g.add(x, attention(g, layer_norm(g, x), heads, None))
        x = g.add(x, feed_forward(g, layer_norm(g, x)))
    x = first_token(g, layer_norm(g, x))
    return g, g.output(g.dense(x, classes, after_relu=False))
