"""The example drivers, beyond what the manual's own commands do with them."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import tempfile
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.daemons import Process, ProcessTestCase
from tests.docs.pages import DOCS, ROOT
from tests.interop.peers import require

EXAMPLES = DOCS / "examples"
reactor: Any = _reactor

MOST_LINES = 50
"""Of the first driver, imports and all; the manual calls it forty lines."""


class SmallDriverTests(SynchronousTestCase):
    """``fleet.py``."""

    def test_is_small(self) -> None:
        """It is as short as the manual says: some forty lines, blank ones and imports apart."""
        lines = (EXAMPLES / "fleet.py").read_text().splitlines()
        self.assertLess(len([line for line in lines if line.strip()]), MOST_LINES)

    def test_is_what_the_manual_shows(self) -> None:
        """The page includes the file that the tests run, rather than a copy."""
        page = (DOCS / "driver.rst").read_text()
        for name in ("fleet.py", "processes.py", "fleet-pyproject.toml"):
            self.assertIn(f".. literalinclude:: examples/{name}\n", page)


class EntryPointTests(ProcessTestCase):
    """A driver by its short name."""

    def test_entry_point(self) -> Deferred[None]:
        """An installed package's entry point, taken from the manual's example, is found by ``--driver``."""
        require("virsh")
        project = tomllib.loads((EXAMPLES / "fleet-pyproject.toml").read_text())["project"]
        site = Path(self.mktemp()).resolve()
        info = site / f"{project['name']}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        points = [f"[{group}]" for group in project["entry-points"]]
        points += [
            f"{name} = {target}"
            for group in project["entry-points"].values()
            for name, target in group.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(points) + "\n")
        (site / "fleet.py").write_text((EXAMPLES / "fleet.py").read_text())

        path = {"PYTHONPATH": f"{site}:{ROOT}"}
        daemon = self.twistd(
            "--driver", "fleet:guests=three", "--listen", "tcp:0:interface=127.0.0.1", env=path
        )

        async def look() -> None:
            port = (await daemon.line(r"^Listening on tcp:127\.0\.0\.1:(\d+)"))[1]
            virsh = self.spawn(
                "/usr/bin/env", "virsh", "-c", f"fleet+tcp://127.0.0.1:{port}/system", "list", "--all"
            )
            self.assertEqual(await self.ended(virsh), 0, virsh.printed())
            self.assertIn("three", virsh.printed())

        return Deferred.fromCoroutine(look())


class SystemdTests(ProcessTestCase):
    """The units, as far as they go without systemd."""

    def unit(self, name: str) -> ConfigParser:
        """Read one of the manual's units."""
        parser = ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[method-assign,assignment]
        parser.read_string((EXAMPLES / name).read_text())
        return parser

    def test_command(self) -> Deferred[None]:
        """The service's command serves on a socket that it is handed as by systemd, and leaves it there."""
        require("virsh")
        program, *arguments = shlex.split(self.unit("remotevirt.service")["Service"]["ExecStart"])
        self.assertEqual(Path(program).name, "twistd")
        folder = tempfile.mkdtemp(prefix="systemd-")
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/sock"
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        listening.bind(path)
        listening.listen()

        main = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
        command = shlex.join([sys.executable, "-c", main, *arguments])
        process = Process()
        reactor.spawnProcess(
            process,
            "/bin/sh",
            ["sh", "-c", f"LISTEN_PID=$$ exec {command}"],
            {
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                "LISTEN_FDS": "1",
                "LISTEN_FDNAMES": self.unit("remotevirt.socket")["Socket"]["FileDescriptorName"],
            },
            childFDs={0: "w", 1: "r", 2: "r", 3: listening.fileno()},
        )
        self.addCleanup(self.end, process)

        async def look() -> None:
            await process.line(r"^Listening on unix:")
            uri = f"test+unix:///default?socket={path}"
            virsh = self.spawn("/usr/bin/env", "virsh", "-c", uri, "domstate", "test")
            self.assertEqual(await self.ended(virsh), 0, virsh.printed())
            self.assertIn("running", virsh.printed())
            await self.end(process)
            self.assertTrue(os.path.exists(path))

        return Deferred.fromCoroutine(look())
