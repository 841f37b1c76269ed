"""The lints of `make check` on small trees with one planted fault each."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "scripts")
sys.path.insert(0, SCRIPTS)

import check as runner  # noqa: E402
import check_layers  # noqa: E402
import check_purity  # noqa: E402
import check_style  # noqa: E402
import layers  # noqa: E402

LAYERS = """\
[pure]
base:
model: base
scheduler: base model
[effects]
os: base
[programs]
worker
client
[vendor headers]
uv.h: os
proto/*.h: client
[pure headers]
stddef.h string.h
unistd.h: base/check.c
[system headers]
stdio.h time.h
[pure symbols]
memcpy
abort: base/check.c
"""


class Tree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        self.write("src/layers.txt", LAYERS)

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text))


class LayersTest(Tree):
    def setUp(self):
        super().setUp()
        for path in ("base/heap.h", "model/model.h", "scheduler/state.h", "os/clock.h"):
            self.write(f"src/{path}", "")
        self.write("src/worker/options.h", "")

    def problems(self, path, text):
        self.write(path, text)
        return check_layers.check(self.root)

    def assert_refused(self, path, text, because):
        problems = self.problems(path, text)
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(because, problems[0])
        self.assertTrue(problems[0].startswith(f"{path}:"), problems[0])

    def assert_allowed(self, path, text):
        self.assertEqual(self.problems(path, text), [])

    def test_down_and_within_is_allowed(self):
        self.assert_allowed(
            "src/scheduler/policy/edf.c",
            '#include <string.h>\n#include "base/heap.h"\n#include "scheduler/state.h"\n',
        )

    def test_up_is_refused(self):
        self.assert_refused(
            "src/model/m.c", '#include "scheduler/state.h"\n', "model may not include scheduler"
        )

    def test_a_pure_layer_with_effects_is_refused(self):
        self.assert_refused(
            "src/scheduler/s.c", '\n#include "os/clock.h"\n', "scheduler may not include os"
        )

    def test_a_program_may_include_layers_and_no_program(self):
        self.assert_allowed("src/client/a.c", '#include "os/clock.h"\n#include <proto/x.h>\n')
        self.assert_refused("src/client/b.c", '#include "worker/options.h"\n', "program worker")

    def test_a_folder_without_a_line_is_refused(self):
        self.assert_refused("src/extra/a.c", "int x;\n", "no line in src/layers.txt")

    def test_vendor_headers_stay_in_their_folder(self):
        self.assert_allowed("src/os/loop.c", "#include <uv.h>\n")
        self.assert_refused("src/worker/loop.c", "#include <uv.h>\n", "it belongs to os")

    def test_pure_layers_include_no_clock_and_no_stdio(self):
        self.assert_refused("src/model/m.c", "#include <time.h>\n", "pure layer")
        self.write("src/model/m.c", "")
        self.assert_refused("src/scheduler/s.c", "# include <stdio.h>\n", "pure layer")

    def test_an_exception_is_for_one_file(self):
        self.assert_allowed("src/base/check.c", "#include <unistd.h>\n")
        self.assert_refused("src/base/heap.c", "#include <unistd.h>\n", "<unistd.h>")

    def test_an_unknown_header_needs_a_line(self):
        self.assert_refused("src/os/gpu.c", "#include <cuda.h>\n", "no line in src/layers.txt")

    def test_paths_are_seen_from_src(self):
        self.assert_refused("src/base/heap.c", '#include "heap.h"\n', 'write "base/heap.h"')
        self.write("src/base/heap.c", "")
        self.assert_refused("src/base/ring.c", '#include "base/none.h"\n', "not under src/")

    def test_a_macro_does_not_hide_an_include(self):
        self.assert_refused("src/base/heap.c", "#include HEADER\n", "name the file itself")

    def test_layers_txt_itself(self):
        for text, because in (
            ("[pure]\nmodel: base\nbase:\n", "further down or nowhere"),
            ("[pure]\nbase:\nbase:\n", "twice"),
            ("[effects]\nos:\n[pure]\nbase: os\n", "base is pure and os is not"),
            ("[programs]\nworker: base\n", "every layer"),
            ("base:\n", "first section"),
            ("[layers]\n", "unknown section"),
        ):
            with self.subTest(text=text), self.assertRaisesRegex(layers.LayersError, because):
                layers.parse(text)


@unittest.skipUnless(shutil.which("gcc") and shutil.which("objdump"), "gcc or binutils is missing")
class PurityTest(Tree):
    def problems(self, **sources):
        """Compiles {layer: text of its check.c}, one library each, and checks them."""
        build = os.path.join(self.root, "build")
        os.makedirs(build, exist_ok=True)
        for layer, text in sources.items():
            source = f"src/{layer}/check.c"
            self.write(source, text)
            source = os.path.join(self.root, source)
            object_file = os.path.join(build, "check.c.o")
            subprocess.run(["gcc", "-O2", "-c", source, "-o", object_file], check=True)
            library = os.path.join(build, f"libcw_{layer}.a")
            subprocess.run(["ar", "rcs", library, object_file], check=True)
        looked_at, problems = check_purity.check(self.root, build)
        self.assertEqual(set(looked_at), set(sources))
        return problems

    def test_pure_code_and_constants(self):
        self.assertEqual(
            self.problems(
                base="""\
                    #include <stdlib.h>
                    static int zero(void) { return 0; }
                    struct ops { int (*get)(void); const char *name; };
                    static const struct ops all[] = {{zero, "zero"}, {zero, "nought"}};
                    const struct ops *base_find(int i) { if (i > 1) { abort(); } return &all[i]; }
                    """,
                model="""\
                    extern const void *base_find(int);
                    const void *model_find(void) { return base_find(1); }
                    """,
            ),
            [],
        )

    def test_a_clock_is_found(self):
        problems = self.problems(model="#include <time.h>\nlong now(void) { return time(0); }\n")
        self.assertEqual(problems, ["src/model/check.c: calls time, of no pure layer"])

    def test_memory_and_stdio_are_found(self):
        problems = self.problems(
            base="""\
                #include <stdio.h>
                #include <stdlib.h>
                void *take(int n) { printf("%d", n); return malloc(4); }
                """
        )
        self.assertEqual(
            problems,
            [
                "src/base/check.c: calls malloc, of no pure layer",
                "src/base/check.c: calls printf, of no pure layer",
            ],
        )

    def test_a_layer_above_is_found(self):
        problems = self.problems(
            base="extern int model_size(void);\nint f(void) { return model_size(); }\n",
            model="int model_size(void) { return 1; }\n",
        )
        self.assertEqual(
            problems,
            ["src/base/check.c: calls model_size, of model, which it may not include"],
        )

    def test_an_exception_is_for_one_file(self):
        problems = self.problems(
            model="#include <stdlib.h>\nvoid stop(void) { abort(); }\n",
        )
        self.assertEqual(problems, ["src/model/check.c: calls abort, of no pure layer"])

    def test_data_that_can_change_is_found(self):
        problems = self.problems(
            base="""\
                int exported;
                static int counter, begun = 4;
                static _Thread_local int mine;
                int next(void) { static int inner; return ++inner + ++counter + ++begun + ++mine; }
                """
        )
        kept = {problem.split()[2].split(".")[0].rstrip(",") for problem in problems}
        self.assertEqual(kept, {"exported", "counter", "begun", "mine", "inner"})

    def test_a_library_that_is_missing(self):
        self.write("src/base/heap.c", "int x;\n")
        _, problems = check_purity.check(self.root, self.root)
        self.assertEqual(len(problems), 1)
        self.assertIn("build first", problems[0])


class StyleTest(Tree):
    def findings(self, path, text):
        self.write(path, text)
        return check_style.check(self.root)

    def assert_error(self, path, text, because):
        errors = self.findings(path, text).errors
        self.assertEqual(len(errors), 1, errors)
        self.assertIn(because, errors[0])

    def function(self, lines):
        return "int f(void) {\n" + "  g();\n" * (lines - 2) + "}\n"

    def test_good_code(self):
        findings = self.findings(
            "src/base/heap.h",
            """\
            /* strcpy( and "{" in a comment are no code. */
            #ifndef CLOCKWORK_BASE_HEAP_H
            #define CLOCKWORK_BASE_HEAP_H
            #define TEXT "sprintf( } {"
            static inline int heap_random(int x) {
              return x == '{' ? heap.rand(x) : x;
            }
            #endif
            """,
        )
        self.assertEqual(findings.errors + findings.warnings, [])

    def test_lengths(self):
        self.assert_error("src/a.c", "int x;\n" * 1501, "1501 lines")
        self.assert_error("src/a.c", self.function(151), "f has 151 lines")
        findings = self.findings("src/a.c", self.function(150))
        self.assertEqual((len(findings.errors), len(findings.warnings)), (0, 1))
        self.assertEqual(self.findings("src/a.c", self.function(70)).warnings, [])

    def test_a_function_with_arguments_on_several_lines(self):
        code = "int x = 1;\n\nstatic int f(int a,\n             int b) {\n  if (a) {\n  }\n}\n"
        self.assertEqual(list(check_style.c_functions(code)), [("f", 3, 7)])

    def test_tables_and_structs_are_no_functions(self):
        code = "struct a {\n  int b;\n};\nstatic const int c[] = {\n  1,\n};\nint d(void) {\n}\n"
        self.assertEqual(list(check_style.c_functions(code)), [("d", 7, 8)])

    def test_calls_with_a_better_replacement(self):
        self.assert_error("src/a.c", "void f(void) {\n  strcpy(a, b);\n}\n", "a.c:2: strcpy")
        self.assert_error("src/a.c", "int f(void) {\n  return rand ();\n}\n", "base/prng.h")

    def test_header_guards(self):
        self.assert_error("src/os/a.h", "int f(void);\n", "CLOCKWORK_OS_A_H")
        self.assert_error("src/os/a.h", "#ifndef A_H\n#define A_H\n#endif\n", "CLOCKWORK_OS_A_H")

    def test_names_for_everything(self):
        self.assert_error("src/base/utils.c", "int x;\n", "a name for everything")

    def test_words_of_unfinished_work(self):
        for word in ("TO" + "DO", "FIX" + "ME", "for " + "now", "Place" + "holder", "st" + "ub"):
            with self.subTest(word=word):
                self.assert_error("src/a.c", f"/* {word}: more */\n", word)
        self.assertEqual(self.findings("src/a.c", "/* stubborn */\n").errors, [])

    def test_sleeping_tests(self):
        nap = "sle" + "ep"
        self.assert_error("tests/unit/a.c", f"void f(void) {{\n  u{nap}(500);\n}}\n", "a.c:2")
        os.remove(os.path.join(self.root, "tests/unit/a.c"))
        self.assert_error("tests/a.sh", f"{nap} 0.5\n", "a.sh:1")
        os.remove(os.path.join(self.root, "tests/a.sh"))
        self.assert_error("tests/a.py", f"time.{nap}(1)\n", "a.py:1")
        self.assertEqual(self.findings("tests/a.py", f"time.{nap}(POLL_S)\n").errors, [])
        self.assertEqual(self.findings("bench/a.sh", f"{nap} 5\n").errors, [])

    def test_scripts_that_do_not_parse(self):
        self.assert_error("scripts/a.sh", "if true; then\n", "does not parse")
        os.remove(os.path.join(self.root, "scripts/a.sh"))
        self.assert_error("scripts/a.py", "def f(:\n", "does not parse")


class RunnerTest(unittest.TestCase):
    """How check.py counts."""

    REPORT = """\
        <testsuite name="x" tests="4">
          <testcase name="unit/a" status="run">
            <system-out>[  PASSED  ] 7 test(s).\n</system-out></testcase>
          <testcase name="unit/b" status="fail"><failure message=""/>
            <system-out>[  FAILED  ] wrong\n[  PASSED  ] 2 test(s).
