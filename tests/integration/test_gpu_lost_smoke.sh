#!/bin/sh
# Emulated GPUs are lost under load: gpu_lost.py.
exec "${PYTHON:-/usr/bin/python3}" -B "$(dirname "$0")/gpu_lost.py" "$@"
