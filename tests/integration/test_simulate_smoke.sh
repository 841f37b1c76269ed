#!/bin/sh
# simulate: same seed, same run, also in the builds beside this one (gcc, clang, sanitizers); the two
# telemetry files agree with the summary, and with process.py's; mistakes in the call are one line
# and exit 2.
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

# Everything at once: cold starts, overload, noise, clocks that are off and that change, inputs.
simulate() {
    build=$1
    shift
    "$build/simulate" --quiet --seconds 20 --workers 3 --functions 500 --pages 200 \
        --workload "azure 3 1 300 3" --generate-inputs --skew-us 1e6 --drift-ppm 100 \
        --clock-change 3 "$@" 2>"$work/err"
}

# value KEY FILE
value() {
    sed -n "s/^$1: //p" "$2"
}

# --- the same run, whoever built it ---------------------------------------------------------------

simulate "$CLOCKWORK_BUILD" >"$work/first" || fail "exit code $? of a plain run"
simulate "$CLOCKWORK_BUILD" >"$work/second" || fail "exit code $? of a second run"
simulate "$CLOCKWORK_BUILD" --seed 2 >"$work/other" || fail "exit code $? with another seed"
hash=$(value trace_hash "$work/first")
[ -n "$hash" ] || fail "no trace_hash in the summary"
[ "$(value trace_hash "$work/second")" = "$hash" ] || fail "the same seed gave two runs"
[ "$(value trace_hash "$work/other")" != "$hash" ] || fail "another seed gave the same run"
[ "$(value cold_starts "$work/first")" -gt 100 ] || fail "no cold starts: the run tests too little"
[ "$(value result_4 "$work/first")" -gt 100 ] || fail "no overload: the run tests too little"

base=${CLOCKWORK_BUILD%-asan}
base=${base%-tsan}
compared=0
for build in "$base" "$base-asan" "$base-tsan"; do
    # One that is older than this one is of other sources.
    if [ "$build" = "$CLOCKWORK_BUILD" ] || [ ! -x "$build/simulate" ] ||
        [ -n "$(find "$root/src" -name '*.[ch]' -newer "$build/simulate" | head -n 1)" ]; then
        continue
    fi
    simulate "$build" >"$work/beside" || fail "exit code $? of $build"
    [ "$(value trace_hash "$work/beside")" = "$hash" ] || fail "$build gave another run"
    compared=$((compared + 1))
done
echo "trace_hash $hash, the same in this build and $compared beside it"

# --- telemetry --------------------------------------------------------------------------------------

simulate "$CLOCKWORK_BUILD" --out "$work/out" >"$work/told" || fail "exit code $? with --out"
[ "$(value trace_hash "$work/told")" = "$hash" ] || fail "telemetry changed the run"
cmp -s "$work/told" "$work/out/summary.txt" || fail "summary.txt is not what was printed"
requests=$(value requests "$work/told")
[ "$(wc -l <"$work/out/clockwork_request_log.tsv")" -eq $((requests + 1)) ] ||
    fail "clockwork_request_log.tsv does not have $requests rows"
"$python" "$root/experiments/maf-exp-1-and-2/process.py" -i "$work/out" -o "$work/processed" -l 0 \
    --no-overview 2>"$work/err" || fail "process.py does not read the telemetry"
for key in requests duration_s goodput_rps slo_met_percent result_0 result_4 cold_starts mean_batch \
    infer_actions load_actions; do
    told=$(value $key "$work/told")
    [ "$(value $key "$work/processed/summary.txt")" = "$told" ] ||
        fail "$key: $told here, $(value $key "$work/processed/summary.txt") by process.py"