[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] wrong\n</system-out></testcase>
          <testcase name="unit/crash" status="fail"><failure message=""/>
            <system-out>Segmentation fault\n</system-out></testcase>
          <testcase name="integration/c" status="notrun">
            <skipped message="SKIP_RETURN_CODE=77"/>
            <system-out>begun\nskipped: no namespaces\n</system-out></testcase>
          <testcase name="integration/d" status="run"><system-out>fine\n</system-out></testcase>
          <testcase name="unit/e" status="run">
            <system-out>[ RUN      ] later\nno clock here\n[  SKIPPED ] later
[  PASSED  ] 1 test(s).\n[  SKIPPED ] 1 test(s), listed below:\n[  SKIPPED ] later\n</system-out></testcase>
        </testsuite>
        """

    def test_counts(self):
        tally = runner.Tally()
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(textwrap.dedent(self.REPORT))
            file.flush()
            said = []
            saved, runner.say = runner.say, said.append
            try:
                failed = runner.count_report(tally, file.name)
            finally:
                runner.say = saved
        self.assertEqual(failed, 2)
        self.assertEqual(tally.failures, ["unit/b wrong", "unit/crash (no case named)"])
        self.assertEqual(
            tally.skips,
            [
                ("integration/c", "no namespaces"),
                ("unit/e later", "no clock here"),
            ],
        )
        self.assertEqual(tally.line(), "11 passed, 2 failed, 2 skipped")
        self.assertEqual(said, ["skipped: integration/c: no namespaces"])


if __name__ == "__main__":
    unittest.main()
