#!/usr/bin/env python3
"""Compares what the CUDA backend answers with what the CPU backend answers, package by package.

    gpu_numerics.py BUILD PROFILE INPUT OUTPUT PACKAGE...

INPUT and OUTPUT are those that `bench_cuda --input INPUT --output OUTPUT --profile PROFILE PACKAGE...`
read and wrote. Each model's first request goes through `check_model --backend cpu`; what the GPU
answered to it, in its smallest and its largest batch, must be as near as the package's precision
allows: 1e-3 of the answer's norm for fp32, 5e-3 for tf32, 2e-2 for fp16. The precision is that of
--precision (default tf32). --reference names a folder with packages of the same names in fp32, for
packages in fp16: the CPU backend has no fast kernels for those, and what rounding the weights costs
counts then, too. One line a package; ends with 1 if one is further off or lacks.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

import numpy

LIMITS = {"fp32": 1e-3, "tf32": 5e-3, "fp16": 2e-2}


def read_profile(path):
    """{model: (input bytes, output bytes)}"""
    sizes = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            fields = line.split("\t")
            if len(fields) > 3 and fields[1].isdigit():
                sizes[fields[0]] = (int(fields[1]), int(fields[2]))
    return sizes


def of_cpu(build, package, data, folder):
    name = os.path.basename(package.rstrip("/"))
    source = os.path.join(folder, f"{name}.in")
    answer = os.path.join(folder, f"{name}.out")
    with open(source, "wb") as file:
        file.write(data)
    run = subprocess.run(
        [os.path.join(build, "check_model"), "--backend", "cpu", "--cores", "1", "--batch", "1",
         "--seconds", "1", "--input", source, "--output", answer, package],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    if run.returncode:
        raise RuntimeError(run.stdout.strip().splitlines()[-1] if run.stdout else "no answer")
    with open(answer, "rb") as file:
        return file.read()


def distance(ours, reference):
    difference = numpy.linalg.norm(ours.astype(numpy.float64) - reference)
    return difference / max(numpy.linalg.norm(reference.astype(numpy.float64)), 1e-30)


def compare(options, sizes, package, folder):
    """(line, whether it is near enough)"""
    name = os.path.basename(package.rstrip("/"))
    if name not in sizes:
        return f"{name}: was not run on the GPU", False
    input_bytes, output_bytes = sizes[name]
    with open(options.input, "rb") as file:
        data = file.read(input_bytes)
    try:
        if options.reference:
            package = os.path.join(options.reference, name)
        reference = numpy.frombuffer(of_cpu(options.build, package, data, folder), numpy.float32)
    except (RuntimeError, OSError) as error:
        return f"{name}: CPU backend: {error}", False
    found = glob.glob(f"{glob.escape(options.output)}.{glob.escape(name)}.b*")
    batches = sorted(int(re.search(r"\.b(\d+)$", path).group(1)) for path in found)
    if not batches:
        return f"{name}: the GPU gave no answer", False
    texts, is_near = [], True
    for batch in {batches[0], batches[-1]}:
        with open(f"{options.output}.{name}.b{batch}", "rb") as file:
            ours = numpy.frombuffer(file.read(output_bytes), numpy.float32)
        off = distance(ours, reference) if ours.shape == reference.shape else float("inf")
        # Not a number is not near.
        is_near = is_near and off <= LIMITS[options.precision]
        texts.append(f"b{batch} {off:.1e}")
    return f"{name}: {', '.join(texts)}{'' if is_near else ' FAR'}", is_near


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=LIMITS, default="tf32")
    parser.add_argument("--reference", help="a folder with the same models' fp32 packages")
    for word in ("build", "profile", "input", "output"):
        parser.add_argument(word)
    parser.add_argument("packages", nargs="+")
    options = parser.parse_args()
    sizes = read_profile(options.profile)
    with tempfile.TemporaryDirectory() as folder:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            outcomes = list(
                pool.map(lambda package: compare(options, sizes, package, folder), options.packages)
            )
    for line, _ in outcomes:
        print(line)
    far = sum(not is_near for _, is_near in outcomes)
    print(f"{len(outcomes) - far} of {len(outcomes)} packages within {LIMITS[options.precision]:g}"
          f" ({options.precision}) of the CPU backend")
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
