"""Snapshots of the test hypervisor: what they say, how they hang together, and how a domain goes back."""

from __future__ import annotations

import itertools
from typing import Any

from remotevirt.drivers.domains import moments as moments_module
from remotevirt.drivers.domains import table as world_module
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomainSnapshot
from remotevirt.xml.values import format_uuid
from tests.drivers.driving import domain_xml
from tests.drivers.test_test_domains import INACTIVE, LIVE, UUID, DomainCase

REDEFINE = c.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
CURRENT = c.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
HALT = c.VIR_DOMAIN_SNAPSHOT_CREATE_HALT
RUN, PAUSE = c.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING, c.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED
DEEP = c.VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS
TOPOLOGICAL = c.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL

STARTED, SUSPENDED, STOPPED = (c.VIR_DOMAIN_EVENT_STARTED, 3), (c.VIR_DOMAIN_EVENT_SUSPENDED, 5), (5, 6)
"""Lifecycle events with the detail "from snapshot"."""

NUMBERS = {"off": c.VIR_DOMAIN_SHUTOFF, "running": c.VIR_DOMAIN_RUNNING, "paused": c.VIR_DOMAIN_PAUSED}

DISK = "<devices><disk type='file'{}><source file='/img'/><target dev='{}'/></disk></devices>"


def snapshot(name: str = "", inside: str = "") -> str:
    """Return a document that asks for a snapshot."""
    title = f"<name>{name}</name>" if name else ""
    return f"<domainsnapshot>{title}{inside}</domainsnapshot>"


def described(name: str, state: str = "running", parent: str = "", inside: str = "", guest: str = "") -> str:
    """Return the description of a snapshot."""
    above = f"<parent><name>{parent}</name></parent>" if parent else ""
    guest = guest or domain_xml("guest", uuid=UUID)
    return snapshot(
        name, f"<state>{state}</state><creationTime>1386166249</creationTime>{above}{inside}{guest}"
    )


class SnapshotCase(DomainCase):
    """The running domain "guest", and shorter names for what is done with it."""

    def take(self, name: str = "", inside: str = "", flags: int = 0) -> NonnullDomainSnapshot:
        """Take a snapshot."""
        made: NonnullDomainSnapshot = self.calls.domain_snapshot_create_xml(
            self.guest, snapshot(name, inside), flags
        )
        return made

    def describe(self, *arguments: str, flags: int = REDEFINE, **words: str) -> NonnullDomainSnapshot:
        """Take in a description."""
        text = described(*arguments, **words)
        made: NonnullDomainSnapshot = self.calls.domain_snapshot_create_xml(self.guest, text, flags)
        return made

    def ref(self, name: str) -> NonnullDomainSnapshot:
        """Return a reference."""
        return NonnullDomainSnapshot(name, self.guest)

    def back(self, name: str, flags: int = 0) -> None:
        """Go back to a snapshot."""
        self.calls.domain_revert_to_snapshot(self.ref(name), flags)

    def names(self, flags: int = 0, of: str | None = None) -> list[str]:
        """Return the names of snapshots, after checking that all calls agree about them."""
        if of is None:
            names = self.calls.domain_snapshot_list_names(self.guest, 100, flags)
            count = self.calls.domain_snapshot_num(self.guest, flags)
            listed = self.calls.domain_list_all_snapshots(self.guest, 1, flags)
            counted = self.calls.domain_list_all_snapshots(self.guest, 0, flags)
        else:
            ref = self.ref(of)
            names = self.calls.domain_snapshot_list_children_names(ref, 100, flags)
            count = self.calls.domain_snapshot_num_children(ref, flags)
            listed = self.calls.domain_snapshot_list_all_children(ref, 1, flags)
            counted = self.calls.domain_snapshot_list_all_children(ref, 0, flags)
        self.assertEqual([snap.name for snap in listed.snapshots], list(names))
        self.assertTrue(all(snap.dom == self.guest for snap in listed.snapshots))
        self.assertEqual([count, listed.ret, counted.ret], [len(names)] * 3)
        self.assertEqual(counted.snapshots, [])
        return list(names)

    def current(self) -> str | None:
        """Return the name of the current snapshot."""
        if not self.calls.domain_has_current_snapshot(self.guest, 0):
            return None
        name: str = self.calls.domain_snapshot_current(self.guest, 0).name
        self.assertEqual(self.calls.domain_snapshot_is_current(self.ref(name), 0), 1)
        return name

    def events(self) -> list[tuple[Any, ...]]:
        """Return the lifecycle events since the last call: event and detail."""
        return [event[4:] for event in self.watcher.take()]

    def state(self) -> tuple[int, int]:
        """Return state and reason."""
        return tuple(self.calls.domain_get_state(self.guest, 0))  # type: ignore[return-value]


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


