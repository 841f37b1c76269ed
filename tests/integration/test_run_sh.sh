#!/bin/sh
# experiments/maf-exp-1-and-2/run.sh against a real sshd with throw-away keys: a client, a
# controller and six workers, each on a loopback address of its own as its machine; then process.py
# on what was gathered.
#
# CLOCKWORK_BUILD names the folder of the three programs. Exit 77: skipped. Nothing outlives the
# test, and nothing is written outside a temporary folder (as root also sshd's empty /run/sshd).
set -u

: "${CLOCKWORK_BUILD:?must name the build folder}"
python=${PYTHON:-/usr/bin/python3}
experiment=$(cd "$(dirname "$0")/../../experiments/maf-exp-1-and-2" && pwd) || exit 1

if ! sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd); then
    echo "skipped: sshd is not installed (Debian: openssh-server)"
    exit 77
fi

work=$(mktemp -d)
privsep=

finish() {
    [ ! -s "$work/sshd.pid" ] || kill "$(cat "$work/sshd.pid")"
    # where a check failed, run.sh and what it started may still be there: each has left its pid
    for file in "$work"/*/*/run.pid "$work"/*/*/*.pid; do
        name=${file%.pid}
        [ ! -s "$file" ] || [ -s "$name.exit" ] || ! is_ours "$(cat "$file")" ||
            kill "$(cat "$file")"
    done 2>/dev/null
    rm -rf "$work"
    [ -z "$privsep" ] || rmdir "$privsep" 2>/dev/null
}
# a pid that was used again belongs to something that does not mention our folder
is_ours() {
    grep -q "$work\|$CLOCKWORK_BUILD" "/proc/$1/environ" "/proc/$1/cmdline"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "FAILED: $*"
    for file in "$work"/master/*/run.log; do
        [ ! -e "$file" ] || { echo "--- $file" && cat "$file"; }
    done
    exit 1
}

# ports COUNT: free ones, different from each other
ports() {
    "$python" -c "
import socket
held = [socket.create_server(('127.0.0.1', 0)) for _ in range($1)]
print(*(one.getsockname()[1] for one in held))"
}

# Each address is a machine with its own disk: what comes over ssh names the master's folder and
# finds that machine's own in its place.  Where the file `one_disk` is, all share the master's.
start_sshd() {
    cat >"$work/machine.sh" <<END
set -- \$SSH_CONNECTION
[ ! -e "$work/one_disk" ] || exec sh -s
sed "s#$work/master#$work/\$3#g" | sh -s
END
    ssh-keygen -q -t ed25519 -N '' -f "$work/host_key"
    ssh-keygen -q -t ed25519 -N '' -f "$work/user_key"
    cat >"$work/sshd_config" <<END
Port $1
$(for number in 1 2 3 4 5 6 7 8; do echo "ListenAddress 127.0.65.$number"; done)
HostKey $work/host_key
AuthorizedKeysFile $work/user_key.pub
PidFile $work/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
MaxStartups 100
ForceCommand sh $work/machine.sh
END
    if [ "$(id -u)" = 0 ] && [ ! -d /run/sshd ]; then
        privsep=/run/sshd
        mkdir -m 755 $privsep
    fi
    "$sshd" -f "$work/sshd_config" -E "$work/sshd.log" || fail "sshd: $(cat "$work/sshd.log")"
    ssh_options="-F /dev/null -i $work/user_key -o IdentitiesOnly=yes -o BatchMode=yes
        -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR
        -o ConnectTimeout=10"
    ssh_port=$1
    export ssh_options ssh_port
}

# until_holds SECONDS COMMAND...: waits for it to hold, looking five times a second
poll_s=0.2
until_holds() {
    tries=$(($1 * 5))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep "$poll_s"
    done
}

has_exited() {
    [ "$(tail -n 1 "$logdir/run.log" 2>/dev/null)" = Exiting ]
}

has_started_all() {
    grep -q 'running for' "$logdir/run.log" 2>/dev/null
}

check_logs() {
    for log in "$@"; do
        [ -s "$logdir/$log" ] || fail "$logdir/$log was not gathered"
    done
}

run_log_says() {
    grep -q "$1" "$logdir/run.log" || fail "run.log should say: $1"
}

all_logs='client.log controller.log worker_1.log worker_2.log worker_3.log worker_4.log worker_5.log
    worker_6.log file=controller_1_request.tsv file=controller_1_action.tsv'

# A new logdir, new ports
begin() {
    echo "$1"
    logdir=$work/master/$2
    # shellcheck disable=SC2046  # words
    set -- $(ports 7)
    controller=127.0.65.2:$1
    workers="127.0.65.3:$2 127.0.65.4:$3 127.0.65.5:$4 127.0.65.6:$5 127.0.65.7:$6 127.0.65.8:$7"
    export logdir controller workers
}

whole_run() {
    begin "a whole run in the background, then its figures" whole
    timeout_duration=15s sh "$experiment/run_in_background.sh" || fail "run_in_background.sh: $?"
    until_holds 180 has_exited || fail "no end"
    # shellcheck disable=SC2086  # words
    check_logs $all_logs
    for status in "$logdir"/*.exit; do
        [ "$(cat "$status")" = 0 ] || fail "$status: $(cat "$status")"
    done
    [ ! -e "$work/127.0.65.2/whole/client.log" ] || fail "the machines share a folder"

    output=$work/figures
    "$python" "$experiment/process.py" -i "$logdir" -o "$output" -l 0 -b 1 || fail "process.py: $?"
    for figure in 9a_throughput 9b_timeseries_latency 9c_timeseries_batchsize \
        9d_timeseries_coldmodels 9e_timeseries_coldstarts 10_bl_infer_completion_error \
        10_br_load_completion_error 10_tl_infer_prediction_error 10_tr_load_prediction_error; do
        [ -s "$output/$figure.pdf" ] || fail "$figure.pdf is not there"
    done
    grep -q '^requests: [1-9]' "$output/summary.txt" || fail "no requests in the summary"
    grep -E '^(requests|slo_met_percent|latency_p99_ms|cold_starts):' "$output/summary.txt"
}

dying_worker() {
    begin "a worker that is killed ends the run early; all logs are gathered" dying
    mkdir -p "$logdir"
    timeout_duration=10m sh "$experiment/run.sh" >"$logdir/run.log" 2>&1 &
    run=$!
    until_holds 120 has_started_all || fail "no start"
    kill -KILL "$(cat "$work/127.0.65.5/dying/worker_3.pid")"
    ! wait $run || fail "run.sh exits with status 0"
    has_exited || fail "the last line is not Exiting"
    run_log_says 'ends early: worker_3 on 127.0.65.5'
    # shellcheck disable=SC2086  # words
    check_logs $all_logs
}

unreachable_machine() {
    begin "a machine that cannot be reached: what had been started is stopped and gathered" lost
    workers="${workers%% *} 127.0.65.99:12345"
    mkdir -p "$logdir"
    ! sh "$experiment/run.sh" >"$logdir/run.log" 2>&1 || fail "run.sh exits with status 0"
    has_exited || fail "the last line is not Exiting"
    run_log_says 'worker_2 on 127.0.65.99: could not be started'
    check_logs worker_1.log
    [ "$(cat "$logdir/worker_1.exit")" = 0 ] || fail "worker_1 did not end cleanly"
}

interrupted() {
    begin "SIG$1 to run.sh stops everything and gathers the logs" "interrupted$1"
    timeout_duration=10m sh "$experiment/run_in_background.sh" >/dev/null || fail "status $?"
    until_holds 120 has_started_all || fail "no start"
    kill "-$1" "$(cat "$logdir/run.pid")"
    until_holds 120 has_exited || fail "no end"
    run_log_says "got SIG$1"
    # shellcheck disable=SC2086  # words
    check_logs $all_logs
}

one_machine() {
    : >"$work/one_disk"
    interrupted INT
    [ ! -e "$work/127.0.65.2/interruptedINT" ] || fail "the machines do not share a folder"
    rm "$work/one_disk"
}

refused_configurations() {
    begin "configurations that cannot work are refused in one line" refused
    ! message=$(CLOCKWORK_BUILD='' sh "$experiment/run.sh" 2>&1) || fail "no CLOCKWORK_BUILD"
    [ "$message" != "${message#*CLOCKWORK_BUILD}" ] || fail "$message"
    ! message=$(timeout_duration=soon sh "$experiment/run_in_background.sh" 2>&1) || fail "soon"
    [ "$message" != "${message#*timeout_duration}" ] || fail "$message"
    logdir=$work/master/whole
    ! message=$(sh "$experiment/run.sh" 2>&1) || fail "a used logdir"
    [ "$message" != "${message#*earlier run}" ] || fail "$message"
}

export client=127.0.65.1
export worker_options='--backend emulated --listen {host}:{port}'
export controller_options='1 6 --listen {host}:{port}'
export client_options='azure 8 1 1.0 1'
export CLOCKWORK_BUILD
start_sshd "$(ports 1)"
whole_run
dying_worker
unreachable_machine
interrupted TERM
one_machine
refused_configurations
echo "passed"
