#!/bin/sh
# Makes a folder that runs on another machine, one with a GPU and without Debian's packages:
#
#   scripts/gpu_bundle.sh FOLDER [BUILD]
#
# FOLDER/build has the programs, tests and benchmarks of BUILD (default CLOCKWORK_BUILD, build) and the shared libraries
# they need but for the C library's own, which the machine must have at least as new as this one;
# beside it lie the scripts, the zoo's generators and the figures. On the GPU machine:
#
#   FOLDER/scripts/gpu_run.sh
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -lt 1 ]; then
  echo "gpu_bundle.sh: name the folder to make" >&2
  exit 2
fi
folder=$1
build=${2:-${CLOCKWORK_BUILD:-$top/build}}
if [ ! -x "$build/worker" ]; then
  echo "gpu_bundle.sh: no worker in $build; run \`make build\` first" >&2
  exit 2
fi
programs='worker controller client compile_model check_model simulate'
tests='conformance_conformance_test_backend conformance_conformance_test_gpu_lost
  unit_backend_test_cuda_operations'
# `make build` makes neither tests nor benchmarks.
# shellcheck disable=SC2086
cmake --build "$build" --target $programs bench_cuda $tests >/dev/null

mkdir -p "$folder/build/lib" "$folder/build/bench" "$folder/build/tests"
for name in $programs; do
  cp "$build/$name" "$folder/build/"
done
cp "$build/bench/bench_cuda" "$folder/build/bench/"
for name in $tests; do
  cp "$build/tests/$name" "$folder/build/tests/"
done
find "$folder/build" -type f ! -path '*/lib/*' -exec ldd {} + |
  sed -n 's|.*=> \(/[^ ]*\) .*|\1|p' | sort -u |
  grep -Ev '/(libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+|ld-linux[^/]*)\.so' |
  while read -r library; do cp -L "$library" "$folder/build/lib/"; done
find "$folder/build" -type f ! -path '*/lib/*' -exec strip {} +
for name in bench experiments scripts zoo; do
  rm -rf "${folder:?}/$name"
  cp -r "$top/$name" "$folder/$name"
done
find "$folder" -name __pycache__ -type d -prune -exec rm -rf {} +
