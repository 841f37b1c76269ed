#!/usr/bin/python3
"""Checks what the compiled pure layers call and keep.

    check_purity.py --build FOLDER [--root FOLDER]

Two rules, for each library of a layer that src/layers.txt calls pure: a symbol that it leaves
undefined is defined by a layer that it may include or stands under [pure symbols]; and it holds no
data that can change, because state belongs to whoever hands in the memory. The libraries must come
from a build without sanitizers, which bring symbols and data of their own.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import defaultdict

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import layers as layers_file  # noqa: E402
from project_files import ROOT  # noqa: E402

# The linker's own, in position-independent code.
LINKER_SYMBOLS = {"_GLOBAL_OFFSET_TABLE_"}

MEMBER = re.compile(r"^(\S+):\s+file format ")
# address, seven flag characters, section, tab, size, name
SYMBOL = re.compile(r"^[0-9a-f]+ (.{7}) (\S+)\t[0-9a-f]+\s+(?:\.hidden )?(\S+)$")

# A table of constants that holds addresses is written once, by the loader, and is read-only then.
CONSTANT_SECTIONS = (".rodata", ".data.rel.ro")
DATA_SECTIONS = (".data", ".bss", ".tdata", ".tbss", "*COM*")


class Library:
    """The symbols of one static library, by source file."""

    def __init__(self, path):
        self.defined = set()
        # symbol -> names of the source files
        self.undefined = defaultdict(set)
        self.mutable = defaultdict(set)
        listing = subprocess.run(
            ["objdump", "-t", path], check=True, capture_output=True, text=True
        ).stdout
        source = None
        for line in listing.splitlines():
            member = MEMBER.match(line)
            if member:
                source = re.sub(r"\.o(bj)?$", "", member.group(1))
                continue
            symbol = SYMBOL.match(line)
            if symbol:
                self._add(source, *symbol.groups())

    def _add(self, source, flags, section, name):
        if section == "*UND*":
            self.undefined[name].add(source)
            return
        if "d" in flags:  # a section's or a file's own entry
            return
        if flags[0] in "gu!" or "w" in flags:
            self.defined.add(name)
        if section.startswith(CONSTANT_SECTIONS):
            return
        if section.startswith(DATA_SECTIONS):
            self.mutable[name].add(source)


def library_path(build, layer):
    return os.path.join(build, f"libcw_{layer.replace('/', '_')}.a")


def check(root, build):
    """(names of the layers looked at, all violations as lines of text)"""
    layers = layers_file.read(os.path.join(root, "src", "layers.txt"))
    libraries = {
        layer: Library(library_path(build, layer))
        for layer in layers.pure
        if os.path.isfile(library_path(build, layer))
    }
    problems = [
        f"{library_path(build, layer)}: is missing, though src/{layer}/ has sources; build first"
        for layer in layers.pure
        if layer not in libraries and has_sources(root, layers, layer)
    ]
    for layer, library in libraries.items():
        problems += check_library(layers, layer, library, libraries)
    return list(libraries), problems


def has_sources(root, layers, layer):
    for folder, _, names in os.walk(os.path.join(root, "src", layer)):
        inner = os.path.relpath(folder, os.path.join(root, "src"))
        if layers.layer_of(inner + "/x.c") == layer and any(n.endswith(".c") for n in names):
            return True
    return False


def check_library(layers, layer, library, libraries):
    problems = []
    below = set().union(
        *(libraries[name].defined for name in layers.below[layer] if name in libraries)
    )
    for symbol, sources in sorted(library.undefined.items()):
        if symbol in below or symbol in LINKER_SYMBOLS:
            continue
        for source in sorted(sources):
            if layers.pure_symbols.allows(symbol, f"{layer}/{source}", layer):
                continue
            owners = [name for name, other in libraries.items() if symbol in other.defined]
            reason = f"of {owners[0]}, which it may not include" if owners else "of no pure layer"
            problems.append(f"src/{layer}/{source}: calls {symbol}, {reason}")
    for symbol, sources in sorted(library.mutable.items()):
        for source in sorted(sources):
            problems.append(f"src/{layer}/{source}: keeps {symbol}, data that can change")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=ROOT, help="the project's folder")
    parser.add_argument("--build", required=True, help="the folder with the libraries")
    options = parser.parse_args()
    try:
        looked_at, problems = check(options.root, options.build)
    except layers_file.LayersError as error:
        looked_at, problems = [], [str(error)]
    if not problems and not looked_at:
        problems = [f"{options.build}: holds no library of a pure layer; build first"]
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
