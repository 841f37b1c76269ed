# shellcheck shell=sh disable=SC2154,SC2016  # logdir comes before it; one script stands in quotes
# Functions that run on an experiment's machines.  cluster.sh sends this file over ssh to `sh -s`,
# after lines that set `logdir` and before one call; nothing of it is installed there.  POSIX sh
# on Linux.  Of each process NAME it keeps three files in logdir: NAME.log (what it prints),
# NAME.pid, and, once it has ended, NAME.exit (its exit status).

# start NAME PORT PROGRAM [ARGUMENT...]: returns once it listens on PORT ('': once it has a pid)
start() {
    name=$1 port=$2
    shift 2
    mkdir -p "$logdir" && cd "$logdir" || return 1
    if [ ! -x "$1" ]; then
        echo "$1 is not there or not executable"
        return 1
    fi
    rm -f "$name.pid" "$name.exit"
    # The parent stays to keep the exit status.  Its own session lets it outlive this connection.
    setsid sh -c '
        name=$1
        shift
        "$@" >"$name.log" 2>&1 </dev/null &
        echo $! >"$name.pid"
        wait $!
        echo $? >"$name.exit"
    ' sh "$name" "$@" >/dev/null 2>&1 </dev/null &
    # Five minutes: far more than any start takes, so that a machine that hangs is noticed.
    tries=1500
    until [ -s "$name.pid" ] && is_listening "$port"; do
        if [ -s "$name.exit" ]; then
            report_end
            return 1
        fi
        tries=$((tries - 1))
        if [ $tries -eq 0 ]; then
            echo "does not listen on port $port"
            return 1
        fi
        sleep 0.2
    done
}

# is_listening PORT: whether a TCP socket of this machine waits for connections on it
is_listening() {
    [ -z "$1" ] || grep -qs ": [0-9A-F]*:$(printf '%04X' "$1") 0*:0000 0A" \
        /proc/net/tcp /proc/net/tcp6
}

# watch NAME: returns when it has ended, for whatever reason
watch() {
    name=$1
    cd "$logdir" || return 1
    while is_running; do
        sleep 1
    done
    report_end
}

# stop NAME SECONDS: asks it to end and waits for that; kills it after SECONDS
stop() {
    name=$1
    tries=$(($2 * 5))
    # a start that failed may have left neither folder nor pid
    cd "$logdir" 2>/dev/null && [ -s "$name.pid" ] || return 0
    is_running || return 0
    kill -TERM "$(cat "$name.pid")"
    while is_running; do
        if [ $tries -eq 0 ]; then
            kill -KILL "$(cat "$name.pid")"
            echo "did not end within $2 s of SIGTERM and was killed"
            return 1
        fi
        tries=$((tries - 1))
        sleep 0.2
    done
    [ "$(cat "$name.exit" 2>/dev/null)" = 0 ] && return 0
    report_end
    return 1
}

# pack MARKER FILE...: those of the files that exist, as a tar archive on standard output; none
# where MARKER is seen, which the master left in its own logdir: it is this very folder.
pack() {
    marker=$1
    shift
    cd "$logdir" || return 1
    for file; do
        shift
        [ -e "$marker" ] || [ ! -e "$file" ] || set -- "$@" "$file"
    done
    if [ $# -gt 0 ]; then
        tar -cf - -- "$@"
    else
        tar -cf - -T /dev/null
    fi
}

# The pid is the process's own until NAME.exit is written: its parent has not yet waited for it.
is_running() {
    [ ! -s "$name.exit" ] && kill -0 "$(cat "$name.pid")" 2>/dev/null
}

report_end() {
    # the parent writes NAME.exit a moment after the process has gone
    [ -s "$name.exit" ] || sleep 1
    echo "ended with exit status $(cat "$name.exit" 2>/dev/null || echo unknown); its last line:" \
        "$(tail -n 1 "$name.log" 2>/dev/null)"
}