done
# Quantiles come from histograms here and there, whose bins differ.
for key in infer_prediction_error_p99_percent load_prediction_error_p50_percent \
    load_prediction_error_p99_percent; do
    echo "$(value $key "$work/told") $(value $key "$work/processed/summary.txt")" |
        awk '{ off = $1 - $2; exit !($1 > 0 && $2 > 0 && off * off <= (0.02 * $2) ^ 2) }' ||
        fail "$key: $(value $key "$work/told") here, $(value $key "$work/processed/summary.txt") by process.py"
done

simulate "$CLOCKWORK_BUILD" --out "$work/columns" --columns >"$work/told" || fail "exit code $? with --columns"
[ "$(value trace_hash "$work/told")" = "$hash" ] || fail "telemetry in columns changed the run"
"$python" "$root/experiments/maf-exp-1-and-2/process.py" -i "$work/columns" -o "$work/columns-processed" \
    -l 0 --no-overview 2>"$work/err" || fail "process.py does not read the columns"
diff -r "$work/processed" "$work/columns-processed" >"$work/err" ||
    fail "process.py finds another run in the columns"

simulate "$CLOCKWORK_BUILD" --out "$work/bare" --no-telemetry >/dev/null || fail "exit code $?"
[ "$(ls "$work/bare")" = summary.txt ] || fail "--no-telemetry wrote more than summary.txt"

# --- mistakes ---------------------------------------------------------------------------------------

# refused WORD-IN-THE-LINE ARGUMENTS...
refused() {
    word=$1
    shift
    "$CLOCKWORK_BUILD/simulate" "$@" >"$work/out.txt" 2>"$work/err"
    code=$?
    [ "$code" -eq 2 ] || fail "simulate $*: exit code $code instead of 2"
    [ "$(wc -l <"$work/err")" -eq 1 ] || fail "simulate $*: more or less than one line"
    grep -q -e "$word" "$work/err" || fail "simulate $*: the line does not name $word"
    [ ! -s "$work/out.txt" ] || fail "simulate $*: printed to standard output"
}

printf 'model\tinput_bytes\n' >"$work/bad.tsv"
refused --workers --workers 0
refused --workers --workers x
refused --gpus --workers 16384 --gpus 256
refused --seconds --seconds 0
refused --seconds --seconds -1
refused --seconds --seconds
refused --leadin --seconds 5 --leadin 5
refused --hours --hours 0
refused --out --seconds 1 --columns
refused --out --seconds 1 --no-telemetry
refused --columns --seconds 1 --columns --no-telemetry --out "$work/x"
refused --out --seconds 1 --out ""
refused "no request" --seconds 5 --workload "poisson-open-loop 1 0.01"
refused 'infer4, priced' --policy nosuch
refused nosuch --workload nosuch
refused azure --workload "azure 8 7"
refused --workload --workload ""
refused bad.tsv --profile "$work/bad.tsv"
refused nosuch.tsv --profile "$work/nosuch.tsv"
refused --drift-ppm --drift-ppm 1001
refused --nosuch --nosuch
refused azure azure 8
refused /dev/null --seconds 1 --quiet --workload simple --out /dev/null/x
AZURE_TRACE_DIR="$work/nosuch"
export AZURE_TRACE_DIR
refused AZURE_TRACE_DIR --workload "azure 8"
unset AZURE_TRACE_DIR

"$CLOCKWORK_BUILD/simulate" -h >"$work/help" || fail "exit code $? of -h"
grep -q -- --latency-us "$work/help" || fail "-h does not name --latency-us"
grep -q poisson-open-loop "$work/help" || fail "-h does not name the workloads"
grep -q '^  priced  *[a-z]' "$work/help" || fail "-h does not say what the policies are"

simulate "$CLOCKWORK_BUILD" --policy priced >"$work/first" || fail "exit code $? with --policy priced"
simulate "$CLOCKWORK_BUILD" --policy PRICED >"$work/second" || fail "exit code $? with --policy PRICED"
[ "$(value trace_hash "$work/first")" = "$(value trace_hash "$work/second")" ] ||
    fail "--policy PRICED is another run than --policy priced"

echo "passed"
