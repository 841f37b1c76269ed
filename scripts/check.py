#!/usr/bin/python3
"""Runs the tiers of `make check`, counts, and sums up on the last line.

    check.py            every tier, in order
    check.py TIER...    these only; "lint" is all that needs no test run
    check.py --list     their names

CLOCKWORK_BUILD is the build folder (default build); sanitized builds go beside it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPTS = os.path.join(ROOT, "scripts")
PYTHON = sys.executable
CORES = len(os.sched_getaffinity(0))

FUZZ_SECONDS_CHECK = 12
# A decoder that needs longer for one input, or more memory, is as wrong as one that crashes.
FUZZ_INPUT_SECONDS = 10
FUZZ_MEMORY_MB = 2048
# What is quick enough for every check; each tells its numbers on its last line.
DIFFERENTIAL = ("node_tests.py", "random_graphs.py", "zoo_models.py", "real_models.py")
RANDOM_GRAPHS_LONG = 2000
# About 20 s of one core.
FAULTS_SEEDS_CHECK = 200
OUTPUT_LINES_SHOWN = 60
CHECK_SECONDS_MAX = 20 * 60

SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def say(text=""):
    # flushed, because the commands below write to the same place
    print(text, flush=True)


class Tally:
    """What was counted so far."""

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skips = []

    def add(self, name, ok):
        if ok:
            self.passed += 1
        else:
            self.failures.append(name)

    def skip(self, name, reason):
        self.skips.append((name, reason))

    def line(self):
        return f"{self.passed} passed, {len(self.failures)} failed, {len(self.skips)} skipped"


class Check:
    """One run: its build folders, its environment and what it counted."""

    def __init__(self):
        self.build_folder = os.path.abspath(
            os.path.join(ROOT, os.environ.get("CLOCKWORK_BUILD") or "build")
        )
        self.tally = Tally()
        self.built = {}

    def folder(self, preset):
        return self.build_folder if preset == "release" else f"{self.build_folder}-{preset}"

    def build(self, preset):
        """Builds once a run. A build that fails counts as one failed test."""
        if preset not in self.built:
            self.built[preset] = build(preset, self.folder(preset))
            if not self.built[preset]:
                self.tally.add(f"build {preset}", False)
        return self.built[preset]


def environment(**more):
    return {**os.environ, **more}


def build(preset, folder):
    configure = ["cmake", "--preset", preset, "-B", folder, "--log-level=WARNING"]
    target = "fuzzers" if preset == "fuzz" else "all"
    for command in (configure, ["cmake", "--build", folder, "--target", target, "--", "--quiet"]):
        run = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if run.returncode:
            say(run.stdout)
            say(f"failed: {' '.join(command)}")
            return False
    return True


def show_tail(output):
    lines = output.rstrip().splitlines()
    if len(lines) > OUTPUT_LINES_SHOWN:
        say(f"  ({len(lines) - OUTPUT_LINES_SHOWN} lines above these)")
    for line in lines[-OUTPUT_LINES_SHOWN:]:
        say(f"  {line}")


# --- tiers -----------------------------------------------------------------------------------


def tier_build(check):
    if check.build("release"):
        check.tally.add("build release", True)


def lint(check, name, *arguments):
    run = subprocess.run(
        [PYTHON, os.path.join(SCRIPTS, name), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if run.stdout:
        say(run.stdout.rstrip())
    check.tally.add(name, run.returncode == 0)


def tier_format(check):
    lint(check, "check_format.py")


def tier_layers(check):
    lint(check, "check_layers.py")


def tier_style(check):
    lint(check, "check_style.py")


def tier_columns(check):
    lint(check, "generate_columns.py", "--check")


def tier_purity(check):
    if check.build("release"):
        lint(check, "check_purity.py", "--build", check.folder("release"))


def tier_python(check):
    """Tests of the lints, of the figures and of the demo; none needs the programs."""
    run = subprocess.run(
        [PYTHON, "-m", "unittest", "discover", "-v", "-s", os.path.join(ROOT, "tests", "python")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    ran = re.search(r"^Ran (\d+) tests? in", run.stdout, re.MULTILINE)
    failed = re.findall(r"^(?:FAIL|ERROR): (.*)$", run.stdout, re.MULTILINE)
    skips = re.findall(r"^(.*) \.\.\. skipped (.*)$", run.stdout, re.MULTILINE)
    if run.returncode:
        show_tail(run.stdout)
    for name, reason in skips:
        check.tally.skip(name, reason)
    for name in failed or (["python tests"] if run.returncode else []):
        check.tally.add(name, False)
    check.tally.passed += max(0, int(ran.group(1)) - len(failed) - len(skips)) if ran else 0


def tier_unit(check):
    ctest(check, "release", "unit")


def tier_property(check):
    ctest(check, "release", "property")


def tier_conformance(check):
    ctest(check, "release", "conformance")


def tier_integration(check):
    ctest(check, "release", "integration")


def tier_sanitize(check):
    ctest(check, "asan", "unit|property|conformance|smoke")


def tier_faults(check):
    seeds(check, FAULTS_SEEDS_CHECK)


def tier_planted(check):
    """Bugs that the seeds must find: the test of the tester."""
    counted(
        check,
        [
            os.path.join(ROOT, "tests", "planted", "run.py"),
            "--build",
            f"{check.build_folder}-planted",
        ],
        "planted bugs",
    )


def tier_sim(check):
    seeds(check, os.environ.get("SEEDS") or "10000")


def seeds(check, last):
    if check.build("release"):
        program = os.path.join(check.folder("release"), "simulate_faults")
        counted(
            check,
            [program, "--seeds", f"1..{last}", "--quiet", "--jobs", str(CORES)],
            "simulate_faults",
        )


def counted(check, command, name):
    """Runs what ends with "N passed, N failed, N skipped" and says by itself what failed."""
    last = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            last = line.rstrip()
            say(last)
    match = re.fullmatch(r"(\d+) passed, (\d+) failed, \d+ skipped", last)
    check.tally.passed += int(match.group(1)) if match else 0
    failed = int(match.group(2)) if match else 0
    for _ in range(failed):
        check.tally.add(name, False)
    if not failed and (process.returncode or not match):
        check.tally.add(name, False)


def tier_san_address(check):
    ctest(check, "asan", ".")


def tier_san_thread(check):
    ctest(check, "tsan", ".")


def tier_fuzz(check):
    # The same seed each time: a check that passed passes again.
    fuzz(check, FUZZ_SECONDS_CHECK, seed=1)


def tier_fuzz_long(check):
    # Seed 0 lets libFuzzer choose; it prints what it chose when something is found.
    fuzz(check, int(os.environ.get("FUZZ_SECONDS") or 60), seed=0)


def tier_differential(check):
    """Compiled models beside ONNX Runtime; what each program says is on its last line."""
    differential(check, [[name] for name in DIFFERENTIAL])


def tier_differential_long(check):
    differential(
        check,
        [
            ["node_tests.py", "--all"],
            ["random_graphs.py", "--seed", "1000", "--count", str(RANDOM_GRAPHS_LONG)],
            ["zoo_models.py", "all"],
            ["zoo_models.py", "all", "--backends", "cpu", "--batches", "1,16"],
            ["real_models.py"],
        ],
    )


LINTS = {
    "format": tier_format,
    "layers": tier_layers,
    "style": tier_style,
    "columns": tier_columns,
    "purity": tier_purity,
}
CHECK_TIERS = {
    "build": tier_build,
    **LINTS,
    "python": tier_python,
    "unit": tier_unit,
    "property": tier_property,
    "conformance": tier_conformance,
    "integration": tier_integration,
    "faults": tier_faults,
    "planted": tier_planted,
    "sanitize": tier_sanitize,
    "differential": tier_differential,
    "fuzz": tier_fuzz,
}
TIERS = {
    **CHECK_TIERS,
    "san-address": tier_san_address,
    "san-thread": tier_san_thread,
    "differential-long": tier_differential_long,
    "fuzz-long": tier_fuzz_long,
    "sim": tier_sim,
}


# --- ctest -----------------------------------------------------------------------------------


def without_address_randomisation():
    """A prefix for sanitized programs where the kernel's randomisation is more than they can take."""
    try:
        with open("/proc/sys/vm/mmap_rnd_bits", encoding="ascii") as file:
            if int(file.read()) <= 28:
                return []
    except (OSError, ValueError):
        return []
    prefix = ["setarch", "-R"]
    works = subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode == 0
    return prefix if works else []


