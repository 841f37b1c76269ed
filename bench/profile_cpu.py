#!/usr/bin/env python3
"""A profile of models on this machine's CPU, as zoo/profiles/v100.tsv is one: rows of `check_model --row`.

    bench/profile_cpu.py PACKAGES -o zoo/profiles/cpu-NAME.tsv [--models NAME...] [--at-once N] [--minutes N]

PACKAGES is a folder of packages, as `make zoo` leaves them. Rows that the file has are kept: what is cut off, or
stopped between two models by --minutes, goes on where it was; remove the file to measure all anew. Rows come in the
order of the names. Times are those that the CPU backend measures when it loads a model, which a worker tells its
controller: medians of 3 to 15 executions a batch size, on one core. --at-once N measures N models at a time, each
on a core of its own, as a worker of N devices does.
"""

import argparse
import concurrent.futures
import os
import queue
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from zoo import registry  # noqa: E402

COLUMNS = "model input_bytes output_bytes weights_bytes load_ms b1_ms b2_ms b4_ms b8_ms b16_ms".split()
HEADER = "\t".join(COLUMNS)
# Layouts of the backend's own want up to twice a package's pages: padding, second forms.
PAGE_BYTES = 16 << 20


class Failed(Exception):
    pass


def program(name):
    folder = os.path.abspath(os.environ.get("CLOCKWORK_BUILD") or os.path.join(ROOT, "build"))
    return os.path.join(folder, name)


def clock_mhz():
    """What the CPU backend takes for its clock, too."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        found = re.search(r"^cpu MHz\s*: (\d+)", file.read(), re.MULTILINE)
    if not found:
        raise Failed("/proc/cpuinfo names no clock")
    return int(found[1])


def rows_of(path):
    """The rows that a profile has, by model."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="ascii") as file:
        lines = [line for line in file.read().splitlines() if line and not line.startswith("#")]
    if lines and lines[0] != HEADER:
        raise Failed(f"{path}: its columns are not {' '.join(COLUMNS)}; name another file")
    return {line.split("\t")[0]: line for line in lines[1:]}


def write(path, rows):
    """The clock of the first run stays: rows were measured at it."""
    head = f"# clock_mhz: {clock_mhz()}"
    if os.path.exists(path):
        with open(path, encoding="ascii") as file:
            head = file.readline().rstrip("\n") or head
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write("\n".join([head, HEADER, *(rows[name] for name in sorted(rows))]) + "\n")
    os.replace(f"{path}.new", path)


def measure(package, cores):
    """The package's row, on one of `cores`, which nobody else has meanwhile."""
    pages = 2 * (os.path.getsize(os.path.join(package, "model.weights")) // PAGE_BYTES) + 2
    core = cores.get()
    command = ["taskset", "-c", str(core), program("check_model"), package, "--backend", "cpu", "--row"]
    command += ["--seconds", "0", "--cores", "1", "--pages", str(pages)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    cores.put(core)
    if run.returncode:
        raise Failed(run.stderr.strip() or f"check_model {package} ended with {run.returncode}")
    line = run.stdout.strip()
    if len(line.split("\t")) != len(COLUMNS):
        raise Failed(f"{package}: has not the batch sizes of {HEADER.replace(chr(9), ' ')}")
    return line


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", metavar="PACKAGES", help="a folder of compiled models")
    parser.add_argument("-o", "--output", required=True, help="the profile")
    parser.add_argument("--models", nargs="+", default=registry.SEED, help="all 61 without it")
    parser.add_argument("--at-once", type=int, default=1, help="models measured at a time")
    parser.add_argument("--minutes", type=float, help="begin no further model after these")
    return parser.parse_args()


def measure_missing(options, rows):
    """Puts what is measured into `rows` and into the file, as it comes."""
    cores = queue.SimpleQueue()
    for core in sorted(os.sched_getaffinity(0))[: options.at_once]:
        cores.put(core)
    begin = time.monotonic()

    def one(name):
        if options.minutes and time.monotonic() - begin > 60 * options.minutes:
            return name, None
        return name, measure(os.path.join(options.packages, name), cores)

    missing = [name for name in options.models if name not in rows]
    with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        for done in concurrent.futures.as_completed([pool.submit(one, name) for name in missing]):
            name, row = done.result()
            if row:
                rows[name] = row
                write(options.output, rows)
                print(row, flush=True)


def main():
    options = parse()
    try:
        rows = rows_of(options.output)
        measure_missing(options, rows)
    except (Failed, OSError) as error:
        print(f"profile_cpu.py: {error}", file=sys.stderr)
        return 2
    missing = sum(name not in rows for name in options.models)
    print(f"{len(options.models) - missing} of {len(options.models)} models in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
