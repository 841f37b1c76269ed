"""scripts/demo.py around programs that only pretend: what it shows, how it ends, what it leaves."""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "..", "scripts", "demo.py")

# Each fake notes its pid, so that a test can ask whether it is gone.
PROLOGUE = f"""\
#!{sys.executable}
import os, signal, socket, subprocess, sys
open(os.path.join(os.environ["FAKE_PIDS"], str(os.getpid())), "w").close()
def listen():
    host, _, port = sys.argv[sys.argv.index("--listen") + 1].partition(":")
    return socket.create_server((host, int(port)))
def wait_for_end():
    signal.sigwait([signal.SIGTERM])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
"""

WORKER = "server = listen()\nwait_for_end()\n"

CONTROLLER = f"""\
server = listen()
print("controller:", *sys.argv[1:], flush=True)
wait_for_end()
subprocess.run([sys.executable, {os.path.join(HERE, "make_synthetic_logs.py")!r}, "--requests",
                "20000", "--actions", "5000", "--duration", "4", os.environ["CLOCKWORK_LOG_DIR"]])
"""

CLIENT = """\
print("client:", *sys.argv[1:], "inputs off:", os.environ["CLOCKWORK_DISABLE_INPUTS"])
print("Replaying trace 1\\nthroughput=777", flush=True)
wait_for_end()
"""


def free_port_base():
    """A port that is free with its successor."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except (OSError, OverflowError):
                continue
            return port


class DemoTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.pids = os.path.join(self.folder, "pids")
        self.build = os.path.join(self.folder, "build")
        self.out = os.path.join(self.folder, "out")
        os.mkdir(self.pids)
        os.mkdir(self.build)
        self.write("worker", WORKER)
        self.write("controller", CONTROLLER)
        self.write("client", CLIENT)

    def write(self, name, body):
        path = os.path.join(self.build, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(PROLOGUE + textwrap.dedent(body))
        os.chmod(path, 0o755)

    def start(self, **variables):
        # No DEMO_ variable of whoever runs the tests.
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DEMO_")}
        environment = {
            **kept,
            "CLOCKWORK_BUILD": self.build,
            "FAKE_PIDS": self.pids,
            "DEMO_OUT": self.out,
            "DEMO_PORT_BASE": str(free_port_base()),
            "DEMO_SECONDS": "5",
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, DEMO],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run_demo(self, **variables):
        demo = self.start(**variables)
        output, _ = demo.communicate(timeout=120)
        return demo.returncode, output

    def assert_nothing_left(self, expected_count):
        pids = [int(name) for name in os.listdir(self.pids)]
        self.assertEqual(len(pids), expected_count)
        for pid in pids:
            with self.assertRaises(ProcessLookupError):
                os.kill(pid, 0)

    def test_a_whole_run(self):
        code, output = self.run_demo(DEMO_LOAD_FACTOR="0.50", DEMO_MEMORY_LOAD_FACTOR="2")
        self.assertEqual(code, 0, output)
        self.assertIn("throughput=777", output)
        self.assertIn("9 graphs", output)
        for name in ("overview.png", "summary.txt"):
            self.assertIn(os.path.join(self.out, name), output)
            self.assertTrue(os.path.getsize(os.path.join(self.out, name)))
        self.assertRegex(output, r"(?m)^  slo_met_percent: ")
        self.assertRegex(output, r"(?m)^inputs: controller ")
        with open(os.path.join(self.out, "client.log"), encoding="utf-8") as file:
            self.assertRegex(
                file.readline(), r"^client: 127\.0\.0\.1:\d+ azure 8 1 0\.5 2 inputs off: 1$"
            )
        with open(os.path.join(self.out, "controller.log"), encoding="utf-8") as file:
            workers = ",".join(rf"127\.0\.0\.{n}:\d+" for n in range(11, 17))
            self.assertRegex(file.readline(), rf"^controller: INFER4 {workers} 1 6 --listen ")
        self.assert_nothing_left(8)

    def test_a_worker_that_dies_is_named_with_its_last_lines(self):
        self.write("worker", "print('no such profile', flush=True)\nsys.exit(3)\n")
        code, output = self.run_demo()
        self.assertEqual(code, 1)
        self.assertRegex(output, r"demo: worker \d exited with 3")
        self.assertIn("no such profile", output)

    def test_a_client_that_dies_while_replaying(self):
        self.write("client", "print('replaying\\nlost', flush=True)\nos.kill(os.getpid(), 9)\n")
        code, output = self.run_demo()
        self.assertEqual(code, 1)
        self.assertIn("demo: client was ended by SIGKILL", output)
        self.assertIn("    lost", output)
        self.assert_nothing_left(8)

    def test_signals_end_it_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                for name in os.listdir(self.pids):
                    os.remove(os.path.join(self.pids, name))
                demo = self.start(DEMO_SECONDS="3600")
                with contextlib.closing(demo.stdout):
                    for line in demo.stdout:
                        if "throughput=777" in line:
                            break
                    demo.send_signal(number)
                    rest = demo.stdout.read()
                self.assertEqual(demo.wait(60), 1)
                self.assertIn(f"stopped by {number.name}", rest)
                self.assert_nothing_left(8)

    def test_when_it_is_killed_its_processes_end_too(self):
        demo = self.start(DEMO_SECONDS="3600")
        with contextlib.closing(demo.stdout):
            for line in demo.stdout:
                if "throughput=777" in line:
                    break
            ends = [os.pidfd_open(int(name)) for name in os.listdir(self.pids)]
            demo.kill()
            demo.wait(60)
            self.assertEqual(len(ends), 8)
            for end in ends:
                # readable once the process has ended
                self.assertTrue(select.select([end], [], [], 60)[0])
                os.close(end)

    def test_a_port_that_is_taken(self):
        base = free_port_base()
        with socket.create_server(("127.0.0.13", base)):
            code, output = self.run_demo(DEMO_PORT_BASE=str(base))
        self.assertEqual(code, 1)
        self.assertIn(f"127.0.0.13:{base}, where worker 3 would listen", output)
        self.assertIn("DEMO_PORT_BASE", output)
        self.assert_nothing_left(0)

    def test_another_controller_type(self):
        code, output = self.run_demo(DEMO_TYPE="PRICED")
        self.assertEqual(code, 0, output)
        with open(os.path.join(self.out, "controller.log"), encoding="utf-8") as file:
            self.assertRegex(file.readline(), r"^controller: PRICED ")

    def test_values_that_cannot_be_are_named(self):
        for name, value in (
            ("DEMO_SECONDS", "soon"),
            ("DEMO_SECONDS", "0"),
            ("DEMO_LOAD_FACTOR", "-1"),
            ("DEMO_LOAD_FACTOR", "nan"),
            ("DEMO_MEMORY_LOAD_FACTOR", "5"),
            ("DEMO_PORT_BASE", "65535"),
            ("DEMO_INPUTS", "disk"),
            ("DEMO_TYPE", "DIRECT"),
        ):
            with self.subTest(name=name, value=value):
                code, output = self.run_demo(**{name: value})
                self.assertEqual(code, 2)
                self.assertTrue(re.match(f"demo: {name}={value}: must be", output), output)

    def test_programs_that_are_not_built(self):
        code, output = self.run_demo(CLOCKWORK_BUILD=os.path.join(self.folder, "nowhere"))
        self.assertEqual(code, 1)
        self.assertIn("worker 1: cannot start", output)


if __name__ == "__main__":
    unittest.main()
