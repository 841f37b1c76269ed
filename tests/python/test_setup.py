"""scripts/setup.sh between a dpkg, an apt and a sudo that only take notes."""

import os
import shutil
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.abspath(os.path.join(HERE, "..", "..", "scripts"))

# Says "installed" of what the file `installed` names.
DPKG_QUERY = """\
#!/bin/sh
for name; do :; done
grep -qx "$name" "$FAKE/installed" || exit 1
echo installed
"""
NOTE = """\
#!/bin/sh
echo "$(basename "$0") DEBIAN_FRONTEND=$DEBIAN_FRONTEND $*" >>"$FAKE/notes"
[ ! -e "$FAKE/offline" ] || [ "$1" != update ]
"""
SUDO = """\
#!/bin/sh
echo "sudo" >>"$FAKE/notes"
unset DEBIAN_FRONTEND
exec "$@"
"""


def packages(tier):
    with open(os.path.join(SCRIPTS, "packages.txt"), encoding="utf-8") as file:
        rows = [line.split(maxsplit=2) for line in file if line.strip() and line[0] != "#"]
    return [name for name, its_tier, reason in rows if its_tier == tier]


class SetupTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for tool in ("sh", "dirname", "basename", "grep", "env"):
            os.symlink(shutil.which(tool), os.path.join(self.folder, tool))
        self.tool("dpkg-query", DPKG_QUERY)
        self.tool("apt-get", NOTE)
        self.tool("systemctl", NOTE)
        self.tool("id", "#!/bin/sh\necho 0\n")
        self.write("installed", "")

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def tool(self, name, text):
        self.write(name, text)
        os.chmod(os.path.join(self.folder, name), 0o755)

    def run_setup(self, *arguments, **variables):
        run = subprocess.run(
            ["/bin/sh", os.path.join(SCRIPTS, "setup.sh"), *arguments],
            env={"PATH": self.folder, "FAKE": self.folder, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        notes = os.path.join(self.folder, "notes")
        lines = []
        if os.path.exists(notes):
            with open(notes, encoding="utf-8") as file:
                lines = file.read().splitlines()
        return run.returncode, run.stdout, lines

    def test_with_everything_there_nothing_is_asked(self):
        self.write("installed", "\n".join(packages("build") + packages("check")))
        for tier in ("build", "check"):
            self.assertEqual(self.run_setup(tier), (0, "setup: every package is there\n", []))

    def test_what_lacks_and_no_more_is_installed(self):
        lacks = ["cmake", "liblz4-dev"]
        self.write("installed", "\n".join(set(packages("build")) - set(lacks)))
        code, _, notes = self.run_setup()
        self.assertEqual(code, 0)
        self.assertEqual(
            notes,
            [
                "apt-get DEBIAN_FRONTEND=noninteractive update -q",
                "apt-get DEBIAN_FRONTEND=noninteractive install -y --no-install-recommends "
                + " ".join(lacks),
            ],
        )

    def test_check_installs_both_tiers(self):
        code, _, notes = self.run_setup("check")
        self.assertEqual(code, 0)
        self.assertTrue(notes[1].endswith(" ".join(packages("build") + packages("check"))))

    def test_without_package_lists_it_still_tries(self):
        self.write("offline", "")
        code, output, notes = self.run_setup()
        self.assertEqual(code, 0)
        self.assertIn("apt-get update failed", output)
        self.assertEqual(len(notes), 2)

    def test_sudo_where_not_root(self):
        self.tool("id", "#!/bin/sh\necho 1000\n")
        self.tool("sudo", SUDO)
        code, _, notes = self.run_setup()
        self.assertEqual(code, 0)
        self.assertEqual(notes[0], "sudo")
        self.assertTrue(notes[1].startswith("apt-get DEBIAN_FRONTEND=noninteractive"))

    def test_neither_root_nor_sudo(self):
        self.tool("id", "#!/bin/sh\necho 1000\n")
        code, output, notes = self.run_setup()
        self.assertEqual((code, notes), (1, []))
        self.assertIn("neither root nor sudo", output)
        self.assertIn("apt-get install", output)

    def test_another_system(self):
        os.remove(os.path.join(self.folder, "apt-get"))
        code, output, _ = self.run_setup()
        self.assertEqual(code, 1)
        self.assertIn("no Debian system", output)
        self.assertIn("cmake", output)
        code, output, _ = self.run_setup(CLOCKWORK_SETUP="skip")
        self.assertEqual((code, output), (0, ""))

    def test_an_unknown_tier(self):
        self.assertEqual(self.run_setup("all")[0], 2)


if __name__ == "__main__":
    unittest.main()
