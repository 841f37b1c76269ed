#!/bin/sh
# Installs what lacks, builds, and runs every fast test: `make check` on a bare Debian 12.
set -eu
cd "$(dirname "$0")"
sh scripts/setup.sh check
exec make check "$@"
