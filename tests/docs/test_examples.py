"""The example drivers, beyond what the manual's own commands do with them."""

from __future__ import annotations

import tomllib
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.daemons import ProcessTestCase
from tests.docs.pages import DOCS, ROOT
from tests.interop.peers import require

EXAMPLES = DOCS / "examples"

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
        for name in ("fleet.py", "processes.py", "notes.py", "fleet-pyproject.toml"):
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
