#!/bin/sh
# Processes are killed, stopped and restarted under load: cluster_failures.py.
exec "${PYTHON:-/usr/bin/python3}" -B "$(dirname "$0")/cluster_failures.py" "$@"
