"""The command line: what it prints, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import TestCase

from remotevirt.rpcgen import check
from remotevirt.rpcgen.cli import main
from tests.rpcgen.test_dialect import TEXT
from tests.rpcgen.texts import load, unordered

PROTOCOL = Path(__file__).parents[2] / "remotevirt" / "protocol"
ROOT = PROTOCOL.parents[1]


class CommandTests(TestCase):
    """Each command, run in this process."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command: exit status, standard output, standard error."""
        output, errors = StringIO(), StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            status = main(arguments)
        return status, output.getvalue(), errors.getvalue()

    def fails(self, *arguments: str) -> str:
        """Run a command that must fail: its one line of complaint."""
        status, output, errors = self.run_command(*arguments)
        self.assertEqual((status, output, errors.count("\n")), (2, "", 1), errors)
        self.assertTrue(errors.startswith("rpcgen: "), errors)
        return errors.removeprefix("rpcgen: ").rstrip("\n")

    def test_check(self) -> None:
        """How much there is of what."""
        path = self.file("toy.x", TEXT)
        expected = (
            f"{path}: 1 program, 5 procedures (4 calls, 1 event), 5 structs, 0 unions, 0 enums, 2 typedefs, "
            "3 constants (libvirt's dialect)\n"
        )
        self.assertEqual(self.run_command("check", path), (0, expected, ""))

    def test_check_ours(self) -> None:
        """Our own contracts, several at once."""
        status, output, errors = self.run_command("check", str(PROTOCOL / "remote"), str(PROTOCOL / "qemu.x"))
        self.assertEqual((status, errors), (0, ""))
        remote, qemu = output.splitlines()
        self.assertIn(
            "1 program, 456 procedures (401 calls, 55 events), 704 structs, 1 union, 1 enum, ", remote
        )
        self.assertTrue(remote.endswith(", 12 typedefs, 83 constants"), remote)
        self.assertIn("1 program, 7 procedures (6 calls, 1 event), 12 structs, ", qemu)

    def test_check_every_file(self) -> None:
        """Each file of ours can be checked alone: it names the others it needs."""
        paths = [str(path) for path in PROTOCOL.rglob("*.x")]
        status, output, errors = self.run_command("check", *paths)
        self.assertEqual((status, errors, output.count("\n")), (0, "", len(paths)))

    def test_check_external(self) -> None:
        """Types from elsewhere are named."""
        path = self.file("a.x", '%#include "gone.h"\nstruct a { far x<3>; };')
        _, output, _ = self.run_command("check", path)
        self.assertEqual(output.splitlines()[1], f"{path}: types from elsewhere: far")

    def test_check_emitter(self) -> None:
        """What cannot be written in Python is told like any other error."""
        self.patch(check, "emit_module", lambda *_: "class (")
        path = self.file("a.x", "struct a { int x; };")
        self.assertEqual(
            self.fails("check", path), f"{path}: cannot be written in Python: invalid syntax: class ("
        )

    def test_define(self) -> None:
        """Constants that nobody declares."""
        path = self.file("a.x", "struct a { int x[N]; int y[M]; };")
        self.assertEqual(self.fails("check", path), f"{path}:1:18: unknown constant N")
        self.assertEqual(self.run_command("check", "--define", "N=3", "--define", "M=0x10", path)[0], 0)
        for wrong in ("N", "N=", "N=x", "=3", f"N={'9' * 30}"):
            self.assertEqual(
                self.fails("check", "--define", wrong, path),
                f"--define {wrong}: expected NAME=VALUE, the value a number",
            )

    def test_diff(self) -> None:
        """Like diff: 0 for no difference, 1 for some."""
        old, new = self.file("old.x", "const A = 1;"), self.file("new.x", "const A = 2;")
        self.assertEqual(self.run_command("diff", old, old), (0, "", ""))
        expected = "constants: 1 changed\n  ~ A\n      1 -> 2\n"
        self.assertEqual(self.run_command("diff", old, new), (1, expected, ""))

    def test_diff_dialects(self) -> None:
        """libvirt's dialect and our form of the same contract do not differ."""
        old = self.file("old.x", TEXT)
        new = self.file("new.x", self.run_command("print", old)[1])
        self.assertEqual(self.run_command("diff", old, new), (0, "", ""))

    def test_print(self) -> None:
        """Our own form, which means the same."""
        path = self.file("toy.x", TEXT)
        status, output, _ = self.run_command("print", path)
        self.assertEqual(status, 0)
        self.assertIn("        void TOY_PROC_OPEN(toy_open_args) = 1;\n", output)
        self.assertEqual(unordered(load(output)), unordered(load(TEXT)))

    def test_print_included(self) -> None:
        """What is included stays so."""
        status, output, _ = self.run_command("print", str(PROTOCOL / "qemu.x"))
        self.assertEqual(status, 0)
        self.assertTrue(output.startswith('%#include "remote/types.h"\n\n/** Arguments of'), output[:99])

    def test_generate_check(self) -> None:
        """The stubs are up to date."""
        self.assertEqual(self.run_command("generate", "--check"), (0, "", ""))

    def test_errors(self) -> None:
        """One line each, and status 2."""
        path = self.file("a.x", "const A = 1;\nstruct s { foo x; };\n")
        self.assertEqual(self.fails("check", path), f"{path}:2:12: unknown type foo")
        self.assertEqual(self.fails("diff", path, path), f"{path}:2:12: unknown type foo")
        self.assertEqual(self.fails("print", path), f"{path}:2:12: unknown type foo")
        gone = str(self.folder / "gone.x")
        self.assertEqual(self.fails("check", gone), f"{gone}: No such file or directory")
        self.assertIn("COMMAND", self.fails())
        self.assertIn("invalid choice: 'compile'", self.fails("compile"))
        self.assertIn("required: NEW", self.fails("diff", path))
        self.assertIn("unrecognized arguments: --foo", self.fails("check", path, "--foo"))


class ProcessTests(TestCase):
    """The module as a program."""

    def test_module(self) -> None:
        """The exit status and the streams are those of the command."""
        command = [sys.executable, "-m", "remotevirt.rpcgen"]
        good = subprocess.run(
            [*command, "check", str(PROTOCOL / "keepalive.x")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((good.returncode, good.stderr), (0, ""))
        bad = subprocess.run(
            [*command, "check", "gone.x"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((bad.returncode, bad.stdout), (2, ""))
        self.assertEqual(bad.stderr, "rpcgen: gone.x: No such file or directory\n")

    def test_closed_pipe(self) -> None:
        """A reader that has seen enough is no reason for a traceback."""
        command = [sys.executable, "-m", "remotevirt.rpcgen", "print", str(PROTOCOL / "remote")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        process.wait()
