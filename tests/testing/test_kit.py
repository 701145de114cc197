"""The kit from outside: its process, its fixtures, its test cases, as their users have them."""

from __future__ import annotations

import json
import signal
import sys
import time
import unittest
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.testing import FakeProcess, FakeTestCase, WorldError
from remotevirt.testing.cases import world_name
from tests.daemons import Process, ProcessTestCase
from tests.docs.pages import DOCS
from tests.interop.peers import PYTHON, require, run_virsh
from tests.testing.test_worlds import LAB

PYTEST = """
import subprocess

def virsh(uri, *words):
    return subprocess.run(["virsh", "-c", uri, *words], capture_output=True, text=True).returncode

def test_one(libvirt_world):
    assert virsh(libvirt_world.uri, "destroy", "test") == 0
    assert not libvirt_world.domains()["test"]["active"]

def test_two(libvirt_world):
    assert libvirt_world.domains()["test"]["active"]
    assert libvirt_world.advance(3600) == 3600
"""


class CommandTests(ProcessTestCase):
    """``remotevirt-fake``."""

    def start(self, *options: str) -> Process:
        """Start it."""
        return self.spawn(sys.executable, "-m", "remotevirt.testing.command", *options)

    @inlineCallbacks
    def line(self, process: Process) -> Any:
        """What it says when it can be used."""
        found = yield process.line(r"^\{.*\}$")
        return json.loads(found[0])

    @inlineCallbacks
    def test_ends_with_its_parent(self) -> Any:
        """Its standard input ends when whoever started it does; its folder is gone then."""
        process = self.start()
        said = yield self.line(process)
        self.assertEqual({"uri", "control", "pid"}, set(said))
        self.assertEqual(process.transport.pid, said["pid"])
        socket = Path(said["uri"].partition("socket=")[2])
        self.assertTrue(socket.exists())
        process.transport.closeStdin()
        self.assertEqual(0, (yield self.ended(process)), process.printed())
        self.assertFalse(socket.parent.exists())

    @inlineCallbacks
    def test_keep(self) -> Any:
        """For a service: only a signal ends it."""
        process = self.start("--keep", "--listen", "tcp:0:interface=127.0.0.1")
        said = yield self.line(process)
        self.assertRegex(said["listen"][0], r"^test\+tcp://127\.0\.0\.1:\d+/default$")
        process.transport.closeStdin()
        yield self.end(process, signal.SIGTERM)
        self.assertFalse(Path(said["uri"].partition("socket=")[2]).exists())

    @inlineCallbacks
    def test_mistakes(self) -> Any:
        """One line, no traceback, status 1."""
        for options in (
            ("--world", "/nowhere.toml"),
            ("--fault", "hang"),
            ("--listen", "nothing:1"),
            ("--listen", "unix:/nonexistent/sock"),
            ("--control", "unix:/nonexistent/sock"),
        ):
            process = self.start(*options)
            self.assertEqual(1, (yield self.ended(process)), process.printed())
            self.assertRegex(process.err.decode(), r"\Aremotevirt-fake: [^\n]+\n\Z")

    @inlineCallbacks
    def test_pytest(self) -> Any:
        """The fixtures, by pytest itself."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        (folder / "test_guests.py").write_text(PYTEST)
        plugin = ("-p", "remotevirt.pytest_plugin", "-p", "no:cacheprovider")
        known = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        process = self.spawn(sys.executable, "-m", "pytest", *plugin, str(folder), cwd=folder, env=known)
        self.assertEqual(0, (yield self.ended(process)), process.printed())
        self.assertIn(b"2 passed", process.out)


class ProcessTests(SynchronousTestCase):
    """``FakeProcess``, and how fast it is."""

    def test_worlds(self) -> None:
        require("virsh")
        with FakeProcess(clock="manual", faults=["procedure=domain_suspend,error=no_memory"]) as fake:
            one, two = fake.world("one"), fake.world("two")
            self.assertEqual(0, run_virsh(one.uri, "destroy", "test").status)
            self.assertIn("out of memory", run_virsh(two.uri, "suspend", "test").err)
            self.assertEqual(1, len(two.calls("domain_suspend", "test")))
            self.assertEqual([], two.calls("domain_destroy"))
            began = time.perf_counter()
            one.reset()
            self.assertLess(time.perf_counter() - began, 5)
            self.assertTrue(one.domains()["test"]["active"])

    def test_file(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "lab.toml").write_text(LAB)
        with FakeProcess(folder / "lab.toml") as fake:
            self.assertEqual(52, len(fake.world("any").domains()))
        self.assertRaises(WorldError, FakeProcess, folder / "none.toml")


class CaseTests(SynchronousTestCase):
    """``FakeTestCase``."""

    def test_worlds_of_their_own(self) -> None:
        class Inner(FakeTestCase):
            fake_options: ClassVar[dict[str, Any]] = {"clock": "manual"}

            def test_a(self) -> None:
                self.world.crash("test")

            def test_b(self) -> None:
                self.assertTrue(self.world.domains()["test"]["active"])
                self.assertIn("test_b", self.uri)

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Inner).run(result)
        self.assertEqual((2, [], []), (result.testsRun, result.errors, result.failures))

    def test_names(self) -> None:
        for name in ("tests.x.Y.test_z", "a[b-c]::d", "ä" * 100, "-" * 5, "x" * 100):
            self.assertRegex(world_name(name), r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


class ExampleTests(ProcessTestCase):
    """The manual's examples."""

    @inlineCallbacks
    def test_libvirt_python(self) -> Any:
        require("libvirt-python")
        bin_ = Path(self.mktemp()).resolve()
        bin_.mkdir()
        command = bin_ / "remotevirt-fake"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m remotevirt.testing.command "$@"\n')
        command.chmod(0o755)
        path = {"PATH": f"{bin_}:/usr/bin:/bin"}
        process = self.spawn(PYTHON, str(DOCS / "examples/fake_python.py"), "-v", env=path)
        self.assertEqual(0, (yield self.ended(process)), process.printed())
        self.assertIn(b"OK", process.err)

    @inlineCallbacks
    def test_unittest(self) -> Any:
        require("virsh")
        process = self.spawn(sys.executable, str(DOCS / "examples/fake_unittest.py"), "-v")
        self.assertEqual(0, (yield self.ended(process)), process.printed())
        self.assertIn(b"OK", process.err)
