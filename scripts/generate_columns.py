#!/usr/bin/python3
"""Write the Python reader's column names from src/telemetry/events.def.

usage: generate_columns.py [--check]

Writes experiments/common/columns.py. With --check nothing is written: exit status 1 says that the
file is not what the declarations say.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DECLARATIONS = ROOT / "src" / "telemetry" / "events.def"
COLUMNS = ROOT / "experiments" / "common" / "columns.py"
HEADER = "# generated from src/telemetry/events.def by `make columns`\n"

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
ENTRY = re.compile(r"(EVENT_BEGIN|COLUMN|EVENT_END)\(([^)]*)\)")
TYPES = {"i64", "u64", "u32", "real"}


def fail(message):
    sys.exit(f"{DECLARATIONS.relative_to(ROOT)}: {message}")


def read_events(text):
    """{event: [column, ...]}, both in the order of the declarations."""
    text = COMMENT.sub("", text)
    events = {}
    event = None
    rest = ENTRY.sub("", text).strip()
    if rest:
        fail(f"unknown text: {rest.splitlines()[0]}")
    for kind, arguments in ENTRY.findall(text):
        names = [name.strip() for name in arguments.split(",")]
        if kind == "EVENT_BEGIN":
            if event is not None or names[0] in events:
                fail(f"EVENT_BEGIN({names[0]}) is out of place")
            event = names[0]
            events[event] = []
        elif names[0] != event:
            fail(f"{kind}({arguments}) is outside of its event")
        elif kind == "COLUMN":
            if len(names) != 3 or names[1] not in TYPES or names[2] in events[event]:
                fail(f"COLUMN({arguments}): expected event, one of {sorted(TYPES)}, a new name")
            events[event].append(names[2])
        else:
            event = None
    if event is not None:
        fail(f"EVENT_END({event}) is missing")
    return events


def render(events):
    parts = [HEADER]
    for event, columns in events.items():
        names = "".join(f'    "{column}",\n' for column in columns)
        parts.append(f"\n{event.upper()}_COLUMNS = (\n{names})\n")
    return "".join(parts)


def main(arguments):
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    wanted = render(read_events(DECLARATIONS.read_text(encoding="utf-8")))
    present = COLUMNS.read_text(encoding="utf-8") if COLUMNS.exists() else None
    if arguments == ["--check"]:
        if present != wanted:
            name = COLUMNS.relative_to(ROOT)
            print(f"{name}: not what events.def says; run `make columns`", file=sys.stderr)
            return 1
        return 0
    if present != wanted:
        COLUMNS.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
