#!/bin/sh
# All workloads, controller types, and GPUs that are too small: cluster_workloads.py.
exec "${PYTHON:-/usr/bin/python3}" -B "$(dirname "$0")/cluster_workloads.py" "$@"
