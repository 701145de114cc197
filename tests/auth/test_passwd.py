"""``remotevirt-passwd``."""

from __future__ import annotations

import getpass
import io
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.auth import make_keys, passwd
from remotevirt.auth.users import read_users
from tests.auth.fakes import FEW
from tests.daemons import ProcessTestCase


class PasswdTests(SynchronousTestCase):
    """The command, called as a function, with few iterations."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "users"
        self.patch(passwd, "make_keys", lambda name, password: make_keys(name, password, FEW))

    def run_(self, *arguments: str, stdin: str = "", file: bool = True) -> tuple[int, str, str]:
        """Run; return status, output, errors."""
        self.patch(sys, "stdin", io.StringIO(stdin))
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        try:
            status: Any = passwd.main([*(("--file", str(self.path)) if file else ()), *arguments])
        except SystemExit as end:
            status = end.code
        return status, out.getvalue(), err.getvalue()

    def add(self, user: str, password: str, *options: str) -> None:
        self.assertEqual((0, "", ""), self.run_("--stdin", *options, user, stdin=f"{password}\n"))

    def test_add_list_check_change_delete(self) -> None:
        self.add("alice", "secret")
        self.add("bob", "pencil", "--sha1")
        listed = "alice: SCRAM-SHA-256 SCRAM-SHA-512\nbob: SCRAM-SHA-256 SCRAM-SHA-512 SCRAM-SHA-1\n"
        self.assertEqual((0, listed, ""), self.run_("--list"))
        self.assertEqual((0, "", ""), self.run_("--check", "alice", "--stdin", stdin="secret\n"))
        wrong = (1, "", "remotevirt-passwd: wrong password\n")
        self.assertEqual(wrong, self.run_("--check", "alice", "--stdin", stdin="pencil\n"))
        self.add("alice", "another")
        self.assertEqual(wrong, self.run_("--check", "alice", "--stdin", stdin="secret\n"))
        self.assertEqual((0, "", ""), self.run_("--delete", "alice"))
        self.assertEqual((1, "", "remotevirt-passwd: no user 'alice'\n"), self.run_("--delete", "alice"))
        self.assertEqual({"bob"}, set(read_users(self.path).users))

    def test_iterations(self) -> None:
        """As often as clients on Cyrus SASL take at most."""
        self.patch(passwd, "make_keys", make_keys)
        self.add("alice", "secret")
        self.assertEqual({65536}, {key.iterations for key in read_users(self.path).users["alice"].values()})

    def asking(self, *answers: str) -> None:
        """Answer prompts."""
        left = list(answers)
        self.patch(getpass, "getpass", lambda prompt: left.pop(0))

    def test_prompted_twice(self) -> None:
        self.asking("secret", "secret", "secret")
        self.assertEqual((0, "", ""), self.run_("alice"))
        self.assertEqual((0, "", ""), self.run_("--check", "alice"))
        self.asking("one", "other")
        self.assertEqual((1, "", "remotevirt-passwd: the passwords differ\n"), self.run_("alice"))

    def test_interrupted(self) -> None:
        def interrupt(prompt: str) -> str:
            raise KeyboardInterrupt

        self.patch(getpass, "getpass", interrupt)
        self.assertEqual((1, "", "remotevirt-passwd: no password given\n"), self.run_("alice"))
        self.assertFalse(self.path.exists())

    def test_passwords_that_are_none(self) -> None:
        for password in ("", "\n", "a\0b\n", "\udcff\n", "x" * 1025 + "\n"):
            status, out, err = self.run_("--stdin", "alice", stdin=password)
            self.assertEqual((1, "", 1), (status, out, err.count("\n")), password[:10])
        self.assertFalse(self.path.exists())

    def test_names_that_are_none(self) -> None:
        for name in ("a:b", "#a", "", "a\nb"):
            for command in ([name], ["--delete", name], ["--check", name]):
                status, _, err = self.run_("--stdin", *command, stdin="secret\n")
                self.assertEqual((1, 1), (status, err.count("\n")), name)

    def test_file_that_cannot_be_used(self) -> None:
        no_file = f"remotevirt-passwd: {self.path}: No such file or directory\n"
        self.assertEqual((1, "", no_file), self.run_("--list"))
        self.path.write_text("nonsense")
        self.path.chmod(0o600)
        for command in (["--list"], ["--delete", "a"], ["--check", "a"], ["a"]):
            status, _, err = self.run_("--stdin", *command, stdin="secret\n")
            self.assertEqual(1, status)
            self.assertEqual(
                f"remotevirt-passwd: {self.path}:1: a user has keys, one for each mechanism\n", err
            )
        self.assertEqual("nonsense", self.path.read_text())

    def test_command_lines_that_are_none(self) -> None:
        for command in (
            [],
            ["a", "b"],
            ["a", "--list"],
            ["a", "--delete", "b"],
            ["--delete"],
            ["--nonsense"],
        ):
            status, _, err = self.run_(*command)
            self.assertEqual(2, status, command)
            self.assertIn("usage: remotevirt-passwd", err)

    def test_default_file(self) -> None:
        home = self.path.parent.absolute() / "config"
        self.patch(os, "geteuid", lambda: 1000)
        self.patch(os, "environ", {"XDG_CONFIG_HOME": str(home)})
        self.assertEqual((0, "", ""), self.run_("--stdin", "alice", stdin="secret\n", file=False))
        self.assertEqual({"alice"}, set(read_users(home / "remotevirt" / "users").users))
        self.patch(os, "geteuid", lambda: 0)
        self.assertEqual(Path("/etc/remotevirt/users"), passwd.default_path())


class CommandTests(ProcessTestCase):
    """The command as people start it."""

    @inlineCallbacks
    def test_module(self) -> Any:
        path = Path(self.mktemp()).absolute()
        command = [sys.executable, "-m", "remotevirt.auth.passwd", "--file", str(path), "--stdin"]
        process = self.spawn(*command, "alice")
        process.transport.write(b"secret\n")
        self.assertEqual(0, (yield process.ended), process.printed())
        process = self.spawn(*command, "--check", "alice")
        process.transport.write(b"wrong\n")
        self.assertEqual(1, (yield process.ended), process.printed())
        self.assertEqual(b"remotevirt-passwd: wrong password\n", process.err)
