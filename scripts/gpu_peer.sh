#!/bin/sh
# Section 6.1's workload on this machine's first GPU, ours beside a server that a user would pick: 15
# ResNet50, 16 closed-loop clients of each, SLOs of 10 to 500 ms, the same model in tf32, dynamic
# batching on both sides, no pictures on the wire.
#
#   scripts/gpu_peer.sh [OUT]                (default out/peer-DATE)
#
# Runs where gpu_run.sh runs; the peer is Mosec with PyTorch and torchvision (bench/peer_mosec.py),
# from PyPI: mosec, with its own needs defspec, msgspec and offapi. Prints goodput side by side.
#
#   GPU_PEER_SECONDS  10                      of each SLO, ours; of all of them, the peer's
#   GPU_PEER_SLOS     10,25,50,100,250,500    in ms
#   GPU_PEER_TYPE     PRICED                  the controller's scheduler
#   GPU_PEER_PORT     13345                   the worker's; the controller's is one above
# Where there is no GPU it says "skipped: no CUDA device" and ends with 77.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build=${CLOCKWORK_BUILD:-$top/build}
out=${1:-$top/out/peer-$(date -u +%Y%m%d-%H%M%S)}
seconds=${GPU_PEER_SECONDS:-10}
slos=${GPU_PEER_SLOS:-10,25,50,100,250,500}
port=${GPU_PEER_PORT:-13345}
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >/dev/null 2>&1; then
  echo "skipped: no CUDA device"
  exit 77
fi
if [ ! -x "$build/worker" ]; then
  echo "gpu_peer.sh: no worker in $build; run \`make build\` first or set CLOCKWORK_BUILD" >&2
  exit 2
fi
mkdir -p "$out/models"
. "$top/scripts/gpu_programs.sh"

packages resnet50_v1b -o "$out/models"
# The workload asks for resnet50_v2 by name; torchvision's ResNet50 is the variety called v1b.
ln -sfn resnet50_v1b "$out/models/resnet50_v2"

export CLOCKWORK_MODEL_DIR="$out/models" CLOCKWORK_LOG_DIR="$out" CLOCKWORK_DISABLE_INPUTS=1
(ours worker --backend cuda --gpus 1 --pages 1000 --listen "127.0.0.1:$port") >"$out/worker.log" 2>&1 &
worker=$!
started="$worker"
until_says "$out/worker.log" 'listens on' 120 "$worker"
for slo in $(echo "$slos" | tr ',' ' '); do
  (ours controller "${GPU_PEER_TYPE:-PRICED}" "127.0.0.1:$port" --listen "127.0.0.1:$((port + 1))" \
    0 100 10000000 "$((slo * 1000000))") >"$out/controller-$slo.log" 2>&1 &
  controller=$!
  started="$controller $worker"
  until_says "$out/controller-$slo.log" 'listen' 30 "$controller"
  (ours client "127.0.0.1:$((port + 1))" comparison_experiment2 15 16 --slo-ms "$slo" \
    --duration "$seconds") >"$out/client-$slo.log" 2>&1 || tail -n 1 "$out/client-$slo.log" >&2
  started="$controller"
  stop
  started="$worker"
  echo "clockwork SLO $slo ms: $(grep -ho 'Throughput.*' "$out/client-$slo.log" | tail -n 1)"
done
stop

python3 "$top/bench/peer_mosec.py" --seconds "$seconds" --slos "$slos" 2>"$out/mosec.log" ||
  { grep -v '"INFO"' "$out/mosec.log" | tail -n 5 >&2; exit 1; }
