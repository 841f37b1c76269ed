#!/bin/sh
# The experiment of section 6.5 on this machine's GPUs: worker, controller and client, a trace at an
# SLO of 100 ms, then the nine graphs.
#
#   scripts/gpu_run.sh [OUT]                 (default out/gpu-DATE)
#
# Runs in a clone (after `make build setup-zoo`) or in a folder made by gpu_bundle.sh, on a machine that
# has a GPU, cuDNN and Python with numpy, pandas and matplotlib, in a bundle also with onnx: packages that
# lack in GPU_RUN_ZOO are made.
# What it leaves in OUT: both telemetry files, the graphs, summary.txt, the programs' logs.
#
#   GPU_RUN_SECONDS             480     how long requests are sent
#   GPU_RUN_GPUS                all     how many GPUs
#   GPU_RUN_TYPE                INFER4  the controller's scheduler
#   GPU_RUN_LOAD_FACTOR         1.0     of azure; 1.0 is what V100s can do, an H100 does several times that
#   GPU_RUN_MEMORY_LOAD_FACTOR  2       1, 2, 3, 4: about 200, 800, 1,800, 4,000 instances
#   GPU_RUN_PAGES               3600    of 16 MiB on each GPU; the rest of its memory holds the graphs
#   GPU_RUN_ZOO                 build/zoo-tf32, where the packages of the 61 varieties are or go
#   GPU_RUN_PORT                12345   the worker's; the controller's is one above
# Where there is no GPU it says "skipped: no CUDA device" and ends with 77.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build=${CLOCKWORK_BUILD:-$top/build}
out=${1:-$top/out/gpu-$(date -u +%Y%m%d-%H%M%S)}
seconds=${GPU_RUN_SECONDS:-480}
zoo=${GPU_RUN_ZOO:-$build/zoo-tf32}
port=${GPU_RUN_PORT:-12345}
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >/dev/null 2>&1; then
  echo "skipped: no CUDA device"
  exit 77
fi
if [ ! -x "$build/worker" ]; then
  echo "gpu_run.sh: no worker in $build; run \`make build\` first or set CLOCKWORK_BUILD" >&2
  exit 2
fi
mkdir -p "$out"
. "$top/scripts/gpu_programs.sh"

echo "packages: $zoo"
packages seed -o "$zoo"

export CLOCKWORK_MODEL_DIR="$zoo" CLOCKWORK_LOG_DIR="$out" CLOCKWORK_DISABLE_INPUTS=1
(ours worker --backend cuda ${GPU_RUN_GPUS:+--gpus "$GPU_RUN_GPUS"} \
  --pages "${GPU_RUN_PAGES:-3600}" --listen "127.0.0.1:$port") >"$out/worker.log" 2>&1 &
worker=$!
started="$worker"
until_says "$out/worker.log" 'listens on' 120 "$worker"
(ours controller "${GPU_RUN_TYPE:-INFER4}" "127.0.0.1:$port" \
  --listen "127.0.0.1:$((port + 1))") >"$out/controller.log" 2>&1 &
controller=$!
started="$controller $worker"
until_says "$out/controller.log" 'listen' 30 "$controller"
gpus=${GPU_RUN_GPUS:-$(nvidia-smi -L | wc -l)}
(ours client "127.0.0.1:$((port + 1))" azure "$gpus" 1 "${GPU_RUN_LOAD_FACTOR:-1.0}" \
  "${GPU_RUN_MEMORY_LOAD_FACTOR:-2}" --duration "$seconds") >"$out/client.log" 2>&1 &
client=$!
started="$client $controller $worker"
until_says "$out/client.log" 'replaying' 900 "$client"
grep -h 'instances in' "$out/client.log"
echo "replaying for $seconds s"
wait "$client"
started="$controller $worker"
stop
python3 "$top/experiments/maf-exp-1-and-2/process.py" -i "$out" -o "$out" -l 10 -b 5
cat "$out/summary.txt"
