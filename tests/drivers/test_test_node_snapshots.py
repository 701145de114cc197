"""Snapshots that a node file gives its domains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.test import TestDriver
from remotevirt.errors import VirError
from tests.drivers.driving import connect, domain_xml
from tests.drivers.snapshots import described
from tests.drivers.test_test_domains import UUID

NAMESPACE = "xmlns:test='http://libvirt.org/schemas/domain/test/1.0'"


class NodeSnapshotTests(TestCase):
    """``<test:domainsnapshot>``."""

    def setUp(self) -> None:
        self.folder = Path(os.path.realpath(self.mktemp()))
        self.folder.mkdir()

    def open(self, *snapshots: str) -> Any:
        """Open a node with one domain that has these snapshots; return the hypervisor."""
        text = domain_xml("guest", "".join(snapshots), UUID).replace("<domain ", f"<domain {NAMESPACE} ")
        (self.folder / "node.xml").write_text(f"<node>{text}</node>")
        driver = TestDriver(files=str(self.folder))
        return connect(driver, f"test://{self.folder}/node.xml").hypervisor

    def file(self, name: str, text: str) -> str:
        """Write a description into a file; return the element that refers to it."""
        (self.folder / name).write_text(text)
        return f"<test:domainsnapshot file='{name}'/>"

    def test_files_and_elements(self) -> None:
        """Descriptions in files and in place, children before parents, and the current one."""
        inline = described("old").replace("domainsnapshot>", "test:domainsnapshot>")
        new = described("new", "shutoff", "old", "<active>1</active>")
        calls = self.open(self.file("new.xml", new), inline)
        guest = calls.domain_lookup_by_name("guest")
        self.assertEqual(calls.domain_snapshot_list_names(guest, 10, 1024), ["old", "new"])
        self.assertEqual(calls.domain_snapshot_current(guest, 0).name, "new")
        self.assertNotIn("domainsnapshot", calls.domain_get_xml_desc(guest, 0))

    def test_refused(self) -> None:
        """What libvirtd ends with is an error here."""
        active = "<active>1</active>"
        for snapshots, message in (
            (["<test:domainsnapshot file='missing.xml'/>"], "failed to parse xml document"),
            ([self.file("a.xml", described("a", parent="x"))], "parent x for moment a not found"),
            ([self.file("b.xml", "<domainsnapshot/>")], "a redefined snapshot must have a name"),
            (
                [
                    self.file("c.xml", described("c", inside=active)),
                    self.file("d.xml", described("d", inside=active)),
                ],
                "more than one snapshot claims to be active",
            ),
            (
                [
                    self.file("e.xml", described("e", parent="f")),
                    self.file("f.xml", described("f", parent="e")),
                ],
                "parent f for moment e not found",
            ),
        ):
            error = self.assertRaises(VirError, self.open, *snapshots)
            self.assertIn(message, error.message)