class TreeTests(SnapshotCase):
    """Parents, children, lists::

    a -- b -- c
         |
         +--- d -- e
    """

    def setUp(self) -> None:
        super().setUp()
        for name in "abc":
            self.take(name)
        self.back("b")
        for name in "de":
            self.take(name)

    def test_lists(self) -> None:
        """Names in the order of their making, of children the newest first."""
        self.assertEqual(self.names(), ["a", "b", "c", "d", "e"])
        self.assertEqual(self.names(TOPOLOGICAL), ["a", "b", "d", "e", "c"])
        self.assertEqual(self.names(DEEP), ["a"])
        self.assertEqual(self.names(of="b"), ["d", "c"])
        self.assertEqual(self.names(DEEP, of="b"), ["d", "e", "c"])
        self.assertEqual(self.names(c.VIR_DOMAIN_SNAPSHOT_LIST_LEAVES), ["c", "e"])
        self.assertEqual(self.names(c.VIR_DOMAIN_SNAPSHOT_LIST_NO_LEAVES), ["a", "b", "d"])
        self.assertEqual(self.names(c.VIR_DOMAIN_SNAPSHOT_LIST_NO_METADATA), [])
        self.assertEqual(self.calls.domain_snapshot_list_names(self.guest, 2, 0), ["a", "b"])

    def test_states(self) -> None:
        """Filters by state and place."""
        self.calls.domain_destroy(self.guest)
        self.take("off")
        self.describe("disks", "disk-snapshot")
        self.assertEqual(self.names(c.VIR_DOMAIN_SNAPSHOT_LIST_INACTIVE), ["off"])
        self.assertEqual(self.names(c.VIR_DOMAIN_SNAPSHOT_LIST_DISK_ONLY), ["disks"])
        both = c.VIR_DOMAIN_SNAPSHOT_LIST_INACTIVE | c.VIR_DOMAIN_SNAPSHOT_LIST_DISK_ONLY
        self.assertEqual(self.names(both), ["off", "disks"])
        self.assertEqual(len(self.names(c.VIR_DOMAIN_SNAPSHOT_LIST_ACTIVE)), 5)
        self.assertEqual(self.names(c.VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL), [])
        self.assertEqual(len(self.names(c.VIR_DOMAIN_SNAPSHOT_LIST_INTERNAL)), 7)

    def test_relations(self) -> None:
        """Parents and the current one."""
        self.assertEqual(self.calls.domain_snapshot_get_parent(self.ref("d"), 0).name, "b")
        text = "Domain snapshot not found: snapshot 'a' does not have a parent"
        self.assert_refused(self.calls.domain_snapshot_get_parent, self.ref("a"), 0, code=72, message=text)
        self.assertEqual(self.current(), "e")
        self.assertEqual(self.calls.domain_snapshot_is_current(self.ref("a"), 0), 0)
        self.assertEqual(self.calls.domain_snapshot_has_metadata(self.ref("a"), 0), 1)
        found = self.calls.domain_snapshot_lookup_by_name(self.guest, "c", 0)
        self.assertEqual(found, self.ref("c"))

    def test_delete_in_the_middle(self) -> None:
        """The children of one that goes become its parent's."""
        self.calls.domain_snapshot_delete(self.ref("b"), 0)
        self.assertEqual(self.names(of="a"), ["d", "c"])
        self.assertEqual(self.calls.domain_snapshot_get_parent(self.ref("c"), 0).name, "a")
        self.assertEqual(self.current(), "e")

    def test_delete_the_current_one(self) -> None:
        """Its parent becomes the current one; after the last there is none."""
        self.calls.domain_snapshot_delete(self.ref("e"), 0)
        self.assertEqual(self.current(), "d")
        self.calls.domain_snapshot_delete(self.ref("b"), c.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN)
        self.assertEqual((self.current(), self.names()), ("a", ["a"]))
        self.calls.domain_snapshot_delete(self.ref("a"), 0)
        self.assertEqual((self.current(), self.names()), (None, []))

    def test_delete_children_only(self) -> None:
        """The snapshot itself stays, and becomes the current one if that has gone."""
        self.calls.domain_snapshot_delete(self.ref("b"), c.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY)
        self.assertEqual((self.current(), self.names()), ("b", ["a", "b"]))

    def test_names_are_unique(self) -> None:
        """A name that is taken is refused."""
        text = "operation failed: domain moment a already exists"
        self.assert_refused(self.take, "a", code=9, message=text)

    def test_a_long_chain(self) -> None:
        """Depth costs no stack."""
        for number in range(1500):
            self.take(f"n{number}")
        self.assertEqual(self.calls.domain_snapshot_num_children(self.ref("a"), DEEP | TOPOLOGICAL), 1504)
        self.calls.domain_snapshot_delete(self.ref("a"), c.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN)
        self.assertEqual(self.names(), [])


