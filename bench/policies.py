#!/usr/bin/python3
"""Every scheduling policy on the paper's workloads, beside INFER4 and beside what none could beat.

    bench/policies.py                                     all cells, all policies: an hour or two of one core
    bench/policies.py --policies infer4,priced --quick    two minutes, for tuning
    bench/policies.py --workloads 6.5,d01 --loads 1 --slos 0,3

A cell is a workload at a load factor and an SLO (a multiple of the model's batch-1 time; 0: the workload's own
100 ms). Each is simulated once for each policy and once for the bound, with one seed, and kept in --cache under
a hash of the sources that decide (a policy's own file counts for that policy only) and of the options: what has
not changed is not run again, and an interrupted call goes on where it was. Figures are of simulated seconds
after a warm-up, which WORKLOADS states.

A whole call writes bench/results/policies.tsv, the tables of docs/policies.md between its markers, and
docs/figures/policies.png. With --quick, or with cells or policies left out, the tables go to standard output.

The real days need AZURE_TRACE_DIR, a folder with the counts of the Azure Functions Trace 2019 (.csv or .csv.gz);
without it their cells are left out, and a line says so.
"""
import argparse
import csv
import dataclasses
import gzip
import hashlib
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOADS = (0.25, 0.5, 1, 2, 4)
SLOS = (0, 3, 5, 10, 25, 100)
BOUND = "bound"
# Not schedulers: one answers without running anything, the other is for tests.
LEFT_OUT = ("echo", "direct")
REFERENCE = "infer4"
# The sources that decide what a run comes to.
DECIDING = ("base", "model", "telemetry", "workload", "scheduler", "backend/backend.h", "backend/emulated",
            "executor", "bound", "simulator")


@dataclasses.dataclass(frozen=True)
class Workload:
    key: str
    title: str
    text: str  # with {load} and {slo}
    gpus: int
    base: float = 1  # {load} at load factor 1
    leadin: int = 10
    seconds: int = 30  # the lead-in included
    loads: tuple = LOADS
    slos: tuple = SLOS
    is_closed: bool = False
    clients: int = 0  # of closed loops at load 1
    is_whole: bool = False  # load is a whole number
    foreground: int = 0  # goodput and share in SLO are of the first so many users, read from telemetry
    foreground_text: str = ""  # the foreground alone, with the same arrivals: for the bound
    slo_in_text: bool = False
    day: str = ""  # a real day: its file
    quick: tuple = ()


