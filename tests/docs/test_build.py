"""The manual builds, without a warning, and holds what its extensions make."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.server.daemon import PROGRAMS
from remotevirt.stubs import admin
from tests.docs.pages import DOCS, ROOT

EXPECTED_OF_BOTH = {
    "connect_open": "daemon",
    "domain_get_info": "test, qemu",
    "network_define_xml": "test",
    "domain_open_channel": "qemu",
    "domain_event_lifecycle": "event",
}
"""Who answers with driver ``test``, and with ``qemu``."""

BUILD_SECONDS = 120.0
"""How long a build may take; alone on the machine it takes a few seconds."""


def _rows(html: str) -> dict[tuple[str, str], list[str]]:
    """The cells of each table row of a page, by the texts of the first two."""
    cells = [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?>(.*?)</tr>", html, re.DOTALL)
    ]
    return {(row[0], row[1]): row for row in cells if len(row) > 1}


class ManualBuildTests(SynchronousTestCase):
    """One build, looked at from several sides."""

    def build(self) -> Path:
        """Build the manual as HTML into a folder of the test's own."""
        folder = Path(self.mktemp()).resolve()
        command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b", "html"]
        command += ["-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return folder / "html"

    def test_builds(self) -> None:
        """No warning; every page is there; the table of procedures is complete, and says who answers."""
        html = self.build()
        self.assertEqual(
            {path.stem for path in DOCS.glob("*.rst")} - {path.stem for path in html.glob("*.html")}, set()
        )
        rows = _rows((html / "procedures.html").read_text())
        for program in (*PROGRAMS, admin.PROGRAM):
            for procedure in program.procedures.values():
                self.assertIn((str(procedure.number), procedure.name), rows)
        self.assertIn("daemon", rows["1", "connect_open"])
        self.assertIn("test, qemu", rows["16", "domain_get_info"])
        self.assertIn("qemu", rows["1", "domain_monitor_command"])
        self.assertIn("daemon", rows["11", "client_close"])
        architecture = (html / "architecture.html").read_text()
        self.assertIn("VIR_NET_MESSAGE_MAX", architecture)
        self.assertIn("33,554,432 (32 MiB)", architecture)
        self.assertIn("max_client_requests", architecture)
        self.assertNotIn("list-table", architecture)


class ManualTablesTests(SynchronousTestCase):
    """What the extensions find out about the code, without Sphinx around it."""

    def setUp(self) -> None:
        self.patch(sys, "path", [str(DOCS / "ext"), *sys.path])
        for name in ("procedures", "tables"):
            self.addCleanup(sys.modules.pop, name, None)

    def test_who_answers(self) -> None:
        """A session is asked: itself, the driver, nobody, or it is an event."""
        procedures = importlib.import_module("procedures")

        remote = PROGRAMS[0]
        expected = {
            "connect_open": "daemon",
            "domain_get_info": "test",
            "domain_open_channel": "",
            "domain_event_lifecycle": "event",
        }
        found = {name: procedures.answers(remote, remote.by_name[name]) for name in expected}
        self.assertEqual(found, expected)
        both = {name: procedures.who_answers(remote, remote.by_name[name]) for name in EXPECTED_OF_BOTH}
        self.assertEqual(both, EXPECTED_OF_BOTH)

    def test_notes(self) -> None:
        """Streams and descriptors are told of."""
        procedures = importlib.import_module("procedures")

        by_name = PROGRAMS[0].by_name
        self.assertIn("stream from the client", procedures.notes(by_name["storage_vol_upload"]))
        self.assertIn("stream to the client", procedures.notes(by_name["domain_screenshot"]))
        self.assertIn("descriptors", procedures.notes(by_name["domain_create_with_files"]))
        self.assertEqual(procedures.notes(by_name["domain_get_info"]), "")
