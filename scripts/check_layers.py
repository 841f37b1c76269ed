#!/usr/bin/python3
"""Checks every #include under src/ against src/layers.txt.

    check_layers.py [--root FOLDER]

Prints one line for each include that the file does not allow, and exits 1 if there is one.
"""

import argparse
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import layers as layers_file  # noqa: E402
from project_files import ROOT, list_files  # noqa: E402

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>|(\S+))')
SUFFIXES = (".c", ".h", ".def", ".cu", ".cuh", ".inc")


def check(root):
    """All violations under root/src, as lines of text."""
    layers = layers_file.read(os.path.join(root, "src", "layers.txt"))
    paths = [path for path in list_files(root, SUFFIXES) if path.startswith("src/")]
    problems = []
    for path in paths:
        inner = path[len("src/") :]
        layer = layers.layer_of(inner)
        if layer is None:
            problems.append(f"{path}: its folder has no line in src/layers.txt")
            continue
        with open(os.path.join(root, path), encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                match = INCLUDE.match(line)
                if match:
                    problem = check_include(root, layers, layer, inner, match)
                    if problem:
                        problems.append(f"{path}:{number}: {problem}")
    return problems


def check_include(root, layers, layer, path, match):
    """What is wrong with one include of the file `path`, or None."""
    quoted, angled, other = match.groups()
    if other:
        return f"includes {other}: name the file itself, so that this check can see it"
    if quoted:
        return check_own(root, layers, layer, path, quoted)
    return check_foreign(layers, layer, path, angled)


def check_own(root, layers, layer, path, target):
    if not os.path.isfile(os.path.join(root, "src", target)):
        beside = os.path.normpath(os.path.join(os.path.dirname(path), target))
        if os.path.isfile(os.path.join(root, "src", beside)):
            return f'includes "{target}": write "{beside}", as seen from src/'
        return f'includes "{target}", which is not under src/'
    its_layer = layers.layer_of(os.path.normpath(target))
    if its_layer in layers.below[layer]:
        return None
    if its_layer in layers.programs:
        return f'{layer} includes "{target}" of the program {its_layer}'
    return f'{layer} may not include {its_layer} ("{target}")'


def check_foreign(layers, layer, path, header):
    if layer in layers.pure:
        if layers.pure_headers.allows(header, path, layer):
            return None
        return f"{layer} is a pure layer and may not include <{header}>"
    if layers.vendor_headers.places(header) is not None:
        if layers.vendor_headers.allows(header, path, layer):
            return None
        places = ", ".join(sorted(layers.vendor_headers.places(header)))
        return f"{layer} may not include <{header}>; it belongs to {places}"
    if header in layers.system_headers.everyone | layers.pure_headers.everyone:
        return None
    return f"<{header}> has no line in src/layers.txt"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=ROOT, help="the project's folder")
    options = parser.parse_args()
    try:
        problems = check(options.root)
    except layers_file.LayersError as error:
        problems = [str(error)]
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
