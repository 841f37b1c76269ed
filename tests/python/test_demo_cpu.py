"""What scripts/demo_cpu.py says before it starts anything, and what reading.py makes of the models' answers."""

import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "scripts")
sys.path.insert(0, SCRIPTS)

import demo_cpu  # noqa: E402
import reading  # noqa: E402


class DemoCpuTest(unittest.TestCase):
    def run_demo(self, folder, **variables):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DEMO_")}
        return subprocess.run(
            [sys.executable, os.path.join(SCRIPTS, "demo_cpu.py")],
            env={**kept, "CLOCKWORK_BUILD": os.path.join(folder, "build"), "DEMO_OUT": folder,
                 "DEMO_PORT_BASE": "41999", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def test_variables_that_cannot_be(self):
        for name, value in (("DEMO_REQUESTS", "0"), ("DEMO_REQUESTS", "many"), ("DEMO_SLO_MS", "-1"),
                            ("DEMO_PORT_BASE", "65535"), ("DEMO_TYPE", "infer4")):
            with tempfile.TemporaryDirectory() as folder:
                run = self.run_demo(folder, **{name: value})
                self.assertEqual(run.returncode, 2, run.stdout)
                self.assertRegex(run.stdout, rf"^demo: {name}={value}: must be .*\n$")

    def test_without_the_models(self):
        with tempfile.TemporaryDirectory() as folder:
            run = self.run_demo(folder)
            self.assertEqual(run.returncode, 1, run.stdout)
            self.assertRegex(run.stdout.splitlines()[-1], r"is not there; run make setup-zoo")

    def test_quantiles(self):
        self.assertEqual(demo_cpu.quantiles([3, 1, 2, 4], 0.5, 0.99), [2, 4])
        self.assertEqual(demo_cpu.quantiles([7], 0.5, 0.99), [7, 7])

    def test_what_became_of_the_requests(self):
        rows = [{"deadline_met": 1, "result": 0}] * 5 + [{"deadline_met": 0, "result": 0}] * 2
        rows += [{"deadline_met": 0, "result": 4}]
        self.assertEqual(demo_cpu.spell_requests(rows, 240),
                         "8 requests, 62.50% within 240 ms: 5 in time, 2 late, 1 refused;")

    def test_shares(self):
        self.assertEqual([demo_cpu.spell_share(share) for share in (0.031, 10, 10.01)],
                         ["3.1%", "1000.0%", "over 10 x"])


class ReadingTest(unittest.TestCase):
    def test_boxes(self):
        map_ = np.zeros((reading.PICTURE_ROWS, reading.PICTURE_COLUMNS), dtype=np.float32)
        map_[100:112, 40:200] = 0.9
        map_[20:32, 60:100] = 0.9
        map_[20:32, 108:160] = 0.9  # a gap between words
        map_[200:204, 10:14] = 0.9  # a speck
        (top, left, bottom, right), second = reading.boxes(map_)
        self.assertTrue(10 <= top < 20 and 50 <= left < 60 and 32 < bottom <= 42 and 160 < right <= 170)
        self.assertTrue(second[0] < 100 and second[2] > 112)

    def test_text_of(self):
        characters = ["", "a", "b", " "]
        steps = np.eye(4)[[0, 1, 1, 0, 1, 2, 2, 3, 3, 0]]
        text, sure = reading.text_of(steps, characters)
        self.assertEqual((text, sure), ("aab", 1.0))
        self.assertEqual(reading.text_of(np.eye(4)[[0, 0]], characters), ("", 0.0))

    def test_alphabet(self):
        entry = b"\x0a\x09character\x12\x05x\ny\nz"
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"\x08\x08" + b"\x72" + bytes([len(entry)]) + entry)
            file.flush()
            self.assertEqual(reading.alphabet(file.name), ["", "x", "y", "z", " "])
        with tempfile.NamedTemporaryFile() as file:
            with self.assertRaises(ValueError):
                reading.alphabet(file.name)

    def test_resized(self):
        picture = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
        self.assertTrue(np.array_equal(reading.resized(picture, 2, 2), picture))
        self.assertTrue(np.allclose(reading.resized(picture, 4, 4)[0, 0], picture[0, 0]))

    def test_files(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"  \n" + b"ab" * 3 + b"\n ")
            file.flush()
            numbers = reading.file_as_input(file.name)
        self.assertEqual(bytes(numbers[:6].astype(np.uint8)), b"ababab")
        self.assertEqual(numbers[8], reading.NO_BYTE)
        self.assertEqual(bytes(numbers[-6:].astype(np.uint8)), b"ababab")


if __name__ == "__main__":
    unittest.main()
