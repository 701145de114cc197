"""How snapshots hang together, and how a domain goes back to one."""

from __future__ import annotations

import itertools

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.xml.values import format_uuid
from tests.drivers.driving import domain_xml
from tests.drivers.snapshots import (
    DISK,
    REDEFINE,
    STARTED,
    STOPPED,
    SUSPENDED,
    SnapshotCase,
)
from tests.drivers.test_test_domains import INACTIVE, LIVE, UUID

CURRENT = c.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
HALT = c.VIR_DOMAIN_SNAPSHOT_CREATE_HALT
RUN, PAUSE = c.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING, c.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED
DEEP = c.VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS
TOPOLOGICAL = c.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL


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