class RevertTests(SnapshotCase):
    """Going back."""

    def put(self, state: str) -> None:
        """Bring the guest into a state."""
        if self.state()[0] != c.VIR_DOMAIN_SHUTOFF:
            self.calls.domain_destroy(self.guest)
        if state != "off":
            self.calls.domain_create(self.guest)
        if state == "paused":
            self.calls.domain_suspend(self.guest)

    def test_every_way(self) -> None:
        """From each state to each snapshot, with each flag: the events in order, the state after them."""
        states = ("off", "running", "paused")
        for state in states:
            self.put(state)
            self.take(state)
        for before, snap, flags in itertools.product(states, states, (0, RUN, PAUSE)):
            self.put(before)
            self.events()
            self.back(snap, flags)
            after = {0: snap, RUN: "running", PAUSE: "paused"}[flags]
            events = [] if before == "off" else [STOPPED]
            events += {"off": [], "running": [STARTED], "paused": [STARTED, SUSPENDED]}[after]
            self.assertEqual(self.events(), events, (before, snap, flags))
            number = {
                "off": c.VIR_DOMAIN_SHUTOFF,
                "running": c.VIR_DOMAIN_RUNNING,
                "paused": c.VIR_DOMAIN_PAUSED,
            }
            self.assertEqual(self.state()[0], number[after])
            self.assertEqual(self.current(), snap)

    def test_reasons(self) -> None:
        """States say that they come from a snapshot."""
        self.take("s")
        self.back("s")
        self.assertEqual(self.state(), (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_FROM_SNAPSHOT))
        self.back("s", PAUSE)
        self.assertEqual(self.state(), (c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT))
        self.take("h", flags=HALT)
        self.assertEqual(self.state(), (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT))

    def test_definition(self) -> None:
        """Both definitions are the snapshot's afterwards, and later changes do not reach the snapshot."""
        before = self.xml(INACTIVE)
        self.take("s")
        for _ in range(2):
            self.calls.domain_set_vcpus_flags(self.guest, 1, LIVE)
            self.calls.domain_define_xml(domain_xml("guest", uuid=UUID).replace("65536", "4096"))
            self.back("s")
            self.assertEqual(self.xml(INACTIVE), before)
            live = self.calls.domain_lookup_by_name("guest")
            self.assertEqual(self.xml().replace(f" id='{live.id}'", ""), before)
            self.assertEqual(self.calls.domain_get_info(self.guest).maxMem, 65536)

    def test_name_stays(self) -> None:
        """A domain that has another name by now keeps it."""
        self.calls.domain_destroy(self.guest)
        self.take("s")
        self.calls.domain_rename(self.guest, "renamed", 0)
        self.back("s", RUN)
        self.assertEqual(self.calls.domain_lookup_by_name("renamed").uuid, self.guest.uuid)
        self.assertIn("<name>renamed</name>", self.xml())

    def test_transient(self) -> None:
        """A transient domain goes back too, but not to being off."""
        self.guest = self.calls.domain_create_xml(domain_xml("brief"), 0)
        self.take("s")
        self.calls.domain_set_vcpus_flags(self.guest, 1, LIVE)
        self.events()
        self.back("s")
        self.assertEqual(self.events(), [STOPPED, STARTED])
        self.assertIn("<vcpu placement='static'>2</vcpu>", self.xml())
        guest = domain_xml("brief", uuid=format_uuid(self.guest.uuid))
        self.describe("off", "shutoff", guest=guest)
        text = "transient domain needs to request run or pause to revert to inactive snapshot"
        text = f"Requested operation is not valid: {text}"
        self.assert_refused(self.back, "off", code=55, message=text)
        self.back("off", RUN)
        self.assertEqual(self.state()[0], c.VIR_DOMAIN_RUNNING)
        text = "Requested operation is not valid: cannot halt after transient domain snapshot"
        self.assert_refused(self.take, "h", "", HALT, code=55, message=text)


