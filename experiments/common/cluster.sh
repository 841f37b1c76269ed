# shellcheck shell=sh disable=SC2154  # the variables named below come from run.sh
# Starts, watches and stops processes on several machines over ssh, and brings their logs home.
# POSIX sh, to be sourced by an experiment's run.sh, which uses:
#
#   cluster_begin              after the variables below are set
#   cluster_start NAME HOST[:PORT] DEFAULT_PORT PROGRAM OPTIONS     may fail
#   cluster_wait DURATION      returns early when a process ends or a signal comes; then fails
#   cluster_end                stops what was started, last first, and gathers its logs; may fail
#
# Variables: CLOCKWORK_BUILD, logdir, username, ssh_port, ssh_options, stop_seconds, and
# cluster_environment, the names of the variables that processes get, where they are set.
# Nothing here ends a process but by its own pid, and one unreachable machine keeps no other
# from being stopped and gathered.

cluster_say() {
    printf '%s %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$*"
}

# A word that the shell reads back as exactly this text
cluster_quote() {
    printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

cluster_host() {
    printf '%s' "${1%%:*}"
}

# cluster_port HOST[:PORT] DEFAULT
cluster_port() {
    case $1 in
        *:*) printf '%s' "${1#*:}" ;;
        *) printf '%s' "$2" ;;
    esac
}

# cluster_seconds DURATION: 90, 90s, 145m, 8h or 1d as seconds; fails for anything else
cluster_seconds() {
    case $1 in
        *s) set -- "${1%s}" 1 ;;
        *m) set -- "${1%m}" 60 ;;
        *h) set -- "${1%h}" 3600 ;;
        *d) set -- "${1%d}" 86400 ;;
        *) set -- "$1" 1 ;;
    esac
    case $1 in
        '' | *[!0-9]* | 0[0-9]*) return 1 ;;
    esac
    echo $(($1 * $2))
}

cluster_begin() {
    cluster_state=$(mktemp -d) || return 1
    cluster_library=$(dirname "$0")/../common/remote.sh
    cluster_processes='' # NAME=HOST each, the one started last in front
    cluster_watchers=''
    cluster_signal=''
    cluster_marker=.master-$$-$(date +%s)
    trap 'cluster_signal=${cluster_signal:-HUP}' HUP
    trap 'cluster_signal=${cluster_signal:-INT}' INT
    trap 'cluster_signal=${cluster_signal:-TERM}' TERM
    : >"$logdir/$cluster_marker"
}

# cluster_script FUNCTION [ARGUMENT...]: what a machine's shell shall read
cluster_script() {
    echo "logdir=$(cluster_quote "$logdir")"
    for variable in $cluster_environment; do
        eval "[ -z \"\${$variable+set}\" ]" && continue
        eval "echo \"export $variable=\$(cluster_quote \"\$$variable\")\""
    done
    cat "$cluster_library"
    for word; do
        cluster_quote "$word"
        printf ' '
    done
    echo
}

# cluster_ssh HOST: replaces this shell; the machine's shell reads standard input
cluster_ssh() {
    # shellcheck disable=SC2086  # options are words
    exec ssh -T $ssh_options ${ssh_port:+-p "$ssh_port"} "${username:+$username@}$1" 'sh -s'
}

# cluster_on HOST FUNCTION [ARGUMENT...]: 255 where the machine cannot be reached
cluster_on() {
    cluster_on_host=$1
    shift
    cluster_script "$@" | (cluster_ssh "$cluster_on_host")
}

cluster_start() {
    name=$1 host=$(cluster_host "$2") port=$(cluster_port "$2" "$3") program=$4
    [ -z "$cluster_signal" ] || return 1
    options=$(printf '%s' "$5" | sed "s/{host}/$host/g; s/{port}/$port/g")
    cluster_say "starting $name on $host: $program $options"
    # Before it runs, so that a start that was cut off is stopped and gathered as well
    cluster_processes="$name=$host $cluster_processes"
    # shellcheck disable=SC2086  # options are words
    if ! cluster_on "$host" start "$name" "$port" "$CLOCKWORK_BUILD/$program" $options \
        >"$cluster_state/answer" 2>&1; then
        cluster_say "$name on $host: could not be started:" "$(cat "$cluster_state/answer")"
        return 1
    fi
    cluster_watch &
    cluster_watchers="$cluster_watchers $!"
}

# In the background: leaves a line in the state folder when the process started last has ended.
# The connection costs the machine nothing while it stands; when it breaks, it is made anew, and
# a machine that cannot be reached three times in a row counts as lost.
cluster_watch() {
    script=$cluster_state/$name.script
    answer=$cluster_state/$name.answer
    cluster_script watch "$name" >"$script"
    trap 'kill "$connection" 2>/dev/null; exit' TERM
    failures=0
    while [ $failures -lt 3 ]; do
        began=$(date +%s)
        cluster_ssh "$host" <"$script" >"$answer" 2>&1 &
        connection=$!
        if wait "$connection"; then
            break
        fi
        [ $(($(date +%s) - began)) -lt 120 ] || failures=0
        failures=$((failures + 1))
        sleep 2
    done
    # complete at once: the other shell may look at any time
    [ -s "$answer" ] || echo "cannot be reached" >"$answer"
    echo "$name on $host: $(cat "$answer")" >"$cluster_state/ending"
    mv "$cluster_state/ending" "$cluster_state/$name.ended"
}

cluster_wait() {
    end=$(($(date +%s) + $(cluster_seconds "$1")))
    while [ "$(date +%s)" -lt $end ]; do
        if [ -n "$cluster_signal" ]; then
            cluster_say "got SIG$cluster_signal"
            return 1
        fi
        for file in "$cluster_state"/*.ended; do
            if [ -e "$file" ]; then
                cluster_say "ends early: $(cat "$file")"
                return 1
            fi
        done
        sleep 1
    done
}

# cluster_gather NAME HOST [FILE...]: its files, and those named, into logdir
cluster_gather() {
    name=$1 host=$2
    shift 2
    rm -f "$cluster_state/failed"
    {
        cluster_on "$host" pack "$cluster_marker" "$name.log" "$name.pid" "$name.exit" "$@" ||
            : >"$cluster_state/failed"
    } | tar -xf - -C "$logdir" 2>"$cluster_state/answer" || return 1
    [ ! -e "$cluster_state/failed" ]
}

# Telemetry is that of the process called `controller`.
cluster_end() {
    cluster_status=0
    for process in $cluster_processes; do
        name=${process%%=*} host=${process#*=}
        cluster_say "stopping $name on $host"
        if ! cluster_on "$host" stop "$name" "$stop_seconds" >"$cluster_state/answer" 2>&1; then
            cluster_say "$name on $host: $(cat "$cluster_state/answer")"
            cluster_status=1
        fi
    done
    for watcher in $cluster_watchers; do
        kill "$watcher" 2>/dev/null
    done
    for process in $cluster_processes; do
        name=${process%%=*} host=${process#*=}
        cluster_say "gathering the logs of $name from $host"
        set --
        if [ "$name" = controller ]; then
            set -- clockwork_request_log.tsv clockwork_action_log.tsv
        fi
        if ! cluster_gather "$name" "$host" "$@"; then
            cluster_say "$name on $host: its logs could not be gathered"
            cluster_status=1
        fi
    done
    rm -rf "$cluster_state" "${logdir:?}/$cluster_marker"
    return $cluster_status
}
