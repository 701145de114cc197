"""Snapshots of the test hypervisor: what they say, which disks they have, and what they may cost."""

from __future__ import annotations

from remotevirt.drivers.domains import moments as moments_module
from remotevirt.drivers.domains import table as world_module
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from tests.drivers.driving import domain_xml
from tests.drivers.snapshots import SnapshotCase
from tests.drivers.test_test_domains import INACTIVE


class DocumentTests(SnapshotCase):
    """What a snapshot says of itself."""

    def text(self, name: str, flags: int = 0) -> str:
        """Return a snapshot's document without the guest's."""
        text: str = self.calls.domain_snapshot_get_xml_desc(self.ref(name), flags)
        return text.partition("  <domain")[0]

    def test_running(self) -> None:
        """All parts, in libvirt's order, the guest's own document at the end."""
        self.take("first")
        self.connection.hypervisor.world.now = lambda: 1_386_166_249_987_654_321
        self.take("second", "<description>a &lt; b</description>")
        text = self.calls.domain_snapshot_get_xml_desc(self.ref("second"), 0)
        inactive = self.xml(INACTIVE)
        body = "".join(f"  {line}\n" for line in inactive.splitlines())
        expected = f"""\
<domainsnapshot>
  <name>second</name>
  <description>a &lt; b</description>
  <state>running</state>
  <parent>
    <name>first</name>
  </parent>
  <creationTime>1386166249</creationTime>
  <memory snapshot='internal'/>
{body}</domainsnapshot>
"""
        self.assertEqual(text, expected)

    def test_off(self) -> None:
        """A domain that is off has no memory to keep, whatever is asked for."""
        self.calls.domain_destroy(self.guest)
        self.take("off", "<memory snapshot='internal'/>")
        self.assertIn("<state>shutoff</state>", self.text("off"))
        self.assertIn("<memory snapshot='no'/>", self.text("off"))

    def test_name_is_the_time(self) -> None:
        """A snapshot without a name is named after its second."""
        self.connection.hypervisor.world.now = lambda: 1_386_166_249 * 10**9
        self.assertEqual(self.take().name, "1386166249")
        self.assertEqual(self.take("x/y").name, "x/y")

    def test_passwords(self) -> None:
        """The guest's passwords are shown to those who ask for them."""
        graphics = "<devices><graphics type='vnc' passwd='sesame'/></devices>"
        self.guest = self.calls.domain_create_xml(domain_xml("secret", graphics), 0)
        self.take("s")
        texts = [self.calls.domain_snapshot_get_xml_desc(self.ref("s"), flags) for flags in (0, 1)]
        self.assertEqual(["sesame" in text for text in texts], [False, True])

    def test_too_long_to_be_sent(self) -> None:
        """A document that has grown too long says so, as libvirt's daemon does."""
        self.take("s", f"<description>{'&lt;' * 1_000_000}</description>")
        text = "Unable to encode message payload"
        self.calls.domain_snapshot_get_xml_desc(self.ref("s"), 0)
        self.take("t", f"<description>{'&#34;' * 800_000}</description>")
        self.assert_refused(self.text, "t", code=39, message=text)

    def test_memory(self) -> None:
        """What can be said of the memory."""
        domain = "XML error: "
        for inside, message in (
            ("<memory snapshot='external'/>", "external memory snapshots require a filename"),
            ("<memory snapshot='external' file='m'/>", "memory snapshot file path (m) must be absolute"),
            ("<memory snapshot='no' file='/m'/>", "memory filename '/m' requires external snapshot"),
            ("<memory snapshot='manual'/>", "'manual' memory snapshot mode not supported"),
            ("<memory snapshot=''/>", "Invalid value for attribute 'snapshot' in element 'memory': ''."),
        ):
            self.assert_refused(self.take, "m", inside, code=27, message=domain + message)
        self.take("m", "<memory file='/m'/>")
        self.assertIn("<memory snapshot='external' file='/m'/>", self.text("m"))


