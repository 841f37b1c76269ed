#!/bin/sh
# plan: finds the number of GPUs below which a small workload misses its SLO, says the same again, and
# its trials can be drawn; what cannot be planned is one line and exit 2.
#
# CLOCKWORK_BUILD names the build folder. The unit tests of src/simulator look inside.
set -u

: "${CLOCKWORK_BUILD:?must name the build folder}"
python=${PYTHON:-/usr/bin/python3}
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
unset AZURE_TRACE_DIR

fail() {
    echo "FAILED: $*"
    [ ! -s "$work/err" ] || cat "$work/err"
    exit 1
}

# An SLO that leaves no time for large batches.
plan() {
    "$CLOCKWORK_BUILD/plan" --hours 0.01 --window 4 --verify 8 --leadin 2 --target 99 \
        --workload "poisson-open-loop 4 1100" --slo-ms 20 "$@" 2>"$work/err"
}

# value KEY FILE
value() {
    sed -n "s/^$1: //p" "$2"
}

plan --csv "$work/trials.csv" >"$work/first" || fail "exit code $? of a plain run"
plan >"$work/second" || fail "exit code $? of a second run"
gpus=$(value gpus "$work/first")
[ "$gpus" = "$(value gpus "$work/second")" ] || fail "the same seed gave two answers"
[ "$gpus" -gt 1 ] || fail "one GPU was enough: the run tests too little"
awk -F, -v gpus="$gpus" '$1 == "search" && $2 >= gpus && !$7 { bad = 1 }
    $1 == "search" && $2 == gpus - 1 && !$7 { edge = 1 }
    END { exit !(edge && !bad) }' "$work/trials.csv" || fail "no trial shows that one less is too few"
awk -F, -v gpus="$gpus" '$1 == "verify" && $2 == gpus && $7 && $8 >= 99 { found = 1 }
    END { exit !found }' "$work/trials.csv" || fail "the answer was not verified"
grep -q '^curve,' "$work/trials.csv" || fail "no curve"
"$python" "$root/experiments/plan/plot.py" "$work/trials.csv" "$work/figure.png" --target 99 \
    2>"$work/err" || fail "the trials can't be drawn"
[ -s "$work/figure.png" ] || fail "an empty figure"

# refused EXIT TEXT OPTIONS...: exit code, and one line with the text
refused() {
    code=$1
    text=$2
    shift 2
    plan "$@" >"$work/out"
    [ $? -eq "$code" ] || fail "not exit $code: $*"
    [ "$(grep -vc '^plan: [a-z]*: [0-9]* GPUs: ' "$work/err")" -eq 1 ] || fail "not one line: $*"
    grep -q -- "$text" "$work/err" || fail "no '$text': $*"
}

refused 2 "answers" --workload simple
refused 2 "--target" --target 101
refused 2 "--verify" --verify 1
refused 2 "--leadin" --leadin 5
refused 2 "needs a value" --csv
refused 2 "--hours" --hours 0.0001
refused 2 "plan -h" --nonsense
refused 2 "infer4, priced" --policy nosuch
refused 2 "--csv" --csv "$work/no/such/folder/trials.csv"
refused 1 "--most" --most 2

echo "$gpus GPUs"