WORKLOADS = (
    Workload("6.1", "15 ResNet50, closed loops (16 clients a model at load 1), 1 GPU",
             "comparison_experiment2 15 {load}", 1, base=16, is_closed=True, clients=240, is_whole=True,
             quick=((1, 0), (1, 10))),
    Workload("6.2", "3,601 ResNet50, one at 200 r/s and the others 1,000 r/s together, 1 GPU; all have joined "
                    "after 4 s of the warm-up", "bursty_experiment 3600 {load} 0 0.001", 1, seconds=310,
             quick=((0.5, 0), (1, 0))),
    Workload("6.3a", "12 ResNet50, Poisson, 2,400 r/s at load 1, 6 GPUs", "poisson-open-loop 12 {load}", 6,
             base=2400, quick=((1, 3), (2, 0), (2, 10))),
    Workload("6.3b", "48 ResNet50, Poisson, 2,400 r/s at load 1, 6 GPUs", "poisson-open-loop 48 {load}", 6,
             base=2400, quick=((1, 3), (2, 10))),
    Workload("6.4a", "6 latency-sensitive ResNet50 at 200 r/s each at load 1, with the SLO of the row, beside 12 with "
                     "16 closed loops each and an SLO of 1,000 times batch 1, 6 GPUs",
             "slo-exp-2 resnet50_v2 6 poisson {load} {slo} {slo} 2 mul 3600 12 16", 6, base=1200, foreground=6,
             foreground_text="slo-exp-1 resnet50_v2 6 poisson {load} {slo} {slo} 2 mul 3600", slo_in_text=True,
             loads=(0.25, 1, 4), slos=(3, 5, 10, 25, 100), quick=((1, 3), (1, 10))),
    Workload("6.4b", "the same beside 48 with 4 closed loops each",
             "slo-exp-2 resnet50_v2 6 poisson {load} {slo} {slo} 2 mul 3600 48 4", 6, base=1200, foreground=6,
             foreground_text="slo-exp-1 resnet50_v2 6 poisson {load} {slo} {slo} 2 mul 3600", slo_in_text=True,
             loads=(0.25, 1, 4), slos=(3, 10, 100)),
    Workload("6.5", "the seed: 4,026 instances of 61 models, the synthetic day's first minute, 6 GPUs",
             "azure 8 1 {load} 4", 6, leadin=15, seconds=30,
             quick=((0.25, 0), (0.5, 0), (1, 0), (4, 0), (1, 3), (1, 10))),
    Workload("6.6", "the same on 24 emulated GPUs", "azure 24 1 {load} 4", 24, leadin=15, seconds=25,
             loads=(0.25, 1, 4), slos=(0, 3, 10, 100)),
    Workload("day", "the synthetic day's first eight hours, 60 times as fast, 6 GPUs", "azure 8 1 {load} 4 1", 6, leadin=20,
             seconds=480, slos=(0, 3, 10, 100), loads=(0.25, 1, 4)),
    Workload("d01", "the real day d01, first eight hours, 60 times as fast, 200 times its calls at load 1, 6 GPUs",
             "azure 8 1 {load} 4 1 1", 6, base=200, leadin=20, seconds=480, slos=(0, 3, 10, 100),
             loads=(0.25, 1, 4),
             day="invocations_per_function_md.anon.d01.csv"),
    Workload("d02", "the real day d02, first eight hours, 60 times as fast, 200 times its calls at load 1, 6 GPUs",
             "azure 8 1 {load} 4 1 2", 6, base=200, leadin=20, seconds=480, slos=(0, 3, 10, 100),
             loads=(0.25, 1, 4),
             day="invocations_per_function_md.anon.d02.csv"),
)
# How many GPUs serve 99.99 % of this in time: the seed's mix at a load that 6 GPUs just don't carry.
GPUS_NEEDED = Workload("gpus", "", "azure 8 1 {load} 4", 0, leadin=20, seconds=40)
GPUS_NEEDED_LOAD = 0.25
GPUS_NEEDED_PERCENT = 99.99
GPUS_NEEDED_MAX = 64

FIELDS = ("offered", "goodput", "met_percent", "mean_batch", "cold_p50_ms", "cold_p99_ms", "bound", "cpu_s")


# ---- running ---------------------------------------------------------------------------------------


def plain(number):
    return f"{number:.10g}"


def hash_of_sources(policy):
    """Of everything that decides, except other policies' files."""
    digest = hashlib.sha256()
    paths = [ROOT / "zoo/profiles/v100.tsv"]
    for part in DECIDING:
        folder = ROOT / "src" / part
        paths += [folder] if folder.is_file() else folder.rglob("*.[ch]")
    for path in sorted(paths):
        if path.parent.name == "policy":
            is_own = policy != BOUND and path.name.startswith(policy + ".")
            if not is_own:
                continue
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


