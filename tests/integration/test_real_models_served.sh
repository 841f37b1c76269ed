#!/bin/sh
# Trained models from PyPI, served: real_models_served.py.
exec "${PYTHON:-/usr/bin/python3}" -B "$(dirname "$0")/real_models_served.py" "$@"
