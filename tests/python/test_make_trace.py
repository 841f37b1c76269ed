"""The program make_trace: arguments, schema, whole files only. Needs CLOCKWORK_BUILD (default build)."""

import csv
import os
import subprocess
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BUILD = os.environ.get("CLOCKWORK_BUILD", "build")
PROGRAM = os.path.join(ROOT, BUILD, "make_trace")  # an absolute BUILD stands for itself
NAME = "invocations_per_function_md.anon.d{:02d}.csv"


def run(*arguments, folder=None):
    return subprocess.run([PROGRAM, *arguments], cwd=folder, capture_output=True, text=True)


@unittest.skipUnless(os.path.exists(PROGRAM), f"{PROGRAM} is not built; run make build")
class MakeTrace(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def rows(self, name):
        with open(os.path.join(self.folder.name, name), newline="") as file:
            return list(csv.reader(file))

    def test_writes_the_public_schema(self):
        done = run("--functions", "300", "--day", "3", "-o", self.folder.name)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(os.listdir(self.folder.name), [NAME.format(3)])
        header, *rows = self.rows(NAME.format(3))
        names = ["HashOwner", "HashApp", "HashFunction", "Trigger"]
        self.assertEqual(header, names + [str(minute) for minute in range(1, 1441)])
        self.assertEqual(len(rows), 300)
        self.assertTrue(all(len(row) == 1444 for row in rows))
        self.assertTrue(all(len(name) == 64 for row in rows for name in row[:3]))
        self.assertEqual(len({row[2] for row in rows}), 300)
        self.assertLess(len({row[1] for row in rows}), 300)
        self.assertLessEqual(
            {row[3] for row in rows},
            {"http", "timer", "queue", "event", "storage", "orchestration", "others"},
        )
        calls = [sum(map(int, row[4:])) for row in rows]
        self.assertTrue(all(calls))
        self.assertIn(f"300 functions, {sum(calls)} calls", done.stdout)

    def test_the_same_arguments_give_the_same_bytes(self):
        for name in ("a", "b"):
            path = os.path.join(self.folder.name, name)
            self.assertEqual(run("-f", "50", "-s", "7", "-o", path).returncode, 0)
        self.assertEqual(run("-f", "50", "-s", "8", "-o", "c", folder=self.folder.name).returncode, 0)
        self.assertEqual(self.rows("a"), self.rows("b"))
        self.assertNotEqual(self.rows("a"), self.rows("c"))

    def test_writes_into_the_current_folder_by_default(self):
        self.assertEqual(run("-f", "1", folder=self.folder.name).returncode, 0)
        self.assertEqual(os.listdir(self.folder.name), [NAME.format(1)])

    def test_wrong_arguments_are_named_and_exit_2(self):
        for arguments, text in (
            (["--functions", "0"], "--functions is '0'; give a whole number from 1 to 1000000"),
            (["--functions", "-1"], "--functions is '-1'"),
            (["--functions", "2x"], "--functions is '2x'"),
            (["--day", "15"], "--day is '15'; give a whole number from 1 to 14"),
            (["--seed", "99999999999999999999"], "--seed is"),
            (["--load-scale", "nan"], "--load-scale is 'nan'"),
            (["--load-scale"], "--load-scale lacks its value"),
            (["--wrong"], "there is no option --wrong"),
            (["more"], "'more' is too much"),
            (["-o", ""], "--output is empty"),
        ):
            with self.subTest(arguments=arguments):
                done = run(*arguments, folder=self.folder.name)
                self.assertEqual(done.returncode, 2)
                self.assertIn(text, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1)
                self.assertEqual(os.listdir(self.folder.name), [])

    def test_a_failure_leaves_nothing_behind(self):
        done = run("-f", "5", "-o", os.path.join(self.folder.name, "none", "day.csv"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("none/day.csv", done.stderr)
        # A folder stands where the file is to go.
        os.makedirs(os.path.join(self.folder.name, NAME.format(1)))
        self.assertEqual(run("-f", "5", folder=self.folder.name).returncode, 1)
        self.assertEqual(os.listdir(self.folder.name), [NAME.format(1)])

    def test_help_names_every_option(self):
        done = run("-h")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for option in ("--functions", "--day", "--seed", "--load-scale", "--output", "--help"):
            self.assertIn(option, done.stdout)


if __name__ == "__main__":
    unittest.main()
