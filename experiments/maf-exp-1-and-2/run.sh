#!/bin/sh
# Section 6.5, Figures 9 and 10: replays a day of function calls on six workers.  Run it on the
# master, from which every machine can be reached over ssh without a password.  README.md says more.
#
#   sh ./run.sh            runs the experiment; `sh ./run_in_background.sh` is the usual way
#   sh ./run.sh --logdir   checks the configuration and prints logdir
#
# Each variable can be changed here or set in the environment.
set -u

# Machines: HOST, or HOST:PORT where the process does not listen on its usual port
client=${client:-cluster01}
controller=${controller:-cluster02}
workers=${workers:-cluster03 cluster04 cluster05 cluster06 cluster07 cluster08}
username=${username:-$(id -un)}

# Created on every machine; at the end everything is gathered in it on the master
logdir=${logdir:-/local/clockwork/maf-exp-1-and-2/log/$(date +%Y-%m-%d-%H-%M-%S)}

# Eight hours, after about a quarter of an hour in which the workers load the models.
# 145m (two hours) is enough to see the trends.
timeout_duration=${timeout_duration:-505m}

# What follows the process's name, its type and its peers; {host} and {port} stand for its own
worker_options=${worker_options:-}
controller_options=${controller_options:-1 6} # generate_inputs max_gpus
client_options=${client_options:-azure 8}     # workload num_workers

ssh_port=${ssh_port:-}
ssh_options=${ssh_options:--o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15}
stop_seconds=${stop_seconds:-60} # from SIGTERM until a process is killed

# Inputs are made by the controller; telemetry goes where the other logs are
export CLOCKWORK_DISABLE_INPUTS="${CLOCKWORK_DISABLE_INPUTS:-1}"
export CLOCKWORK_LOG_DIR="$logdir"
# shellcheck disable=SC2034  # cluster.sh reads it
cluster_environment='CLOCKWORK_DISABLE_INPUTS CLOCKWORK_LOG_DIR CLOCKWORK_MODEL_DIR
    CLOCKWORK_CONFIG_FILE AZURE_TRACE_DIR'

# shellcheck source=experiments/common/cluster.sh
. "$(dirname "$0")/../common/cluster.sh"

refuse() {
    echo "run.sh: $*" >&2
    exit 2
}

check_configuration() {
    case ${CLOCKWORK_BUILD:-} in
        /*) ;;
        '') refuse "CLOCKWORK_BUILD is not set: path of the build folder, on all machines" ;;
        *) refuse "CLOCKWORK_BUILD=$CLOCKWORK_BUILD: must be an absolute path" ;;
    esac
    case $logdir in
        /*) ;;
        *) refuse "logdir=$logdir: must be an absolute path" ;;
    esac
    cluster_seconds "$timeout_duration" >/dev/null ||
        refuse "timeout_duration=$timeout_duration: must be a number with s, m, h or d behind it"
    cluster_seconds "$stop_seconds" >/dev/null || refuse "stop_seconds=$stop_seconds: not a number"
    [ -n "$(echo "$workers" | tr -d ', ')" ] || refuse "workers: names no machine"
    mkdir -p "$logdir" || refuse "logdir=$logdir: cannot be created; choose another"
    for file in "$logdir"/*.pid "$logdir"/file=controller_*; do
        case $file in
            */run.pid) ;;
            *) [ ! -e "$file" ] || refuse "logdir=$logdir: holds an earlier run; choose another" ;;
        esac
    done
}

start_all() {
    addresses='' number=0
    for worker in $(echo "$workers" | tr , ' '); do
        number=$((number + 1))
        cluster_start "worker_$number" "$worker" 12345 worker "$worker_options" || return 1
        addresses=$addresses${addresses:+,}$(cluster_host "$worker"):$(cluster_port "$worker" 12345)
    done
    cluster_start controller "$controller" 12346 controller \
        "INFER4 $addresses $controller_options" || return 1
    cluster_start client "$client" '' client \
        "$(cluster_host "$controller"):$(cluster_port "$controller" 12346) $client_options"
}

# The names that process.py looks for
name_telemetry() {
    for kind in request action; do
        if [ ! -e "$logdir/clockwork_${kind}_log.tsv" ]; then
            cluster_say "there is no $kind log from the controller"
            return 1
        fi
        mv "$logdir/clockwork_${kind}_log.tsv" "$logdir/file=controller_1_$kind.tsv" || return 1
    done
}

check_configuration
if [ "${1:-}" = --logdir ]; then
    echo "$logdir"
    exit
fi
[ $# -eq 0 ] || refuse "unknown argument '$1'; everything is configured by variables, see README.md"

status=0
cluster_begin || exit
start_all && cluster_say "running for $timeout_duration" && cluster_wait "$timeout_duration" ||
    status=1
cluster_end || status=1
if name_telemetry; then
    cluster_say "figures: python3 $(dirname "$0")/process.py -i $logdir -o $logdir"
else
    status=1
fi
echo Exiting
exit $status
