#!/usr/bin/python3
"""Checks, or with --write mends, the layout of C code with clang-format and .clang-format.

    check_format.py [--write] [--root FOLDER]
"""

import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from project_files import ROOT, list_files  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=ROOT, help="the project's folder")
    parser.add_argument("--write", action="store_true", help="change the files")
    options = parser.parse_args()
    paths = list_files(options.root, (".c", ".h", ".cu", ".cuh"))
    if not paths:
        return 0
    how = ["-i"] if options.write else ["--dry-run", "--Werror"]
    return subprocess.run(["clang-format", *how, *paths], cwd=options.root).returncode


if __name__ == "__main__":
    sys.exit(main())
