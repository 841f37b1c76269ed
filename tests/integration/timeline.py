#!/usr/bin/python3
"""Checks a trace of simulate_faults --timeline as a viewer would read it.

    timeline.py FILE WORKERS GPUS FAULTS

One line for the first thing that is wrong, and exit code 1.
"""

import json
import sys
from collections import Counter

ENGINES = ["load", "input", "execute", "output"]


def fail(message):
    sys.exit(f"timeline: {message}")


def check_event(event):
    for key in ("ph", "ts", "pid", "tid", "name"):
        if key not in event:
            fail(f"an event lacks {key}: {event}")
    if event["ph"] not in "XibeCM":
        fail(f"phase {event['ph']} is none of those written: {event}")
    if event["ph"] == "X" and not event.get("dur", -1) >= 0:
        fail(f"a slice without a duration: {event}")
    if event["ph"] in "be" and "id" not in event:
        fail(f"an asynchronous event without an id: {event}")
    if event["ph"] == "i" and event.get("s") not in ("g", "p", "t"):
        fail(f"an instant without a scope: {event}")


def check_tracks(events, workers, gpus):
    """Each engine has a track with a name, on which one thing runs at a time."""
    names = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in events
        if event["ph"] == "M" and event["name"] == "thread_name"
    }
    wanted = [f"GPU {gpu} {engine}" for gpu in range(gpus) for engine in ENGINES]
    if sorted(names.values()) != sorted(wanted * workers):
        fail(f"tracks are {sorted(names.values())}")
    slices = {}
    for event in events:
        if event["ph"] == "X" and event["cat"] in ENGINES:
            track = (event["pid"], event["tid"])
            if not names.get(track, "").endswith(event["cat"]):
                fail(f"a slice of {event['cat']} on the track {names.get(track)}")
            slices.setdefault(track, []).append((event["ts"], event["ts"] + event["dur"]))
    for track, spans in slices.items():
        spans.sort()
        for (_, end), (begin, _) in zip(spans, spans[1:]):
            if begin < end - 0.01:  # microseconds, written with three decimals
                fail(f"two things run at once on {names[track]}, at {begin}")
    return sum(map(len, slices.values()))


def check_pairs(events, category):
    """Each begin has its end, and no end comes first."""
    begun = set()
    pairs = 0
    for event in events:
        if event.get("cat") != category or event["ph"] not in "be":
            continue
        if event["ph"] == "b":
            if event["id"] in begun:
                fail(f"{category} {event['id']} begins twice")
            begun.add(event["id"])
        elif event["id"] not in begun:
            fail(f"{category} {event['id']} ends without having begun")
        else:
            begun.remove(event["id"])
            pairs += 1
    if begun:
        fail(f"{len(begun)} of {category} never end")
    return pairs


def main():
    path, workers, gpus, faults = sys.argv[1], *map(int, sys.argv[2:])
    with open(path, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    for event in events:
        check_event(event)
    slices = check_tracks(events, workers, gpus)
    requests = check_pairs(events, "request")
    windows = check_pairs(events, "window")
    instants = Counter(event["cat"] for event in events if event["ph"] == "i")
    counters = {event["name"] for event in events if event["ph"] == "C"}
    if not slices or not requests or not windows or not instants["evict"]:
        fail(f"{slices} slices, {requests} requests, {windows} windows, {dict(instants)} instants")
    if instants["fault"] != faults:
        fail(f"{instants['fault']} faults instead of {faults}")
    if counters != {"requests under way", "answers in 10 ms"}:
        fail(f"counters are {counters}")
    print(f"timeline: {slices} slices, {requests} requests, {windows} windows")


if __name__ == "__main__":
    main()