def ctest(check, preset, label):
    if not check.build(preset):
        return
    prefix = [] if preset == "release" else without_address_randomisation()
    with tempfile.TemporaryDirectory() as scratch:
        report = os.path.join(scratch, "report.xml")
        run = subprocess.run(
            [
                *prefix,
                "ctest",
                "--test-dir",
                check.folder(preset),
                "--label-regex",
                label if label == "." else f"^({label})$",
                "--parallel",
                str(CORES),
                "--no-tests=ignore",
                "--no-label-summary",
                "--output-on-failure",
                "--test-output-size-passed",
                "1000000",
                "--output-junit",
                report,
            ],
            cwd=ROOT,
            env=environment(CLOCKWORK_BUILD=check.folder(preset), **SANITIZER_ENVIRONMENT),
        )
        counted = count_report(check.tally, report) if os.path.exists(report) else 0
    if run.returncode and not counted:
        check.tally.add(f"ctest {label} ({preset})", False)


def count_report(tally, path):
    """Adds what a ctest report holds; a test that tells its own cases counts as many. How many failed."""
    failed = 0
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = case.get("name")
        output = case.findtext("system-out") or ""
        skipped = case.find("skipped")
        if skipped is not None and case.find("failure") is None:
            lines = output.strip().splitlines()
            reason = lines[-1] if lines else skipped.get("message") or "no reason given"
            reason = reason.removeprefix("skipped: ")
            say(f"skipped: {name}: {reason}")
            tally.skip(name, reason)
            continue
        passed_cases, failed_cases, skipped_cases = cmocka_cases(output)
        if case.get("status") != "run" and not failed_cases:
            failed_cases = ["(no case named)"]
        for inner in failed_cases:
            tally.add(f"{name} {inner}", False)
        for inner in skipped_cases:
            reason = re.search(rf"^([^[\n].*)\n\[ +SKIPPED +\] {re.escape(inner)}$", output, re.M)
            reason = reason.group(1) if reason else "the test does not say why"
            tally.skip(f"{name} {inner}", reason.removeprefix("SKIPPED: "))
        failed += len(failed_cases)
        if not (failed_cases or skipped_cases):
            passed_cases = max(passed_cases, 1)
        tally.passed += passed_cases
    return failed


