#!/bin/sh
# What can only be checked on a machine with an NVIDIA GPU, in one run:
#
#   scripts/gpu_check.sh [BUILD] [PACKAGE...]
#
# The conformance suite, every operation against its reference, the latter once more under
# compute-sanitizer, the packages' answers against the CPU backend's, then their timings and those of
# PyTorch for its ResNet50 in the same run. GPU_CHECK_PRECISION (default tf32) is the packages'; for fp16,
# GPU_CHECK_REFERENCE names a folder with the same models' fp32 packages, which the CPU runs fast.
# Writes all of it into bench/results/cuda-DATE.txt, beside the card, the driver and the commit, and
# ends with 1 if a check failed. BUILD is the folder with the programs (default CLOCKWORK_BUILD, build): of
# a clone, after `make build` and `cmake --build build`, or of a folder made by gpu_bundle.sh.
# GPU_CHECK_RESULTS names another folder for the file.
# Where there is no GPU it says "skipped: no CUDA device" and ends with 77.
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-${CLOCKWORK_BUILD:-$top/build}}
[ $# -gt 0 ] && shift
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >/dev/null 2>&1; then
  echo "skipped: no CUDA device"
  exit 77
fi

results=${GPU_CHECK_RESULTS:-$top/bench/results}
mkdir -p "$results"
file=$results/cuda-$(date -u +%Y-%m-%d).txt
failures=0

# A function of this script cannot be given to timeout; what it calls ends by itself.
within() {
  case $1 in
    numerics) "$@" ;;
    *) timeout 300 "$@" ;;
  esac
}

# check NAME COMMAND...: the end of its output goes into the file, its status counts.
check() {
  name=$1
  shift
  echo "== $name" >>"$file"
  log=$(mktemp)
  if within "$@" >"$log" 2>&1; then
    outcome=passed
    # There is a GPU here: a test that saw none has tested nothing.
    if grep -q 'skipped: no CUDA device' "$log"; then
      outcome='FAILED: CUDA sees no device'
      failures=$((failures + 1))
    elif grep -q '^skipped: ' "$log"; then
      outcome=$(grep -m 1 '^skipped: ' "$log")
    fi
  else
    outcome=FAILED
    failures=$((failures + 1))
  fi
  grep -v 'OK \]\|RUN  ' "$log" | tail -n 70 >>"$file"
  echo "$name: $outcome" | tee -a "$file"
  rm -f "$log"
}

commit=$(git -C "$top" rev-parse --short HEAD 2>/dev/null || echo unknown)
{
  echo "# $(date -u +%Y-%m-%d), commit $commit: scripts/gpu_check.sh $*"
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader
} >>"$file"

# bench_cuda answers one made-up request with each package, check_model the same on the CPU.
numerics() {
  work=$(mktemp -d)
  python3 -c "
import numpy
numpy.random.default_rng(1).standard_normal(300000, dtype=numpy.float32).tofile('$work/in')" &&
    "$build/bench/bench_cuda" --runs 0 --profile "$work/profile.tsv" --input "$work/in" \
      --output "$work/out" "$@" &&
    python3 "$top/scripts/gpu_numerics.py" --precision "${GPU_CHECK_PRECISION:-tf32}" \
      ${GPU_CHECK_REFERENCE:+--reference "$GPU_CHECK_REFERENCE"} "$build" \
      "$work/profile.tsv" "$work/in" "$work/out" "$@"
  status=$?
  rm -rf "$work"
  return "$status"
}

# A bundle brings its libraries, which only our own programs are to see.
theirs=${LD_LIBRARY_PATH:-}
[ ! -d "$build/lib" ] || export LD_LIBRARY_PATH="$build/lib${theirs:+:$theirs}"

check conformance "$build/tests/conformance_conformance_test_backend"
check 'loss of every GPU' "$build/tests/conformance_conformance_test_gpu_lost"
check operations "$build/tests/unit_backend_test_cuda_operations"
if command -v compute-sanitizer >/dev/null; then
  check 'operations, memcheck' compute-sanitizer --tool memcheck --error-exitcode 1 \
    "$build/tests/unit_backend_test_cuda_operations"
else
  echo 'operations, memcheck: skipped: no compute-sanitizer' | tee -a "$file"
fi
[ $# -eq 0 ] || check numerics numerics "$@"
for package in "$@"; do
  check "timings of $package" "$build/bench/bench_cuda" "$package"
done
check 'timings of PyTorch' env LD_LIBRARY_PATH="$theirs" python3 "$top/bench/cuda_peers.py"

echo "$failures failed; see $file"
[ "$failures" -eq 0 ]
