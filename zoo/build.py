#!/usr/bin/env python3
"""Writes models of the zoo as ONNX files, and compiles them.

    build.py [NAME...] [-o FOLDER]                    FOLDER/NAME.onnx
    build.py [NAME...] [-o FOLDER] --compiler PROGRAM FOLDER/NAME/, a package; the ONNX file goes

A NAME is a model's, "subset" (the default: one of each kind), "seed" (the 61 of the seed's
experiment) or "all". A package made by the same generators and the same compiler is kept.
"""

import argparse
import concurrent.futures
import hashlib
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from zoo import registry  # noqa: E402

BATCHES = "1,2,4,8,16"


def names_of(words):
    groups = {
        "subset": registry.SUBSET,
        "seed": registry.SEED,
        "all": (*registry.SEED, *registry.TABLE, *registry.EXTRA),
    }
    names = []
    for word in words or ["subset"]:
        if word not in groups and word not in registry.MODELS:
            raise ValueError(f"no model {word}; build.py --list has the names")
        names += [name for name in groups.get(word, (word,)) if name not in names]
    return names


def fingerprint(compiler, precision):
    """Of all that decides what a package holds."""
    digest = hashlib.sha256(f"{BATCHES} {precision}".encode())
    paths = [os.path.join(HERE, name) for name in sorted(os.listdir(HERE)) if name.endswith(".py")]
    for path in [*paths, compiler]:
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def write(name, folder):
    path = os.path.join(folder, f"{name}.onnx")
    with open(path, "wb") as file:
        file.write(registry.build(name).SerializeToString())
    return path


def compile_one(name, folder, compiler, precision, keep):
    path = write(name, folder)
    package = os.path.join(folder, name)
    try:
        run = subprocess.run(
            [compiler, path, "-o", package, "--batch", BATCHES, "--precision", precision],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    finally:
        if not keep:
            os.remove(path)
    if run.returncode:
        raise RuntimeError(run.stdout.strip() or f"{compiler} ended with {run.returncode}")


def make(name, options, wanted):
    """What was done, for the line of progress."""
    if not options.compiler:
        write(name, options.out)
        return "written"
    stamp = os.path.join(options.out, f"{name}.made-by")
    if os.path.exists(stamp) and os.path.isdir(os.path.join(options.out, name)):
        with open(stamp, encoding="ascii") as file:
            if file.read() == wanted:
                return "kept"
    compile_one(name, options.out, options.compiler, options.precision, options.keep_onnx)
    with open(stamp, "w", encoding="ascii") as file:
        file.write(wanted)
    return "compiled"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a model, subset, seed or all")
    parser.add_argument("-o", "--out", default=".", help="folder for what is made")
    parser.add_argument("--compiler", help="compile_model; without it ONNX files are written")
    parser.add_argument("--keep-onnx", action="store_true", help="beside the packages")
    parser.add_argument("--precision", choices=("fp32", "tf32", "fp16"), default="fp32")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="print every name and end")
    options = parser.parse_args()
    if options.list:
        print("\n".join(names_of(["all"])))
        return 0
    try:
        names = names_of(options.names)
        wanted = fingerprint(options.compiler, options.precision) if options.compiler else ""
        os.makedirs(options.out, exist_ok=True)
    except (ValueError, OSError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 2
    started = time.monotonic()
    failed = 0
    with concurrent.futures.ProcessPoolExecutor(max(1, options.processes)) as pool:
        runs = {pool.submit(make, name, options, wanted): name for name in names}
        for done, run in enumerate(concurrent.futures.as_completed(runs), 1):
            took = time.monotonic() - started
            error = run.exception()
            failed += error is not None
            outcome = f"failed: {error}" if error else run.result()
            print(f"[{done}/{len(names)}, {took:.0f} s] {runs[run]}: {outcome}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
