#!/usr/bin/env python3
"""What a user of PyTorch gets for the same models on this GPU, to put beside bench_cuda.

    cuda_peers.py [--runs N] [--models resnet50,...] [--batches 1,8,16] [--precisions tf32,fp16]
                  [--modes compile,graph]

One line each: model, precision, mode, batch: median, p99, p99.99 and maximum in microseconds of
replaying a CUDA graph of the torchvision model (channels last, cudnn.benchmark, random weights);
"compile" through torch.compile first, "graph" without. A model may also be an ONNX file, which the
package onnx2torch makes a module of. Run it in the same job as bench_cuda: cards
and clocks differ from machine to machine.
"""

import argparse
import os
import sys


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--models", default="resnet50")
    parser.add_argument("--batches", default="1,8,16")
    parser.add_argument("--precisions", default="tf32,fp16")
    parser.add_argument("--modes", default="compile")
    return parser.parse_args()


def open_model(torchvision, name):
    """The module and the shape of one input."""
    if name.endswith(".onnx"):
        import onnx
        import onnx2torch

        graph = onnx.load(name)
        dims = graph.graph.input[0].type.tensor_type.shape.dim
        return onnx2torch.convert(graph), [dim.dim_value for dim in dims[1:]]
    return getattr(torchvision.models, name)(weights=None), (3, 224, 224)


def capture(torch, model, image):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.no_grad():
        for _ in range(5):
            model(image)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        model(image)
    return graph


def replay(torch, graph, runs):
    """Sorted durations in microseconds."""
    for _ in range(20):
        graph.replay()
    torch.cuda.synchronize()
    durations = []
    for _ in range(runs):
        begin = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        durations.append(begin.elapsed_time(end) * 1e3)
    return sorted(durations)


def at(durations, share):
    return durations[min(len(durations) - 1, int(share * len(durations)))]


def main():
    options = arguments()
    try:
        import torch
        import torchvision
    except ImportError as error:
        print(f"skipped: {error}")
        return
    if not torch.cuda.is_available():
        print("skipped: no CUDA device")
        return
    print(f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, "
          f"{torch.cuda.get_device_name()}")
    torch.backends.cudnn.benchmark = True
    for name in options.models.split(","):
        for precision in options.precisions.split(","):
            allows = precision == "tf32"
            torch.backends.cuda.matmul.allow_tf32 = allows
            torch.backends.cudnn.allow_tf32 = allows
            kind = torch.float16 if precision == "fp16" else torch.float32
            model, shape = open_model(torchvision, name)
            model = model.eval().cuda().to(kind)
            model = model.to(memory_format=torch.channels_last)
            for mode in options.modes.split(","):
                for batch in map(int, options.batches.split(",")):
                    image = torch.randn(batch, *shape, device="cuda", dtype=kind)
                    image = image.to(memory_format=torch.channels_last)
                    torch._dynamo.reset()
                    timed = torch.compile(model, dynamic=False) if mode == "compile" else model
                    try:
                        runs = replay(torch, capture(torch, timed, image), options.runs)
                    except RuntimeError as error:  # what a graph cannot hold
                        line = str(error).splitlines()[0]
                        print(f"{os.path.basename(name)} {mode} batch {batch}: failed: {line}")
                        continue
                    print(f"{os.path.basename(name)} {precision} {mode} batch {batch}: run p50 {at(runs, 0.5):.1f} "
                          f"p99 {at(runs, 0.99):.1f} p99.99 {at(runs, 0.9999):.1f} "
                          f"max {runs[-1]:.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
