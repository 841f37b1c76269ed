#!/bin/sh
# Installs what lacks, builds, and serves trained models on this machine's cores: `make demo-cpu` on a bare
# Debian 12 that reaches PyPI. Arguments go to make: ./demo-cpu.sh DEMO_REQUESTS=50
set -eu
cd "$(dirname "$0")"
sh scripts/setup.sh build
exec make demo-cpu "$@"
