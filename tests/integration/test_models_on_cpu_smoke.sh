#!/bin/sh
# More models than pages on the CPU backend, also under sanitizers: models_on_cpu_smoke.py.
exec "${PYTHON:-/usr/bin/python3}" -B "$(dirname "$0")/models_on_cpu_smoke.py" "$@"