class Cache:
    """Results by (sources, command), in a file that grows by a line a run."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.rows = {}
        self.sources = {}
        if self.path.exists():
            with open(self.path, newline="") as file:
                for row in csv.DictReader(file):
                    if all(row.get(field) not in (None, "") for field in FIELDS):
                        self.rows[row["sources"], row["command"]] = row

    def find(self, policy, command):
        if policy not in self.sources:
            self.sources[policy] = hash_of_sources(policy)
        return self.rows.get((self.sources[policy], command))

    def add(self, policy, command, figures):
        row = {"sources": self.sources[policy], "command": command, **figures}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, ("sources", "command", *FIELDS))
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        self.rows[row["sources"], command] = row


class Runner:
    def __init__(self, options, traces):
        self.simulate = pathlib.Path(options.build) / "simulate"
        self.cache = Cache(options.cache or pathlib.Path(options.build) / "policies_cache.csv")
        self.traces = traces
        self.stop_at = time.monotonic() + options.minutes * 60
        self.runs = 0

    def arguments(self, policy, workload, load, slo, gpus):
        value = load * workload.base
        template = workload.foreground_text if policy == BOUND and workload.foreground else workload.text
        text = template.format(load=round(value) if workload.is_whole else plain(value), slo=plain(slo))
        seconds, leadin, runs_as = workload.seconds, workload.leadin, policy
        if policy == BOUND:
            # ECHO answers at once, so the requests pass by quickly. A closed loop would send without end; its
            # bound is a rate and does not depend on its requests.
            seconds, leadin, runs_as = (2, 1, REFERENCE) if workload.is_closed else (seconds, leadin, "echo")
        arguments = ["--policy", runs_as, "--workers", str(gpus), "--seconds", str(seconds), "--leadin", str(leadin),
                     "--workload", text]
        if slo and not workload.slo_in_text:
            arguments += ["--slo-factor", plain(slo)]
        if policy == BOUND:
            arguments += ["--bound"]
        return arguments

    def run(self, policy, workload, load, slo, gpus=None):
        """The figures of one run, from the cache or made now."""
        arguments = self.arguments(policy, workload, load, slo, gpus or workload.gpus)
        command = " ".join(arguments) + (f" [{workload.day}]" if workload.day else "")
        found = self.cache.find(policy, command)
        if found is None:
            if time.monotonic() > self.stop_at:
                sys.exit(f"{self.runs} runs made, --minutes are over; the same call goes on from here")
            self.runs += 1
            print(f"{policy}: {workload.key} load {plain(load)} SLO {plain(slo)} ...", file=sys.stderr)
            self.cache.add(policy, command, self.figures(workload, arguments))
            found = self.cache.find(policy, command)
        return {field: float(found[field]) for field in FIELDS}

    def figures(self, workload, arguments):
        with tempfile.TemporaryDirectory(prefix="clockwork-policies-") as folder:
            reads_telemetry = workload.foreground and "--bound" not in arguments
            if reads_telemetry:
                arguments = [*arguments, "--out", folder]
            environment = dict(os.environ)
            environment.pop("AZURE_TRACE_DIR", None)
            trace_folder = self.traces.folder(workload)
            if trace_folder:
                environment["AZURE_TRACE_DIR"] = trace_folder
            done = subprocess.run([self.simulate, "--quiet", *arguments], capture_output=True, text=True,
                                  env=environment, check=False)
            if done.returncode != 0:
                sys.exit(f"simulate {' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()}")
            summary = dict(line.split(": ", 1) for line in done.stdout.splitlines())
            met = float(summary["slo_met_percent"])
            if reads_telemetry:
                met = foreground_met_percent(pathlib.Path(folder), workload)
        bound = summary.get("bound_closed_loop_rps" if workload.is_closed else "bound_goodput_rps", "nan")
        return {"offered": summary["throughput_rps"], "goodput": summary["goodput_rps"], "met_percent": met,
                "mean_batch": summary["requests_per_infer"], "cold_p50_ms": summary["cold_latency_p50_ms"],
                "cold_p99_ms": summary["cold_latency_p99_ms"], "bound": bound, "cpu_s": summary["cpu_s"]}


def foreground_met_percent(folder, workload):
    """Of the requests of the first users."""
    asked = met = 0
    with open(folder / "clockwork_request_log.tsv", newline="") as file:
        rows = csv.reader(file, delimiter="\t")
        column = {name: i for i, name in enumerate(next(rows))}
        at, user, in_time = (column[name] for name in ("t", "user_id", "deadline_met"))
        begin = 1598918400 * 10**9 + workload.leadin * 10**9
        for row in rows:
            if int(row[at]) >= begin and int(row[user]) < workload.foreground:
                asked += 1
                met += row[in_time] == "1"
    return 100 * met / asked if asked else math.nan


class Traces:
    """Folders for AZURE_TRACE_DIR: the synthetic day is written once, a real one is unpacked."""

    def __init__(self, build, folder):
        self.build = pathlib.Path(build)
        self.given = pathlib.Path(os.environ["AZURE_TRACE_DIR"]) if os.environ.get("AZURE_TRACE_DIR") else None
        self.work = folder
        self.made = None

    def has(self, workload):
        return not workload.day or (self.given is not None and self.source(workload) is not None)

    def source(self, workload):
        for name in (workload.day, workload.day + ".gz"):
            if (self.given / name).is_file():
                return self.given / name
        return None

    def folder(self, workload):
        if not workload.text.startswith("azure"):
            return None
        if workload.day:
            target = self.work / workload.day
            if not target.exists():
                source = self.source(workload)
                opener = gzip.open if source.suffix == ".gz" else open
                with opener(source, "rb") as packed, open(target, "wb") as file:
                    shutil.copyfileobj(packed, file)
            return str(self.work)
        if self.made is None:
            self.made = self.work / "synthetic"
            self.made.mkdir()
            subprocess.run([self.build / "make_trace", "-o", str(self.made)], check=True, stdout=subprocess.DEVNULL)
        return str(self.made)


def gpus_needed(runner, policy):
    """The least number of GPUs that serve the share in time; None: more than GPUS_NEEDED_MAX."""
    def serves(gpus):
        figures = runner.run(policy, GPUS_NEEDED, GPUS_NEEDED_LOAD, 0, gpus)
        return figures["met_percent"] >= GPUS_NEEDED_PERCENT

    low, high = 3, 6
    while not serves(high):
        low, high = high, high * 2
        if high > GPUS_NEEDED_MAX:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if serves(middle):
            high = middle
        else:
            low = middle
    return high


# ---- what it comes to ------------------------------------------------------------------------------


@dataclasses.dataclass
class Cell:
    workload: Workload
    load: float
    slo: float
    bound: dict
    by_policy: dict

    def name(self):
        return f"{self.workload.key}, load {plain(self.load)}, SLO {slo_text(self.slo)}"

    def of_bound(self, policy):
        return ratio(self.by_policy[policy]["goodput"], self.bound["bound"])

    def of_reference(self, policy):
        return ratio(self.by_policy[policy]["goodput"], self.by_policy[REFERENCE]["goodput"])


def ratio(part, whole):
    return part / whole if whole > 0 else (1.0 if part == 0 else math.inf)


def slo_text(slo):
    return f"{plain(slo)} ×" if slo else "100 ms"


def cells_of(options, runner):
    for workload in WORKLOADS:
        if options.workloads and workload.key not in options.workloads:
            continue
        if not runner.traces.has(workload):
            print(f"{workload.key}: left out, AZURE_TRACE_DIR has no {workload.day}", file=sys.stderr)
            continue
        for slo in workload.slos:
            for load in workload.loads:
                if options.quick and (load, slo) not in workload.quick:
                    continue
                if (options.loads and load not in options.loads) or (options.slos and slo not in options.slos):
                    continue
                yield workload, load, slo


def all_cells(options, runner):
    cells = []
    for workload, load, slo in cells_of(options, runner):
        bound = runner.run(BOUND, workload, load, slo)
        if workload.is_closed:
            # What waits when the stretch ends was asked for in it and is served after it.
            waiting = workload.clients * load
            bound["bound"] += waiting / (workload.seconds - workload.leadin)
        by_policy = {policy: runner.run(policy, workload, load, slo) for policy in options.policies}
        for figures in by_policy.values() if workload.foreground else ():
            figures["total"] = figures["goodput"]
            figures["goodput"] = bound["offered"] * figures["met_percent"] / 100
        cells.append(Cell(workload, load, slo, bound, by_policy))
    return cells


def table(rows):
    """Markdown; the first row is the head."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return lines


