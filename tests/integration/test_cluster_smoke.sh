#!/bin/sh
# What must work before anything else, also under sanitizers: cluster_smoke.py.
exec "${PYTHON:-/usr/bin/python3}" -B "$(dirname "$0")/cluster_smoke.py" "$@"
