# Sourced by gpu_run.sh and gpu_peer.sh: our programs in the background, ended in order. Wants
# $build, $top and $out.

# A bundle brings its libraries; only our own programs are to see them.
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}"
ours() {
  program=$1
  shift
  LD_LIBRARY_PATH="$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$build/$program" "$@"
}

# packages WORDS...: what zoo/build.py makes of them; its Python must have onnx.
packages() {
  zoo_python=$build-venv/bin/python
  [ -x "$zoo_python" ] || zoo_python=python3
  (
    [ ! -d "$build/lib" ] || LD_LIBRARY_PATH="$build/lib:$LD_LIBRARY_PATH"
    "$zoo_python" "$top/zoo/build.py" "$@" --compiler "$build/compile_model" --precision tf32
  ) >"$out/zoo.log" 2>&1 || { tail -n 3 "$out/zoo.log" >&2; exit 1; }
}

started="" # pids, the last that was started first: it ends first
stop() {
  for pid in $started; do
    kill "$pid" 2>/dev/null || continue
    wait "$pid" || true
  done
  started=""
}
trap 'stop; exit 1' INT TERM
trap stop EXIT

# until_says FILE WORD SECONDS PID
until_says() {
  waited=0
  while ! grep -qi "$2" "$1"; do
    if ! kill -0 "$4" 2>/dev/null || [ "$waited" -ge "$3" ]; then
      echo "${0##*/}: not ready: $(tail -n 1 "$1")" >&2
      exit 1
    fi
    sleep 1
    waited=$((waited + 1))
  done
}