def figure(value, digits=0):
    return "–" if math.isnan(value) else "∞" if math.isinf(value) else f"{value:,.{digits}f}"


def workload_tables(cells, policies):
    others = [policy for policy in policies if policy != REFERENCE]
    for workload in WORKLOADS:
        own = [cell for cell in cells if cell.workload is workload]
        if not own:
            continue
        yield f"### {workload.key}: {workload.title}"
        yield ""
        yield (f"{workload.seconds - workload.leadin} simulated seconds after {workload.leadin} of warm-up;"
               f" `{workload.text}`.")
        yield ""
        has_offered = not workload.is_closed
        rows = [["SLO", "load", *(["offered r/s"] if has_offered else []), "bound r/s",
                 *(f"{policy}: % of bound" for policy in policies), *(f"{policy} / {REFERENCE}" for policy in others),
                 *(f"{policy}: % in SLO" for policy in policies),
                 *(f"{policy}: r/s with the others" for policy in policies if workload.foreground),
                 *(f"{policy}: batch" for policy in policies)]]
        for cell in own:
            rows.append([slo_text(cell.slo), plain(cell.load),
                         *([figure(cell.bound["offered"])] if has_offered else []), figure(cell.bound["bound"]),
                         *(figure(100 * cell.of_bound(policy), 1) for policy in policies),
                         *(figure(cell.of_reference(policy), 2) for policy in others),
                         *(figure(cell.by_policy[policy]["met_percent"], 2) for policy in policies),
                         *(figure(cell.by_policy[policy]["total"]) for policy in policies if workload.foreground),
                         *(figure(cell.by_policy[policy]["mean_batch"], 1) for policy in policies)])
        yield from table(rows)
        yield ""


