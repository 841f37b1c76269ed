#!/bin/sh
# Malformed arguments and files: command_lines.py.
exec "${PYTHON:-/usr/bin/python3}" -B "$(dirname "$0")/command_lines.py" "$@"
