#!/usr/bin/env python3
"""Section 6.1's workload against a server that a user would pick instead: Mosec from PyPI.

    peer_mosec.py [--models 15] [--concurrency 16] [--seconds 10] [--wait-ms 1] [--slos 10,25,...]

Starts a Mosec server with one route and one process a model, each torchvision's ResNet50 (tf32,
channels last) in CUDA graphs of batch sizes 1, 2, 4, 8 and 16, behind Mosec's dynamic batching. Then
`concurrency` closed-loop clients a model ask for `seconds`. Requests carry no picture: the server
reads one of its own from pinned memory, so that neither side pays for bodies. Prints throughput,
latency and, for each SLO, the answers a second that met it: a closed loop is the same whatever the
SLO, which Mosec does not know of. Mosec looks for its program in Python's folder of scripts: install
the wheel there, not into a --target.
"""

import argparse
import asyncio
import multiprocessing
import os
import subprocess
import sys
import time

BATCHES = (1, 2, 4, 8, 16)
PORT = 28100
START_SECONDS_MAX = 150


def serve(options):
    import mosec
    import torch
    import torchvision

    class ResNet(mosec.Worker):
        def __init__(self):
            super().__init__()
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
            model = torchvision.models.resnet50(weights=None).eval().cuda()
            model = model.to(memory_format=torch.channels_last)
            self.graphs = {batch: self.capture(model, batch) for batch in BATCHES}

        def capture(self, model, batch):
            image = torch.randn(batch, 3, 224, 224, device="cuda")
            image = image.to(memory_format=torch.channels_last)
            held = torch.randn(batch, 3, 224, 224).to(memory_format=torch.channels_last)
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream), torch.no_grad():
                for _ in range(3):
                    model(image)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.no_grad(), torch.cuda.graph(graph):
                answer = model(image)
            return graph, image, held.pin_memory(), answer

        def deserialize(self, data):
            return data

        def serialize(self, data):
            return data

        def forward(self, data):
            batch = next(size for size in BATCHES if size >= len(data))
            graph, image, held, answer = self.graphs[batch]
            image.copy_(held, non_blocking=True)
            graph.replay()
            scores = answer.argmax(1).tolist()
            return [str(scores[i]).encode() for i in range(len(data))]

    # Found again by name in the processes that Mosec spawns.
    ResNet.__qualname__ = "ResNet"
    ResNet.__module__ = __name__
    globals()["ResNet"] = ResNet
    server = mosec.Server()
    for index in range(options.models):
        server.append_worker(
            ResNet,
            num=1,
            max_batch_size=BATCHES[-1],
            max_wait_time=options.wait_ms,
            start_method="fork",
            route=f"/model{index}",
        )
    server.run()


# --- the load ----------------------------------------------------------------------------------


async def ask(reader, writer, path):
    """One request; whether it succeeded."""
    writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    await reader.readexactly(length)
    return head.startswith(b"HTTP/1.1 200")


async def client(path, until, latencies, failures):
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    while time.monotonic() < until:
        begin = time.monotonic()
        if await ask(reader, writer, path):
            latencies.append(time.monotonic() - begin)
        else:
            failures.append(1)
    writer.close()


def load(path, options, until, results):
    latencies, failures = [], []

    async def run():
        await asyncio.gather(
            *(client(path, until, latencies, failures) for _ in range(options.concurrency))
        )

    asyncio.run(run())
    results.put((latencies, len(failures)))


def wait_for(options, server):
    """Until each model has answered once."""
    deadline = time.monotonic() + START_SECONDS_MAX

    async def probe(path):
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        answered = await ask(reader, writer, path)
        writer.close()
        return answered

    for index in range(options.models):
        while True:
            try:
                if asyncio.run(asyncio.wait_for(probe(f"/model{index}"), 5)):
                    break
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                pass
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.2)


def drive(options):
    until = time.monotonic() + options.seconds
    results = multiprocessing.Queue()
    processes = [
        multiprocessing.Process(target=load, args=(f"/model{i}", options, until, results))
        for i in range(options.models)
    ]
    for process in processes:
        process.start()
    outcomes = [results.get() for _ in processes]
    for process in processes:
        process.join()
    latencies = sorted(1e3 * x for outcome in outcomes for x in outcome[0])
    failed = sum(outcome[1] for outcome in outcomes)
    count = len(latencies)
    at = [latencies[min(count - 1, int(share * count))] for share in (0.5, 0.99, 0.9999)]
    print(
        f"mosec, {options.models} x ResNet50 tf32, {options.concurrency} closed-loop each, wait"
        f" {options.wait_ms} ms: {count / options.seconds:.0f} answers/s, {failed} failed; latency"
        f" p50 {at[0]:.1f} p99 {at[1]:.1f} p99.99 {at[2]:.1f} ms"
    )
    for slo in options.slos.split(","):
        good = sum(latency <= float(slo) for latency in latencies)
        print(f"mosec SLO {slo} ms: goodput {good / options.seconds:.0f}/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=15)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--wait-ms", type=int, default=1)
    parser.add_argument("--slos", default="10,25,50,100,250,500")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--serve", action="store_true", help="only the server; used by itself")
    options, rest = parser.parse_known_args()
    if options.serve:
        sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(options.port), *rest]
        serve(options)
        return 0
    command = [sys.executable, os.path.abspath(__file__), "--serve", "--models", str(options.models),
               "--wait-ms", str(options.wait_ms)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(options, server)
        drive(options)
    except RuntimeError as error:
        print(f"peer_mosec.py: {error}", file=sys.stderr)
        return 1
    finally:
        server.terminate()
        server.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
