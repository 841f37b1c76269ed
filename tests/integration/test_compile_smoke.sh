#!/bin/sh
# compile_model on small models, golden plans and damaged files, also under sanitizers: compile_smoke.py.
exec "${PYTHON:-/usr/bin/python3}" -B "$(dirname "$0")/compile_smoke.py" "$@"
