"""Counting: one line a failure, one table at the end, and the line that scripts/check.py reads."""

import collections

from subject import FAILED, OK, UNSUPPORTED


class Report:
    def __init__(self):
        self.counts = collections.Counter()
        self.groups = collections.defaultdict(collections.Counter)

    def add(self, group, name, outcome, text=""):
        self.counts[outcome] += 1
        self.groups[group][outcome] += 1
        if outcome == FAILED:
            print(f"failed: {name}: {text}", flush=True)

    def fail(self, text):
        """A demand on the whole that does not hold."""
        self.counts[FAILED] += 1
        print(f"failed: {text}", flush=True)

    def table(self, title):
        print(f"{title:32} {OK:>8} {UNSUPPORTED:>12} {FAILED:>8}")
        for group in sorted(self.groups):
            counts = self.groups[group]
            print(f"{group:32} {counts[OK]:8} {counts[UNSUPPORTED]:12} {counts[FAILED]:8}")

    def finish(self):
        """Exit status. Unsupported ones count as skipped: they are listed in the table."""
        passed, failed = self.counts[OK], self.counts[FAILED]
        print(f"{passed} passed, {failed} failed, {self.counts[UNSUPPORTED]} skipped", flush=True)
        return 1 if failed or not passed else 0
