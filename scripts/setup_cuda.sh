#!/bin/sh
# Brings cuDNN's headers into .cudnn/, where the build looks for them (cmake/Cuda.cmake): for a
# machine that has NVIDIA's compiler but not cuDNN's development package. They are in the PyPI
# package nvidia-cudnn-cu13; its libraries are left behind, the worker uses those of the machine.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
if [ -e "$top/.cudnn/include/cudnn.h" ]; then
  echo "setup-cuda: the headers are there"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder" \
  nvidia-cudnn-cu13; then
  echo "setup-cuda: pip could not fetch nvidia-cudnn-cu13; install cuDNN 9's headers otherwise" >&2
  exit 1
fi
python3 - "$folder" "$top/.cudnn/include" <<'PYTHON'
import glob
import os
import sys
import zipfile

folder, target = sys.argv[1:]
os.makedirs(target, exist_ok=True)
for wheel in glob.glob(os.path.join(folder, "*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "/include/" in name and name.endswith(".h"):
                with open(os.path.join(target, os.path.basename(name)), "wb") as file:
                    file.write(archive.read(name))
PYTHON
echo "setup-cuda: cuDNN's headers are in .cudnn/include"