def cold_start_table(cells, policies):
    rows = [["cell", *(f"{policy}: p50, p99 ms" for policy in policies)]]
    for cell in cells:
        if cell.workload.key in ("6.2", "6.5", "d01", "d02") and not cell.slo:
            rows.append([cell.name(), *(f"{figure(cell.by_policy[policy]['cold_p50_ms'], 1)},"
                                        f" {figure(cell.by_policy[policy]['cold_p99_ms'], 1)}"
                                        for policy in policies)])
    return table(rows) if len(rows) > 1 else []


def goal_lines(cells, policy):
    """Whether the goals for our own policy hold, and where not."""
    def report(text, checked, failing, impossible=()):
        held = len(checked) - len(failing) - len(impossible)
        line = f"- **{text}**: holds in {held} of {len(checked)} cells."
        if impossible:
            line += f" In {len(impossible)} others no policy could: {REFERENCE} is too near the bound."
        yield line
        for cell, value in failing:
            yield f"    - {cell.name()}: {value}"

    def against(text, chosen, limit):
        checked = list(chosen)
        short = [cell for cell in checked if round(cell.of_reference(policy), 3) < limit]
        impossible = [cell for cell in short if limit > 1 and cell.of_bound(REFERENCE) * limit > 1]
        failing = []
        for cell in short:
            if cell not in impossible:
                value = (f"{cell.of_reference(policy):.3f} × {REFERENCE}, {100 * cell.of_bound(policy):.1f} % of the"
                         f" bound")
                if cell.workload.foreground:
                    value += (f"; with the others {figure(cell.by_policy[policy]['total'])} r/s,"
                              f" {REFERENCE} {figure(cell.by_policy[REFERENCE]['total'])}")
                failing.append((cell, value))
        return report(text, checked, failing, impossible)

    seed = [cell for cell in cells if cell.workload.key == "6.5" and not cell.slo]
    yield from against(f"in no cell below {REFERENCE}", cells, 1)
    yield from against(f"at least 1.15 × {REFERENCE} at the seed's overload",
                       [cell for cell in seed if cell.load == 1], 1.15)
    yield from against(f"at least 1.3 × {REFERENCE} where the SLO is at most 10 × batch 1",
                       [cell for cell in cells if 0 < cell.slo <= 10], 1.3)
    failing = [(cell, f"{100 * cell.of_bound(policy):.1f} %") for cell in seed if cell.of_bound(policy) < 0.9]
    yield from report("at least 90 % of the bound on the seed's workload", seed, failing)
    checked, falls = [], []
    for cell in cells:
        before = [other for other in cells if other.workload is cell.workload and other.slo == cell.slo
                  and other.load < cell.load]
        if before and not cell.workload.is_closed:
            best = max(before, key=lambda other: other.by_policy[policy]["goodput"])
            checked.append(cell)
            if cell.by_policy[policy]["goodput"] < 0.95 * best.by_policy[policy]["goodput"]:
                falls.append((cell, f"{figure(cell.by_policy[policy]['goodput'])} r/s after"
                                    f" {figure(best.by_policy[policy]['goodput'])} at load {plain(best.load)}"))
    yield from report("no collapse past the knee (goodput within 5 % of the best at a lower load, open loops)",
                      checked, falls)


def write_tsv(path, cells, policies):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["workload", "load", "slo_factor", "policy", "offered_rps", "bound_rps", "goodput_rps",
                         "of_bound", f"of_{REFERENCE}", "met_percent", "requests_per_infer", "cold_p50_ms",
                         "cold_p99_ms", "all_goodput_rps"])
        for cell in cells:
            for policy in policies:
                own = cell.by_policy[policy]
                writer.writerow([cell.workload.key, plain(cell.load), plain(cell.slo), policy, own["offered"],
                                 cell.bound["bound"], own["goodput"], f"{cell.of_bound(policy):.4f}",
                                 f"{cell.of_reference(policy):.4f}", f"{own['met_percent']:.4f}", own["mean_batch"],
                                 own["cold_p50_ms"], own["cold_p99_ms"], own.get("total", own["goodput"])])


