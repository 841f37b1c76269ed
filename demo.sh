#!/bin/sh
# Installs what lacks, builds, and replays section 6.5 on this machine: `make demo` on a bare Debian 12.
# Arguments go to make: ./demo.sh DEMO_SECONDS=60
set -eu
cd "$(dirname "$0")"
sh scripts/setup.sh build
exec make demo "$@"
