"""Checkpoints of the test hypervisor."""

from __future__ import annotations

from pathlib import Path

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomainCheckpoint
from remotevirt.xml import checkpoint as checkpoint_module
from tests.drivers.driving import domain_xml
from tests.drivers.test_test_domains import INACTIVE, UUID, DomainCase

REDEFINE = c.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE
DEEP = c.VIR_DOMAIN_CHECKPOINT_LIST_DESCENDANTS
TOPOLOGICAL = c.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL
NO_DOMAIN = c.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN

DISKS = (
    "<devices><disk type='file'><source file='/a'/><target dev='vda'/></disk>"
    "<disk type='file'><source file='/b'/><target dev='vdb'/></disk>"
    "<disk type='file' device='cdrom'><target dev='hdc'/></disk></devices>"
)


def checkpoint(name: str = "", inside: str = "") -> str:
    """Return a document."""
    title = f"<name>{name}</name>" if name else ""
    return f"<domaincheckpoint>{title}{inside}</domaincheckpoint>"


class CheckpointCase(DomainCase):
    """The running domain "guest" with three disks, one of them empty."""

    def setUp(self) -> None:
        super().setUp()
        self.calls.domain_destroy(self.guest)
        self.calls.domain_define_xml(domain_xml("guest", DISKS, UUID))
        self.calls.domain_create(self.guest)

    def make(self, name: str = "", inside: str = "", flags: int = 0) -> NonnullDomainCheckpoint:
        """Make a checkpoint."""
        made: NonnullDomainCheckpoint = self.calls.domain_checkpoint_create_xml(
            self.guest, checkpoint(name, inside), flags
        )
        return made

    def ref(self, name: str) -> NonnullDomainCheckpoint:
        """Return a reference."""
        return NonnullDomainCheckpoint(name, self.guest)

    def names(self, flags: int = 0, of: str | None = None) -> list[str]:
        """Return the names of checkpoints."""
        if of is None:
            listed = self.calls.domain_list_all_checkpoints(self.guest, 1, flags)
            counted = self.calls.domain_list_all_checkpoints(self.guest, 0, flags)
        else:
            listed = self.calls.domain_checkpoint_list_all_children(self.ref(of), 1, flags)
            counted = self.calls.domain_checkpoint_list_all_children(self.ref(of), 0, flags)
        names = [one.name for one in listed.checkpoints]
        self.assertEqual((listed.ret, counted.ret, counted.checkpoints), (len(names), len(names), []))
        return names

    def text(self, name: str, flags: int = NO_DOMAIN) -> str:
        """Return a checkpoint's document."""
        text: str = self.calls.domain_checkpoint_get_xml_desc(self.ref(name), flags)
        return text