def plot(path, cells, policies):
    import matplotlib  # only here: the tables on standard output need none
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    panels = [("6.5", 0), ("6.3a", 0), ("6.3a", 10), ("6.3b", 3), ("6.2", 0), ("6.4a", 10)]
    figure_, axes = plt.subplots(2, 3, figsize=(11, 6), sharey=True)
    for (key, slo), axis in zip(panels, axes.flat):
        own = [cell for cell in cells if cell.workload.key == key and cell.slo == slo]
        for policy in policies:
            axis.plot([cell.load for cell in own], [cell.of_bound(policy) for cell in own], marker=".", label=policy)
        axis.set_title(f"{key}, SLO {slo_text(slo)}", fontsize=10)
        axis.set_xscale("log", base=2)
        axis.set_xticks(LOADS, [plain(load) for load in LOADS])
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("load factor")
    for axis in axes[:, 0]:
        axis.set_ylabel("goodput / bound")
    axes[0, 0].legend(fontsize=8)
    figure_.tight_layout()
    figure_.savefig(path, dpi=110)


def write_document(path, lines):
    text = path.read_text()
    begin, end = "<!-- made by bench/policies.py: begin -->", "<!-- made by bench/policies.py: end -->"
    pattern = re.compile(re.escape(begin) + ".*" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"{path}: lacks the lines '{begin}' and '{end}' between which the tables go")
    path.write_text(pattern.sub(lambda _: "\n".join([begin, *lines, end]), text))


def registry():
    """Names of all policies, as the sources list them."""
    text = (ROOT / "src/scheduler/policy/registry.c").read_text()
    names = re.findall(r"&policy_(\w+)", text)
    return [name for name in names if name not in LEFT_OUT]


def parse(arguments):
    def numbers(text):
        return [float(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", help=f"comma separated; {REFERENCE} is always among them")
    parser.add_argument("--workloads", help="comma separated: " + ", ".join(item.key for item in WORKLOADS))
    parser.add_argument("--loads", type=numbers)
    parser.add_argument("--slos", type=numbers)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--goals-of", default="priced", metavar="POLICY")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after these, to be called again")
    parser.add_argument("--build", default=os.environ.get("CLOCKWORK_BUILD", str(ROOT / "build")))
    parser.add_argument("--cache", help="default: policies_cache.csv in the build folder")
    parser.add_argument("--no-build", action="store_true", help="simulate is up to date")
    options = parser.parse_args(arguments)
    known = registry()
    options.is_whole = not (options.policies or options.workloads or options.loads or options.slos or options.quick)
    chosen = options.policies.split(",") if options.policies else known
    for policy in chosen:
        if policy not in known:
            parser.error(f"--policies: there is no '{policy}': {', '.join(known)}")
    options.policies = [REFERENCE] + [policy for policy in chosen if policy != REFERENCE]
    options.workloads = options.workloads.split(",") if options.workloads else None
    return options


def main():
    options = parse(sys.argv[1:])
    if not options.no_build:
        subprocess.run(["cmake", "--build", options.build, "--target", "simulate", "make_trace"], check=True,
                       stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="clockwork-traces-") as folder:
        runner = Runner(options, Traces(options.build, pathlib.Path(folder)))
        cells = all_cells(options, runner)
        needed = {policy: gpus_needed(runner, policy) for policy in options.policies} if options.is_whole else {}
    lines = []
    if options.is_whole:
        commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True,
                                text=True, check=True).stdout.strip()
        lines += [f"Made from commit {commit}, {time.strftime('%Y-%m-%d')}, seed 1.", ""]
    if options.goals_of in options.policies:
        lines += [f"### Goals, for {options.goals_of}", "", *goal_lines(cells, options.goals_of), ""]
    if needed:
        lines += [f"### GPUs for {GPUS_NEEDED_PERCENT} %", "",
                  f"`{GPUS_NEEDED.text.format(load=plain(GPUS_NEEDED_LOAD))}`, SLO 100 ms,"
                  f" {GPUS_NEEDED.seconds - GPUS_NEEDED.leadin} s after {GPUS_NEEDED.leadin} of warm-up.", "",
                  *table([options.policies, [count or f"more than {GPUS_NEEDED_MAX}" for count in needed.values()]]),
                  ""]
    lines += workload_tables(cells, options.policies)
    cold = cold_start_table(cells, options.policies)
    lines += ["### Latency of cold starts", "", *cold, ""] if cold else []
    if options.is_whole:
        write_tsv(ROOT / "bench/results/policies.tsv", cells, options.policies)
        write_document(ROOT / "docs/policies.md", lines)
        plot(ROOT / "docs/figures/policies.png", cells, options.policies)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
