#!/usr/bin/python3
"""The test of the tester: plants each bug of this folder into a copy of the sources and has
simulate_faults find it.

    run.py --build FOLDER [--seeds A..B] [NAME...]

A patch begins with what it plants and a line "checker: NAME". It passes if it applies, builds, and
one of the seeds fails with that checker; the line that says so must then fail again, with the same
words, when it is replayed as it says. The unpatched sources must pass each seed that found something.
FOLDER keeps the copy and its build from run to run.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
COPIED = ["CMakeLists.txt", "cmake", "src", "scripts", "zoo/profiles"]
CORES = str(len(os.sched_getaffinity(0)))
OUTPUT_LINES = 12
FAILED = re.compile(r"^seed (\d+): FAILED (\w+)")


class Missed(Exception):
    """The bug was not found, or could not be planted."""


def run(command, what, folder):
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        tail = done.stdout.rstrip().splitlines()[-OUTPUT_LINES:]
        raise Missed("\n  ".join([what + ":", *tail]))


def copy_sources(tree):
    """Brings the copy up to date; files that are the same keep their time, so little is built."""
    for name in COPIED:
        source = os.path.join(ROOT, name)
        target = os.path.join(tree, name)
        if os.path.isfile(source):
            copy_changed(source, target)
            continue
        there = set()
        for folder, _, files in os.walk(source):
            for file in files:
                path = os.path.join(folder, file)
                there.add(os.path.relpath(path, source))
                copy_changed(path, os.path.join(target, os.path.relpath(path, source)))
        for folder, _, files in os.walk(target):
            for file in files:
                path = os.path.join(folder, file)
                if os.path.relpath(path, target) not in there:
                    os.unlink(path)


def copy_changed(source, target):
    with open(source, "rb") as file:
        content = file.read()
    if os.path.exists(target):
        with open(target, "rb") as file:
            if file.read() == content:
                return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
    shutil.copymode(source, target)


def build(tree):
    folder = os.path.join(tree, "build")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        run(
            ["cmake", "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
             "-DCMAKE_C_COMPILER=gcc", "-DCLOCKWORK_TESTS=OFF", "-DCLOCKWORK_CUDA=OFF",
             "--log-level=WARNING"],
            "the copy could not be configured", tree,
        )
    run(
        ["cmake", "--build", folder, "--target", "simulate_faults", "--", "--quiet"],
        "the copy does not build", tree,
    )
    return os.path.join(folder, "simulate_faults")


def find(program, seeds, checker):
    """The first line that names that checker."""
    others = []
    with subprocess.Popen(
        [program, "--seeds", seeds, "--quiet", "--jobs", CORES], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            match = FAILED.match(line)
            if match and match.group(2) == checker:
                process.terminate()
                return line.rstrip()
            if match:
                others.append(line.rstrip())
    raise Missed("\n".join([f"no seed of {seeds} failed with '{checker}'", *others[:3]]))


def replay(program, line):
    words = line.rsplit("replay: simulate_faults ", 1)
    if len(words) != 2:
        raise Missed(f"the line does not say how to replay it: {line}")
    done = subprocess.run(
        [program, "--quiet", *words[1].split()], stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 1 or line not in done.stdout.splitlines():
        raise Missed(f"exit code {done.returncode}, and not the same again: {line}")


def plant(tree, name, seeds):
    path = os.path.join(HERE, name + ".patch")
    with open(path, encoding="utf-8") as file:
        checker = re.search(r"^checker: (\w+)$", file.read(), re.MULTILINE)
    if not checker:
        raise Missed("it has no line 'checker: NAME'")
    copy_sources(tree)
    apply = ["patch", "--strip=1", "--fuzz=0", "--forward", "--batch", "--input", path]
    run([*apply, "--dry-run"], "it does not apply any more; make it anew", tree)
    run(apply, "it does not apply", tree)
    program = build(tree)
    line = find(program, seeds, checker.group(1))
    replay(program, line)
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--seeds", default="1..400")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    every = sorted(name[:-6] for name in os.listdir(HERE) if name.endswith(".patch"))
    unknown = [name for name in arguments.names if name not in every]
    if unknown:
        parser.error(f"{unknown[0]}: there are {' '.join(every)}")
    tree = os.path.abspath(arguments.build)
    os.makedirs(tree, exist_ok=True)
    failed = 0
    seeds = set()
    for name in arguments.names or every:
        try:
            line = plant(tree, name, arguments.seeds)
            seeds.add(int(FAILED.match(line).group(1)))
            print(f"{name}: found: {line}", flush=True)
        except Missed as missed:
            failed += 1
            print(f"{name}: NOT FOUND: {missed}", flush=True)
    copy_sources(tree)
    for seed in sorted(seeds):
        try:
            run([build(tree), "--seed", str(seed), "--quiet"], "nothing is planted, and still", tree)
        except Missed as missed:
            failed += 1
            print(f"seed {seed}: {missed}", flush=True)
    passed = max(0, len(arguments.names or every) - failed)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
