#!/bin/sh
# Runs run.sh detached from this terminal, its output in {logdir}/run.log; returns at once.
# The experiment is over when run.log's last line is `Exiting`.
here=$(cd "$(dirname "$0")" && pwd) || exit
logdir=$(sh "$here/run.sh" --logdir) || exit
export logdir

# A shell starts background jobs with SIGINT ignored, for good; where env can undo that, an
# interrupt ends the experiment as cleanly as SIGTERM does.
restore=
if env --default-signal=INT true 2>/dev/null; then
    restore='env --default-signal=INT'
fi
# shellcheck disable=SC2086  # words
nohup $restore sh "$here/run.sh" >"$logdir/run.log" 2>&1 </dev/null &
echo $! >"$logdir/run.pid"

echo "The experiment runs in the background. Progress: tail -f '$logdir/run.log'"
echo "To end it early, logs gathered: kill $!"
