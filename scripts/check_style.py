#!/usr/bin/python3
"""Checks the rules of HACKING.md that a tool can hold.

    check_style.py [--root FOLDER]

Lengths of files and functions, header guards, calls that have a better replacement, words of
unfinished work, tests that sleep a fixed time, scripts that do not parse. Prints one line a
finding; exits 1 if one of them is more than a warning.
"""

import argparse
import ast
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from project_files import ROOT, list_files  # noqa: E402

FILE_LINES_MAX = 1500
FUNCTION_LINES_MAX = 150
FUNCTION_LINES_AIM = 70

C_SUFFIXES = (".c", ".h", ".cu", ".cuh")
SUFFIXES = C_SUFFIXES + (".def", ".py", ".sh", ".cmake", "CMakeLists.txt", "Makefile", ".ci/run")

# A file that everyone includes and that includes everything begins with one of these names.
REFUSED_NAMES = re.compile(r"^(common|utils?|helpers?|misc)\.[ch]$")

# Written in halves, so that this file passes its own rule.
UNFINISHED = re.compile(
    r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"
    r"|(?i:\b(not imple" r"mented|unimple" r"mented|place" r"holder|for n" r"ow|st" r"ub)\b)"
)

# A loop that polls for a condition names its interval; a number here is a guess about speed.
SLEEP = re.compile(r"\b(usleep|nanosleep|time\.sleep|sleep)\b *\(? *[0-9.]")

REPLACEMENTS = {
    "alloca": "memory that the caller hands in",
    "asctime": "strftime",
    "atof": "strtod with its end pointer",
    "atoi": "strtol with its end pointer",
    "atol": "strtol with its end pointer",
    "atoll": "strtoll with its end pointer",
    "ctime": "strftime",
    "gets": "fgets",
    "gmtime": "gmtime_r",
    "localtime": "localtime_r",
    "mktemp": "mkstemp",
    "rand": "base/prng.h",
    "rand_r": "base/prng.h",
    "random": "base/prng.h",
    "drand48": "base/prng.h",
    "sprintf": "snprintf",
    "srand": "base/prng.h",
    "strcat": "snprintf",
    "strcpy": "memcpy with a checked length, or snprintf",
    "strncpy": "memcpy with a checked length, or snprintf",
    "strtok": "strchr or memchr",
    "tmpnam": "mkstemp",
    "vsprintf": "vsnprintf",
}
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(REPLACEMENTS) + r")\s*\(")

C_NOISE = re.compile(
    r"/\*.*?\*/|//[^\n]*"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)
PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)


class Findings:
    def __init__(self):
        self.errors = []
        self.warnings = []

    def error(self, path, line, text):
        self.errors.append(f"{path}:{line}: {text}")

    def warn(self, path, line, text):
        self.warnings.append(f"{path}:{line}: warning: {text}")


def blank(text, pattern):
    """`text` with every match made of spaces; lines stay where they are."""
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def line_at(text, offset):
    return text.count("\n", 0, offset) + 1


def c_functions(code):
    """(name, first line, last line) of each function; `code` is without comments and strings."""
    code = blank(code, PREPROCESSOR)
    depth = 0
    start = 0
    function = None
    for match in re.finditer(r"[{};]", code):
        mark, at = match.group(), match.start()
        if mark == "{":
            if depth == 0:
                declaration = code[start:at]
                # A struct, an enum or a table of values has no ")" before its brace.
                named = re.search(r"(\w+)\s*\(", declaration)
                if named and declaration.rstrip().endswith(")"):
                    blank_lead = len(declaration) - len(declaration.lstrip())
                    function = (named.group(1), line_at(code, start + blank_lead))
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                if function:
                    yield (*function, line_at(code, at))
                function = None
                start = match.end()
        elif depth == 0:
            start = match.end()


def check_length_of_function(findings, path, name, first, last):
    length = last - first + 1
    if length > FUNCTION_LINES_MAX:
        findings.error(path, first, f"{name} has {length} lines; at most {FUNCTION_LINES_MAX}")
    elif length > FUNCTION_LINES_AIM:
        findings.warn(path, first, f"{name} has {length} lines; aim at {FUNCTION_LINES_AIM}")


def guard_name(path):
    """CLOCKWORK_BASE_HEAP_H for src/base/heap.h."""
    inner = path[len("src/") :] if path.startswith("src/") else path
    return "CLOCKWORK_" + re.sub(r"[^A-Za-z0-9]", "_", inner).upper()


def check_c(findings, path, text):
    code = blank(text, C_NOISE)
    for name, first, last in c_functions(code):
        check_length_of_function(findings, path, name, first, last)
    for match in BANNED_CALL.finditer(code):
        name = match.group(1)
        findings.error(
            path, line_at(code, match.start()), f"{name}: use {REPLACEMENTS[name]} instead"
        )
    if path.endswith(".h"):
        guard = guard_name(path)
        if not re.search(rf"^#ifndef {guard}\n#define {guard}$", code, re.MULTILINE):
            findings.error(path, 1, f"lacks the include guard {guard}")


def check_python(findings, path, text):
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        findings.error(path, error.lineno or 1, f"does not parse: {error.msg}")
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            check_length_of_function(findings, path, node.name, node.lineno, node.end_lineno)


def check_shell(findings, root, path, text):
    shell = "bash" if text.partition("\n")[0].endswith("bash") else "sh"
    run = subprocess.run(
        [shell, "-n", os.path.join(root, path)], capture_output=True, text=True
    )
    if run.returncode:
        findings.error(path, 1, f"does not parse: {run.stderr.strip()}")


def check_text(findings, path, text):
    lines = text.count("\n")
    if lines > FILE_LINES_MAX:
        findings.error(path, lines, f"{lines} lines; at most {FILE_LINES_MAX}")
    if REFUSED_NAMES.match(os.path.basename(path)):
        findings.error(path, 1, "a name for everything; name the file after what it holds")
    for number, line in enumerate(text.splitlines(), 1):
        found = UNFINISHED.search(line)
        if found:
            findings.error(path, number, f'"{found.group()}": finish it or leave it out')
        if path.startswith("tests/"):
            found = SLEEP.search(line)
            if found:
                findings.error(path, number, "a test sleeps a fixed time: wait for the condition")


def check(root):
    findings = Findings()
    for path in list_files(root, SUFFIXES):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        check_text(findings, path, text)
        if path.endswith(C_SUFFIXES):
            check_c(findings, path, text)
        elif path.endswith(".py"):
            check_python(findings, path, text)
        elif path.endswith((".sh", ".ci/run")):
            check_shell(findings, root, path, text)
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=ROOT, help="the project's folder")
    options = parser.parse_args()
    findings = check(options.root)
    for line in findings.warnings + findings.errors:
        print(line)
    return 1 if findings.errors else 0


if __name__ == "__main__":
    sys.exit(main())