class DiskTests(SnapshotCase):
    """Which disks a snapshot has, and how they are kept."""

    def setUp(self) -> None:
        super().setUp()
        disks = "".join(
            f"<disk type='{kind}'{extra}>{source}<target dev='{name}'/>{more}</disk>"
            for kind, extra, source, name, more in (
                ("file", "", "<source file='/a'/>", "vda", ""),
                ("file", " snapshot='no'", "<source file='/b'/>", "vdb", ""),
                ("block", "", "<source dev='/c'/>", "vdc", "<readonly/>"),
                ("file", " device='cdrom'", "", "hdc", ""),
            )
        )
        self.guest = self.calls.domain_create_xml(domain_xml("disks", f"<devices>{disks}</devices>"), 0)

    def disks(self, name: str) -> list[str]:
        """Return the disks of a snapshot, as printed."""
        lines = self.calls.domain_snapshot_get_xml_desc(self.ref(name), 0).splitlines()
        return [line.strip() for line in lines[: lines.index("  </disks>")] if "<disk " in line]

    def test_all_are_there(self) -> None:
        """Disks that the document leaves out are kept as they want it, and the empty ones not at all."""
        self.take("s", "<disks><disk name='/a'/></disks>")
        modes = {"vda": "internal", "vdb": "no", "vdc": "no", "hdc": "no"}
        expected = [f"<disk name='{name}' snapshot='{mode}'/>" for name, mode in modes.items()]
        self.assertEqual(self.disks("s"), expected)

    def test_outside(self) -> None:
        """With the memory outside, disks may be kept in any way, and a new image has to be named."""
        memory = "<memory file='/m'/>"
        image = "<disk name='vda'><driver type='qcow2'/><source file='/new'/></disk>"
        self.take("s", f"{memory}<disks>{image}</disks>")
        self.assertEqual(self.disks("s")[0], "<disk name='vda' snapshot='external' type='file'>")
        self.assertEqual(self.names(c.VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL), ["s"])
        for disk, message in (
            ("", "source for disk 'vda' is not a regular file; refusing to generate"),
            ("<disk name='vda' type='block'/>", "cannot generate external snapshot name for disk 'vda' on a"),
        ):
            error = self.assertRaises(VirError, self.take, "t", f"{memory}<disks>{disk}</disks>")
            self.assertIn(message, str(error))

    def test_refused(self) -> None:
        """What cannot be asked for."""
        config, xml = "unsupported configuration: ", "XML error: "
        for disks, code, message in (
            ("<disk/>", 1, "internal error: missing name from disk snapshot element"),
            ("<disk name='vdz'/>", 67, f"{config}no disk named 'vdz'"),
            ("<disk name='vda'/>" * 2, 67, f"{config}disk 'vda' specified twice"),
            (
                "<disk name='vda'/>" * 5,
                67,
                "unsupported configuration: too many disk snapshot requests for domain",
            ),
            (
                "<disk name='vda' snapshot='no'/>",
                67,
                f"{config}disk 'vda' must use snapshot mode 'internal'",
            ),
            (
                "<disk name='vda' snapshot='manual'/>",
                84,
                "Operation not supported: 'manual' snapshot mode is not supported by the test driver",
            ),
            (
                "<disk name='vda'><source file='new'/></disk>",
                27,
                f"{xml}disk snapshot image path 'new' must be absolute",
            ),
            (
                "<disk name='vda' snapshot='internal'><source file='/new'/></disk>",
                67,
                f"{config}file '/new' for disk 'vda' requires use of external snapshot mode",
            ),
        ):
            self.assert_refused(self.take, "s", f"<disks>{disks}</disks>", code=code, message=message)
        self.assertEqual(self.names(), [])


class BoundTests(SnapshotCase):
    """What snapshots may cost."""

    def test_number(self) -> None:
        """A domain has a bounded number of them, and room for another after one was deleted."""
        self.patch(moments_module, "MAX_MOMENTS", 3)
        for name in "abc":
            self.take(name)
        text = "operation failed: a domain has at most 3 snapshots"
        self.assert_refused(self.take, "d", code=9, message=text)
        self.describe("c")
        self.calls.domain_snapshot_delete(self.ref("a"), 0)
        self.take("d")

    def test_name(self) -> None:
        """So have their names, or a list of them could not be sent."""
        self.take("n" * 1024)
        text = "invalid argument: the name of a snapshot may have 1024 bytes"
        self.assert_refused(self.take, "n" * 1025, code=8, message=text)
        self.assertEqual(len(self.names()), 1)

    def test_text(self) -> None:
        """Their text counts, and counts no more when they, or their domain, have gone."""
        world = self.connection.hypervisor.world
        before = world.text
        self.take("a")
        self.take("b")
        self.assertGreater(world.text, before + 2 * world_module.MOMENT_SIZE)
        self.calls.domain_snapshot_delete(self.ref("a"), 0)
        self.describe("b")
        self.describe("c")
        self.patch(world_module, "MAX_TEXT", world.text)
        text = f"operation failed: the definitions of a host may hold {world.text} characters"
        self.assert_refused(self.take, "d", code=9, message=text)
        self.calls.domain_snapshot_delete(self.ref("c"), 0)
        self.calls.domain_snapshot_delete(self.ref("b"), 0)
        self.assertEqual(world.text, before)
        for _ in range(3):
            self.take("again")
            self.back("again")
            self.calls.domain_snapshot_delete(self.ref("again"), 0)
        self.assertEqual(world.text, before)
        self.guest = self.calls.domain_create_xml(domain_xml("brief"), 0)
        self.take("s")
        self.calls.domain_destroy(self.guest)
        self.assertEqual(world.text, before)

    def test_no_room_to_go_back(self) -> None:
        """Where the snapshot's document has no room any more, the domain runs on as it is."""
        self.take("s")
        self.patch(world_module, "MAX_TEXT", self.connection.hypervisor.world.text)
        self.events()
        self.assertRaises(VirError, self.back, "s")
        self.assertEqual((self.events(), self.state()[0]), ([], c.VIR_DOMAIN_RUNNING))

    def test_lists_see_them(self) -> None:
        """Lists of domains can be filtered by snapshots, and undefining asks first."""
        has = c.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT
        self.assertEqual(self.calls.connect_list_all_domains(1, has).domains, ())
        self.take("s")
        names = [ref.name for ref in self.calls.connect_list_all_domains(1, has).domains]
        self.assertEqual(names, ["guest"])
        self.calls.domain_destroy(self.guest)
        text = "Requested operation is not valid: cannot delete inactive domain with 1 snapshots"
        self.assert_refused(self.calls.domain_undefine, self.guest, code=55, message=text)
        self.calls.domain_undefine_flags(self.guest, c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