class RedefineTests(SnapshotCase):
    """Taking in descriptions."""

    def test_described(self) -> None:
        """What the description says is kept; it becomes current if that is asked for."""
        self.describe("old")
        self.assertEqual(self.current(), None)
        self.describe("new", "shutoff", "old", flags=REDEFINE | CURRENT)
        self.assertEqual((self.current(), self.names(of="old")), ("new", ["new"]))
        text = self.calls.domain_snapshot_get_xml_desc(self.ref("new"), 0)
        self.assertIn("<creationTime>1386166249</creationTime>\n  <memory snapshot='no'/>", text)

    def test_what_it_printed_it_takes(self) -> None:
        """A document that was printed can be taken in again, and is the same then."""
        self.take("a")
        self.take("b", "<description>d</description>")
        text = self.calls.domain_snapshot_get_xml_desc(self.ref("b"), 0)
        self.calls.domain_snapshot_create_xml(self.guest, text, REDEFINE)
        self.assertEqual(self.calls.domain_snapshot_get_xml_desc(self.ref("b"), 0), text)
        self.assertEqual((self.current(), self.names()), ("b", ["a", "b"]))

    def test_refused(self) -> None:
        """What a description cannot say."""
        self.take("a")
        self.take("b")
        other = domain_xml("guest", uuid="11111111-2222-3333-4444-555555555555")
        larger = domain_xml("guest", uuid=UUID).replace("65536", "65537")
        for arguments, words, code, message in (
            (("a", "running", "b"), {}, 8, "parent b would create cycle to a"),
            (("c", "running", "c"), {}, 8, "cannot set moment c as its own parent"),
            (("c", "running", "x"), {}, 8, "parent x for moment c not found"),
            (("c",), {"guest": other}, 8, f"definition for snapshot c must use uuid {UUID}"),
            (
                ("a", "shutoff"),
                {},
                8,
                "cannot change between online and offline snapshot state in snapshot a",
            ),
            (("a",), {"guest": larger}, 67, "Target domain max memory 65537 does not match source 65536"),
            (("c",), {"guest": "<domain/>"}, 1, "missing domain in snapshot"),
            (("c", "asleep"), {}, 67, "Invalid state 'asleep' in domain snapshot XML"),
            (("",), {}, 27, "a redefined snapshot must have a name"),
            (
                ("c", "shutoff"),
                {"inside": "<memory snapshot='internal'/>"},
                27,
                "memory state cannot be saved with offline or disk-only snapshot",
            ),
        ):
            error = self.assertRaises(VirError, self.describe, *arguments, **words)
            self.assertEqual((error.code, error.detail), (code, message))
        self.assertEqual(self.names(TOPOLOGICAL), ["a", "b"])

    def test_flags(self) -> None:
        """Flags that do not go together, or are not known."""
        prefix = "VIR_DOMAIN_SNAPSHOT_CREATE_"
        for flags, message in (
            (CURRENT, f"Flag '{prefix}REDEFINE' is required by flag '{prefix}CURRENT'"),
            (REDEFINE | HALT, f"Flags '{prefix}REDEFINE' and '{prefix}HALT' are mutually exclusive"),
            (16, "unsupported flags (0x10) in function testDomainSnapshotCreateXML"),
        ):
            self.assert_refused(self.take, "s", "", flags, code=8, message=message)

    def test_not_beside_checkpoints(self) -> None:
        """A domain has snapshots or checkpoints."""
        self.guest = self.calls.domain_create_xml(domain_xml("disks", DISK.format("", "vda")), 0)
        self.calls.domain_checkpoint_create_xml(self.guest, "<domaincheckpoint/>", 0)
        text = "Operation not supported: cannot create snapshot while checkpoint exists"
        self.assert_refused(self.take, "s", code=84, message=text)


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
