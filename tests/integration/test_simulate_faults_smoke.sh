#!/bin/sh
# simulate_faults: runs with faults repeat, also in the builds beside this one (gcc, clang,
# sanitizers) and in any order; a timeline can be read; mistakes in the call are one line and exit 2.
#
# CLOCKWORK_BUILD names the build folder. That seeds find what they should: tests/planted.
set -u

: "${CLOCKWORK_BUILD:?must name the build folder}"
python=${PYTHON:-/usr/bin/python3}
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "FAILED: $*"
    [ ! -s "$work/err" ] || cat "$work/err"
    exit 1
}

# faults BUILD ARGUMENTS...
faults() {
    build=$1
    shift
    "$build/simulate_faults" "$@" 2>"$work/err"
}

# value KEY FILE
value() {
    sed -n "s/^$1: //p" "$2"
}

# --- the same run, whoever built it ---------------------------------------------------------------

faults "$CLOCKWORK_BUILD" --seeds 1..8 --quiet >"$work/first" || fail "$(cat "$work/first")"
faults "$CLOCKWORK_BUILD" --seeds 1..8 --quiet --jobs 3 >"$work/second" || fail "exit code $?"
hash=$(value trace_hash "$work/first")
[ -n "$hash" ] || fail "no trace_hash"
cmp -s "$work/first" "$work/second" || fail "three at once gave other runs than one after another"
tail -n 1 "$work/first" | grep -q '^8 passed, 0 failed, 0 skipped$' || fail "8 seeds are not counted"

# A seed alone is the seed among others, and faults make a difference.
faults "$CLOCKWORK_BUILD" --seeds 3..4 >"$work/two" || fail "exit code $?"
faults "$CLOCKWORK_BUILD" --seed 4 >"$work/one" || fail "exit code $?"
grep -q -F "$(grep '^seed 4: ' "$work/one")" "$work/two" || fail "seed 4 alone is another run"
grep -q '^fault: ' "$work/one" || fail "--seed does not print its plan"
faults "$CLOCKWORK_BUILD" --seed 4 --no-faults >"$work/none" || fail "exit code $?"
[ "$(value trace_hash "$work/one")" != "$(value trace_hash "$work/none")" ] ||
    fail "faults made no difference"

base=${CLOCKWORK_BUILD%-asan}
base=${base%-tsan}
compared=0
for build in "$base" "$base-asan" "$base-tsan"; do
    # One that is older than this one is of other sources.
    if [ "$build" = "$CLOCKWORK_BUILD" ] || [ ! -x "$build/simulate_faults" ] ||
        [ -n "$(find "$root/src" -name '*.[ch]' -newer "$build/simulate_faults" | head -n 1)" ]; then
        continue
    fi
    faults "$build" --seeds 1..8 --quiet >"$work/beside" || fail "exit code $? of $build"
    cmp -s "$work/first" "$work/beside" || fail "$build gave other runs"
    compared=$((compared + 1))
done
echo "trace_hash $hash, the same in this build and $compared beside it"

# --- faults by hand, and their timeline -----------------------------------------------------------

faults "$CLOCKWORK_BUILD" --seed 2 --timeline "$work/trace.json" --fault 'crash worker=1 at=9 for=2' \
    --fault 'slow worker=0 gpu=0 amount=2000 at=8.5 for=1' >"$work/told" || fail "exit code $?"
[ "$(grep -c '^fault: ' "$work/told")" -eq 2 ] || fail "--fault does not replace the seed's faults"
"$python" "$root/tests/integration/timeline.py" "$work/trace.json" \
    "$(value workers "$work/told")" "$(value gpus_per_worker "$work/told")" 2 2>"$work/err" ||
    fail "the timeline"

# --- mistakes ---------------------------------------------------------------------------------------

# refused WORD-IN-THE-LINE ARGUMENTS...
refused() {
    word=$1
    shift
    faults "$CLOCKWORK_BUILD" "$@" >"$work/out.txt"
    code=$?
    [ "$code" -eq 2 ] || fail "simulate_faults $*: exit code $code instead of 2"
    [ "$(wc -l <"$work/err")" -eq 1 ] || fail "simulate_faults $*: more or less than one line"
    grep -q -e "$word" "$work/err" || fail "simulate_faults $*: the line does not name $word"
}

refused --seeds --seeds 5
refused --seeds --seeds 5..1
refused --seeds --seeds 1..x
refused --seed --seed -1
refused --jobs --jobs 0
refused "infer4, priced" --policy nosuch
refused --timeline --seeds 1..2 --timeline "$work/x"
refused nosuch --seed 1 --fault nosuch
refused worker --seed 1 --fault 'crash worker=9'
refused at=x --seed 1 --fault 'crash at=x'
refused colour --seed 1 --fault 'crash colour=1'
refused within --seed 1 --fault 'crash at=16 for=9'
refused amount --seed 1 --fault 'slow amount=10'
refused /dev/null --seed 1 --quiet --timeline /dev/null/x
refused --nosuch --nosuch
refused word word

"$CLOCKWORK_BUILD/simulate_faults" -h >"$work/help" || fail "exit code $? of -h"
grep -q partition "$work/help" || fail "-h does not name the kinds of fault"

echo "passed"