class CheckpointTests(CheckpointCase):
    """What they say, and how they hang together."""

    def test_document(self) -> None:
        """Disks that can be written to are recorded, each in a bitmap of the checkpoint's name."""
        self.connection.hypervisor.world.now = lambda: 1_525_889_631 * 10**9
        self.make("sunday")
        self.make("monday", "<description>d</description>")
        expected = """\
<domaincheckpoint>
  <name>monday</name>
  <description>d</description>
  <parent>
    <name>sunday</name>
  </parent>
  <creationTime>1525889631</creationTime>
  <disks>
    <disk name='vda' checkpoint='bitmap' bitmap='monday'/>
    <disk name='vdb' checkpoint='bitmap' bitmap='monday'/>
    <disk name='hdc' checkpoint='no'/>
  </disks>
"""
        self.assertEqual(self.text("monday"), expected + "</domaincheckpoint>\n")
        guest = "".join(f"  {line}\n" for line in self.xml(INACTIVE).splitlines())
        self.assertEqual(self.text("monday", 0), f"{expected}{guest}</domaincheckpoint>\n")
        self.assertEqual(self.make().name, "1525889631")

    def test_some_disks(self) -> None:
        """Where disks are named, the others are not recorded."""
        self.make("c", "<disks><disk name='/b' bitmap='map'/></disks>")
        lines = [line.strip() for line in self.text("c").splitlines() if "<disk " in line]
        self.assertEqual(
            lines,
            [
                "<disk name='vda' checkpoint='no'/>",
                "<disk name='vdb' checkpoint='bitmap' bitmap='map'/>",
                "<disk name='hdc' checkpoint='no'/>",
            ],
        )

    def test_refused(self) -> None:
        """What cannot be asked for."""
        self.make("there")
        for name, disks, code, message in (
            ("c", "<disk name='vdz'/>", 67, "no disk named 'vdz'"),
            ("c", "<disk name='hdc'/>", 67, "disk 'hdc' is empty or readonly"),
            ("c", "<disk name='vda'/><disk name='vda'/>", 67, "disk 'vda' specified twice"),
            ("c", "<disk name='vda'/>" * 4, 67, "too many disk checkpoint requests for domain"),
            ("there", "", 9, "domain moment there already exists"),
        ):
            inside = f"<disks>{disks}</disks>" if disks else ""
            error = self.assertRaises(VirError, self.make, name, inside)
            self.assertEqual((error.code, error.detail), (code, message))
        self.calls.domain_destroy(self.guest)
        text = "Operation not supported: cannot create checkpoint for inactive domain"
        self.assert_refused(self.make, "c", code=84, message=text)

    def test_schema(self) -> None:
        """Documents are held to libvirt's schema, where that is installed, and read without it too."""
        if checkpoint_module.SCHEMA.exists():
            error = self.assertRaises(VirError, self.make, "a/b")
            self.assertEqual(error.code, 92)
        self.patch(checkpoint_module, "SCHEMA", Path("/nonexistent/schema.rng"))
        self.make("a/b")
        for inside, message in (
            ("<disks><disk/></disks>", "missing name from disk checkpoint element"),
            (
                "<disks><disk name='vda' checkpoint='x'/></disks>",
                "Invalid value for attribute 'checkpoint' in element 'disk': 'x'.",
            ),
        ):
            error = self.assertRaises(VirError, self.make, "c", inside)
            self.assertEqual(error.detail, message)

    def test_lists(self) -> None:
        """A chain, and a branch that a description makes."""
        for name in "abc":
            self.make(name)
        self.make("d", "<creationTime>1</creationTime><parent><name>a</name></parent>", REDEFINE)
        self.assertEqual(self.names(), ["a", "b", "c", "d"])
        self.assertEqual(self.names(TOPOLOGICAL), ["a", "d", "b", "c"])
        self.assertEqual(self.names(DEEP), ["a"])
        self.assertEqual(self.names(of="a"), ["d", "b"])
        self.assertEqual(self.names(DEEP, of="a"), ["d", "b", "c"])
        self.assertEqual(self.names(c.VIR_DOMAIN_CHECKPOINT_LIST_LEAVES), ["c", "d"])
        self.assertEqual(self.calls.domain_checkpoint_get_parent(self.ref("c"), 0).name, "b")
        text = "Domain checkpoint not found: checkpoint 'a' does not have a parent"
        self.assert_refused(self.calls.domain_checkpoint_get_parent, self.ref("a"), 0, code=103, message=text)
        text = "Domain checkpoint not found: no domain checkpoint with matching name 'x'"
        self.assert_refused(
            self.calls.domain_checkpoint_lookup_by_name, self.guest, "x", 0, code=103, message=text
        )

    def test_delete(self) -> None:
        """One, its children, or both; the next one comes from the nearest that is left."""
        for name in "abcd":
            self.make(name)
        self.calls.domain_checkpoint_delete(self.ref("b"), 0)
        self.assertEqual(self.names(of="a"), ["c"])
        self.calls.domain_checkpoint_delete(self.ref("c"), c.VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN_ONLY)
        self.make("e")
        self.assertEqual(self.calls.domain_checkpoint_get_parent(self.ref("e"), 0).name, "c")
        self.calls.domain_checkpoint_delete(self.ref("a"), c.VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN)
        self.assertEqual(self.names(), [])

    def test_redefine(self) -> None:
        """A description without the guest is kept without it; one of another guest is refused."""
        when = "<creationTime>1525889631</creationTime>"
        self.make("r", when, REDEFINE)
        expected = "<domaincheckpoint>\n  <name>r</name>\n  <creationTime>1525889631</creationTime>\n"
        self.assertEqual(self.text("r", 0), f"{expected}</domaincheckpoint>\n")
        self.make("r", when + domain_xml("guest", DISKS, UUID), REDEFINE)
        self.assertIn("<disk name='vda' checkpoint='bitmap' bitmap='r'/>", self.text("r"))
        other = domain_xml("guest", DISKS, "11111111-2222-3333-4444-555555555555")
        text = f"invalid argument: definition for checkpoint r must use uuid {UUID}"
        self.assert_refused(self.make, "r", when + other, REDEFINE, code=8, message=text)
        text = "internal error: missing creationTime from existing checkpoint"
        self.assert_refused(self.make, "r", "", REDEFINE, code=1, message=text)
        text = "unsupported configuration: domain must have at least one disk to perform checkpoints"
        self.assert_refused(
            self.make, "r", when + domain_xml("guest", uuid=UUID), REDEFINE, code=67, message=text
        )

    def test_size(self) -> None:
        """Sizes may be asked for while the domain is active, and are never known."""
        self.make("c")
        size = c.VIR_DOMAIN_CHECKPOINT_XML_SIZE
        self.assertEqual(self.text("c", size | NO_DOMAIN), self.text("c"))
        self.calls.domain_destroy(self.guest)
        text = "Requested operation is not valid: domain is not running"
        self.assert_refused(self.text, "c", size, code=55, message=text)
        self.assertEqual(self.names(), ["c"])

    def test_not_beside_snapshots(self) -> None:
        """A domain has checkpoints or snapshots."""
        self.calls.domain_snapshot_create_xml(self.guest, "<domainsnapshot/>", 0)
        text = "Operation not supported: cannot create checkpoint while snapshot exists"
        self.assert_refused(self.make, "c", code=84, message=text)

    def test_flags(self) -> None:
        """Flags that do not go together."""
        prefix = "VIR_DOMAIN_CHECKPOINT_CREATE_"
        for flags, message in (
            (3, f"Flags '{prefix}REDEFINE' and '{prefix}QUIESCE' are mutually exclusive"),
            (4, f"Flag '{prefix}REDEFINE' is required by flag '{prefix}REDEFINE_VALIDATE'"),
            (8, "unsupported flags (0x8) in function testDomainCheckpointCreateXML"),
        ):
            self.assert_refused(self.make, "c", "", flags, code=8, message=message)
