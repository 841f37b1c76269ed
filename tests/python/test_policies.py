"""bench/policies.py: which runs are kept, what the goals say, where the tables go."""
import importlib.util
import math
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("policies", ROOT / "bench/policies.py")
policies = importlib.util.module_from_spec(SPEC)
sys.modules["policies"] = policies  # dataclasses look their module up
SPEC.loader.exec_module(policies)

SEED = next(workload for workload in policies.WORKLOADS if workload.key == "6.5")


def figures(goodput):
    return {**dict.fromkeys(policies.FIELDS, 0.0), "goodput": goodput, "met_percent": 50.0}


def cell(load, slo, bound, infer4, priced, workload=SEED):
    return policies.Cell(workload, load, slo, {**figures(0), "bound": bound},
                         {"infer4": figures(infer4), "priced": figures(priced)})


def goals(*cells):
    lines = list(policies.goal_lines(list(cells), "priced"))
    return {line.split("**")[1]: [line] for line in lines if line.startswith("- ")}, "\n".join(lines)


class Goals(unittest.TestCase):
    def test_a_cell_below_the_reference_is_named(self):
        _, text = goals(cell(1, 0, 1000, 500, 490), cell(2, 0, 1000, 500, 900))
        self.assertIn("in no cell below infer4**: holds in 1 of 2 cells.", text)
        self.assertIn("6.5, load 1, SLO 100 ms: 0.980 × infer4", text)
        self.assertNotIn("6.5, load 2, SLO 100 ms: 1.8", text)

    def test_what_no_policy_could_reach_is_told_apart(self):
        _, text = goals(cell(1, 3, 1000, 800, 900), cell(1, 10, 1000, 700, 800))
        self.assertIn("at most 10 × batch 1**: holds in 0 of 2 cells. In 1 others no policy could", text)
        self.assertIn("6.5, load 1, SLO 10 ×: 1.143 × infer4", text)

    def test_a_collapse_is_seen(self):
        _, text = goals(cell(1, 0, 1000, 500, 900), cell(2, 0, 1000, 500, 800))
        self.assertIn("800 r/s after 900 at load 1", text)
        _, text = goals(cell(1, 0, 1000, 500, 900), cell(2, 0, 1000, 500, 880))
        self.assertNotIn("after", text)


class Runs(unittest.TestCase):
    def test_another_policys_file_changes_nothing(self):
        names = policies.registry()
        self.assertIn("infer4", names)
        self.assertNotIn("echo", names)
        hashes = {name: policies.hash_of_sources(name) for name in [*names, policies.BOUND]}
        self.assertEqual(len(set(hashes.values())), len(hashes))

    def test_a_run_is_kept(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "cache.csv"
            first = policies.Cache(path)
            self.assertIsNone(first.find("infer4", "--x 1"))
            first.add("infer4", "--x 1", {**figures(12.5), "bound": "nan"})
            again = policies.Cache(path).find("infer4", "--x 1")
            self.assertEqual(float(again["goodput"]), 12.5)
            self.assertTrue(math.isnan(float(again["bound"])))
            self.assertIsNone(policies.Cache(path).find("infer4", "--x 2"))

    def test_a_line_that_was_cut_off_is_run_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "cache.csv"
            policies.Cache(path).find("infer4", "-")
            cache = policies.Cache(path)
            cache.find("infer4", "--x 1")
            cache.add("infer4", "--x 1", figures(1))
            path.write_text(path.read_text().rstrip().rsplit(",", 1)[0] + "\n")
            self.assertIsNone(policies.Cache(path).find("infer4", "--x 1"))


class Document(unittest.TestCase):
    def test_tables_go_between_the_markers(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "policies.md"
            begin, end = "<!-- made by bench/policies.py: begin -->", "<!-- made by bench/policies.py: end -->"
            path.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
            policies.write_document(path, ["new"])
            self.assertEqual(path.read_text(), f"before\n{begin}\nnew\n{end}\nafter\n")
            path.write_text("no markers\n")
            with self.assertRaises(SystemExit):
                policies.write_document(path, ["new"])

    def test_every_row_is_as_long_as_the_head(self):
        cells = [cell(1, 0, 1000, 500, 900), cell(2, 10, 1000, 500, 900)]
        rows = [line for line in policies.workload_tables(cells, ["infer4", "priced"]) if line.startswith("|")]
        self.assertEqual(len({row.count("|") for row in rows}), 1)
        self.assertIn("90.0", rows[2])


if __name__ == "__main__":
    unittest.main()