def cmocka_cases(output):
    """(how many passed, names that failed, names that were skipped), as cmocka sums them up."""
    passed = sum(int(n) for n in re.findall(r"^\[  PASSED  \] (\d+) test", output, re.MULTILINE))
    names = {}
    for kind in ("FAILED", "SKIPPED"):
        pattern = rf"^\[ +{kind} +\] (?!\d+ test)(.*)$"
        # named twice: where it ran and in the summing up
        names[kind] = sorted(set(re.findall(pattern, output, re.MULTILINE)))
    return passed, names["FAILED"], names["SKIPPED"]


# --- beside ONNX Runtime -------------------------------------------------------------------------


def differential(check, runs):
    if not check.build("release"):
        return
    python = os.path.join(check.folder("venv"), "bin", "python")
    if not os.path.exists(os.path.join(check.folder("venv"), "made-from")):
        for name, *_ in runs:
            check.tally.skip(
                f"differential {name}",
                "onnx and onnxruntime from PyPI are missing; run make setup-zoo",
            )
        return
    folder = os.path.join(ROOT, "tests", "differential")
    for name, *arguments in runs:
        run = subprocess.run(
            [python, os.path.join(folder, name), *arguments],
            cwd=ROOT,
            env=environment(CLOCKWORK_BUILD=check.folder("release")),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines = run.stdout.rstrip().splitlines()
        counted = re.fullmatch(
            r"(\d+) passed, (\d+) failed, (\d+) skipped", lines[-1] if lines else ""
        )
        if not counted:
            show_tail(run.stdout)
            check.tally.add(f"differential {name}", False)
            continue
        say(f"{name}: {lines[-1]}")
        check.tally.passed += int(counted.group(1))
        for line in lines:
            if line.startswith("failed: "):
                check.tally.add(f"differential {name}: {line.removeprefix('failed: ')}", False)
        if run.returncode and counted.group(2) == "0":
            check.tally.add(f"differential {name}: exit status {run.returncode}", False)
        if int(counted.group(3)):
            check.tally.skip(
                f"differential {name}",
                f"{counted.group(3)} models use what the compiler refuses; the program lists them",
            )


# --- fuzzing ---------------------------------------------------------------------------------


def fuzz(check, seconds, seed):
    if not check.build("fuzz"):
        return
    folder = os.path.join(ROOT, "tests", "fuzz")
    names = sorted(
        name[:-2] for name in os.listdir(folder) if re.fullmatch(r"fuzz_\w+\.c", name)
    )
    with ThreadPoolExecutor(CORES) as pool:
        runs = [(name, pool.submit(fuzz_one, check, name, seconds, seed)) for name in names]
        for name, future in runs:
            code, output = future.result()
            if code:
                show_tail(output)
                say(f"{name}: failed; the input lies in {crash_folder(check)}")
            else:
                done = re.findall(r"^Done (\d+) runs", output, re.MULTILINE)
                say(f"{name}: {done[-1] if done else '?'} inputs in {seconds} s")
            check.tally.add(name, code == 0)


def crash_folder(check):
    return os.path.join(check.folder("fuzz"), "crashes")


def fuzz_one(check, name, seconds, seed):
    """(exit code, output) of one target, begun from tests/fuzz/seeds/NAME if that is there."""
    os.makedirs(crash_folder(check), exist_ok=True)
    seeds = os.path.join(ROOT, "tests", "fuzz", "seeds", name)
    with tempfile.TemporaryDirectory() as corpus:
        command = [
            *without_address_randomisation(),
            os.path.join(check.folder("fuzz"), "fuzz", name),
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-timeout={FUZZ_INPUT_SECONDS}",
            f"-rss_limit_mb={FUZZ_MEMORY_MB}",
            f"-artifact_prefix={crash_folder(check)}/{name}-",
            corpus,
        ]
        if os.path.isdir(seeds):
            command.append(seeds)
        run = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(**SANITIZER_ENVIRONMENT),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    return run.returncode, run.stdout


# --- the run ---------------------------------------------------------------------------------


def run_tiers(names):
    check = Check()
    started = time.monotonic()
    for name in names:
        say(f"\n=== {name} " + "=" * max(3, 72 - len(name)))
        before = (check.tally.passed, len(check.tally.failures), len(check.tally.skips))
        tier_started = time.monotonic()
        TIERS[name](check)
        passed = check.tally.passed - before[0]
        failed = len(check.tally.failures) - before[1]
        skipped = len(check.tally.skips) - before[2]
        took = time.monotonic() - tier_started
        if not passed + failed + skipped and not all(check.built.values()):
            say(f"--- {name}: not run, because a build failed")
        else:
            say(f"--- {name}: {passed} ok, {failed} not ok, {skipped} left out, {took:.1f} s")
    took = time.monotonic() - started
    say(f"\n=== in all {took:.0f} s " + "=" * 56)
    if took > CHECK_SECONDS_MAX:
        say(f"warning: longer than the {CHECK_SECONDS_MAX // 60} minutes that a check may take")
    for name, reason in check.tally.skips:
        say(f"skipped: {name}: {reason}")
    for name in check.tally.failures:
        say(f"failed: {name}")
    say(check.tally.line())
    return 1 if check.tally.failures else 0


def main():
    names = sys.argv[1:]
    if names == ["--list"]:
        print(" ".join([*TIERS, "lint"]))
        return 0
    if not names:
        names = list(CHECK_TIERS)
    if names == ["lint"]:
        names = list(LINTS)
    unknown = [name for name in names if name not in TIERS]
    if unknown:
        say(f"check: no tier {unknown[0]}; there are: {' '.join([*TIERS, 'lint'])}")
        return 2
    if shutil.which("cmake") is None:
        say("check: cmake is missing; run ./check.sh, which installs what lacks")
        return 1
    try:
        return run_tiers(names)
    except KeyboardInterrupt:
        say("check: stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
