#!/usr/bin/env python3
"""How far any right computation in tf32 takes a zoo model's answer, without a GPU.

    zoo_tf32.py [NAME | FILE.onnx:1x3x160x160 ...]

Both operands of every convolution and product are rounded to tf32's ten bits of mantissa, and the
rest is left to ONNX Runtime in single precision. A line a model: the distance from the answer that
was not rounded, relative to its norm; and how far apart the answers to two pictures lie, likewise.
The first should be small beside the second too. Normalisation is folded first, as the compiler does.
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from zoo import registry  # noqa: E402

SPLIT = np.float32(2**13 + 1)  # Veltkamp's: leaves 11 of 24 bits, rounded to nearest


def rounded(array):
    product = array * SPLIT
    return product - (product - array)


def fold(graph):
    """Normalisations into the convolutions before them."""
    arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    uses = [name for node in graph.node for name in node.input]
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = makers.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or uses.count(norm.input[0]) != 1:
            continue
        gamma, beta, mean, variance = (arrays[name] for name in norm.input[1:])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(variance + np.float32(epsilon))
        bias = arrays[conv.input[2]] if len(conv.input) > 2 else 0
        weights = arrays[conv.input[1]] * scale.reshape(-1, *[1] * (arrays[conv.input[1]].ndim - 1))
        names = [norm.output[0] + suffix for suffix in (".weights", ".bias")]
        for name, array in zip(names, (weights, (bias - mean) * scale + beta)):
            graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        conv.input[1:] = names
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)


def in_tf32(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    weights = {i.name: i for i in graph.initializer}
    nodes, done = [helper.make_node("Constant", [], ["split"], value_float=float(SPLIT))], set()
    for node in graph.node:
        for k, name in enumerate(node.input[:2] if node.op_type in ("Conv", "Gemm", "MatMul") else ()):
            node.input[k] = short = name + ".tf32"
            if short in done:
                continue
            done.add(short)
            if name in weights:
                array = rounded(numpy_helper.to_array(weights[name]))
                graph.initializer.append(numpy_helper.from_array(array, short))
            else:
                nodes += [
                    helper.make_node("Mul", [name, "split"], [short + ".a"]),
                    helper.make_node("Sub", [short + ".a", name], [short + ".b"]),
                    helper.make_node("Sub", [short + ".a", short + ".b"], [short]),
                ]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return copy


def run(model, picture):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # not a warning for every weight that folding left unused
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, picture)[0].astype(np.float64)


def take(name):
    """A model of the zoo, or a file with one input of the shape behind its colon."""
    if ":" not in name:
        return registry.build(name)
    path, shape = name.rsplit(":", 1)
    model = onnx.load(path)
    for node in [node for node in model.graph.node if node.op_type == "Constant"]:
        if node.attribute[0].name == "value":
            array = numpy_helper.to_array(node.attribute[0].t)
            model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
            model.graph.node.remove(node)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape.split("x")):
        dim.dim_value = int(size)
    return model


def main():
    for name in sys.argv[1:] or registry.SEED:
        model = take(name)
        fold(model.graph)
        random = np.random.default_rng(1)
        shapes = {
            value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
            for value in model.graph.input
        }
        pictures = [
            {key: random.standard_normal(shape, dtype=np.float32) for key, shape in shapes.items()}
            for _ in range(2)
        ]
        answer, other = (run(model, picture) for picture in pictures)
        norm = np.linalg.norm(answer)
        off = np.linalg.norm(run(in_tf32(model), pictures[0]) - answer) / norm
        apart = np.linalg.norm(other - answer) / norm
        print(f"{name}: {off:.1e} by tf32, {apart:.2f} from picture to picture", flush=True)


if __name__ == "__main__":
    main()
