#!/bin/sh
# Any bytes on any port: cluster_hostile.py.
exec "${PYTHON:-/usr/bin/python3}" -B "$(dirname "$0")/cluster_hostile.py" "$@"
