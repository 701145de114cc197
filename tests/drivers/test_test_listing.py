"""Lists of the test hypervisor against a model of a few lines, whatever happened before."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import TestCase

from remotevirt.drivers.domains.table import MAX_CACHED_LISTS
from remotevirt.drivers.test.hypervisor import TestHypervisor
from remotevirt.drivers.test.node import Node
from remotevirt.drivers.test.world import World
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain
from tests.drivers.driving import domain_xml, hypervisor

NAMES = ("a", "b", "c", "d")
FILTERS = st.integers(0, 2**16 - 1)
PICK = st.integers(0, 20)

PAIRS: tuple[tuple[int, int, str], ...] = (
    (c.VIR_CONNECT_LIST_DOMAINS_ACTIVE, c.VIR_CONNECT_LIST_DOMAINS_INACTIVE, "active"),
    (c.VIR_CONNECT_LIST_DOMAINS_PERSISTENT, c.VIR_CONNECT_LIST_DOMAINS_TRANSIENT, "persistent"),
    (c.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, c.VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE, "saved"),
    (c.VIR_CONNECT_LIST_DOMAINS_AUTOSTART, c.VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART, "autostart"),
    (c.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT, c.VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT, "snapshots"),
    (c.VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT, c.VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT, "checkpoints"),
)
STATES = {
    "running": c.VIR_CONNECT_LIST_DOMAINS_RUNNING,
    "paused": c.VIR_CONNECT_LIST_DOMAINS_PAUSED,
    "shutoff": c.VIR_CONNECT_LIST_DOMAINS_SHUTOFF,
}
OTHER = c.VIR_CONNECT_LIST_DOMAINS_OTHER


def passes(facts: dict[str, Any], flags: int) -> bool:
    """Return whether a domain of the model passes a filter, written out longhand."""
    for yes, no, key in PAIRS:
        if flags & yes and not flags & no and not facts[key]:
            return False
        if flags & no and not flags & yes and facts[key]:
            return False
    wanted = {state for state, flag in STATES.items() if flags & flag}
    if wanted or flags & OTHER:
        return facts["state"] in wanted
    return True


class Lists(RuleBasedStateMachine):
    """A world of up to four domains beside a dictionary of what is known of them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Node())
        self.calls = TestHypervisor(self.world, "test:///model")
        self.model: dict[str, dict[str, Any]] = {}

    def pick(self, number: int) -> str:
        """Return one of the names in the model."""
        names = sorted(self.model)
        return names[number % len(names)]

    def ref(self, name: str) -> NonnullDomain:
        """Return the reference of a domain."""
        return self.calls.domain_lookup_by_name(name)

    def new(self, **facts: Any) -> dict[str, Any]:
        """Return what is known of a domain that has just appeared."""
        known: dict[str, Any] = {key: False for _, _, key in PAIRS}
        known.update(state="shutoff", id=-1)
        known.update(facts)
        return known

    @rule(name=st.sampled_from(NAMES))
    def define(self, name: str) -> None:
        if name in self.model:
            return
        self.calls.domain_define_xml(domain_xml(name))
        self.model[name] = self.new(persistent=True)

    @rule(name=st.sampled_from(NAMES))
    def create_transient(self, name: str) -> None:
        if name in self.model:
            return
        ref = self.calls.domain_create_xml(domain_xml(name), 0)
        self.model[name] = self.new(active=True, state="running", id=ref.id)

    @precondition(lambda self: self.model)
    @rule(number=PICK)
    def start(self, number: int) -> None:
        name = self.pick(number)
        facts = self.model[name]
        if facts["active"]:
            return
        self.calls.domain_create(self.ref(name))
        facts.update(active=True, state="running", saved=False, id=self.ref(name).id)

    @precondition(lambda self: self.model)
    @rule(number=PICK, how=st.sampled_from(["domain_destroy", "domain_shutdown"]))
    def stop(self, number: int, how: str) -> None:
        name = self.pick(number)
        facts = self.model[name]
        if not facts["active"]:
            return
        getattr(self.calls, how)(self.ref(name))
        facts.update(active=False, state="shutoff", id=-1)
        if not facts["persistent"]:
            del self.model[name]

    @precondition(lambda self: self.model)
    @rule(number=PICK)
    def pause_or_resume(self, number: int) -> None:
        name = self.pick(number)
        facts = self.model[name]
        if not facts["active"]:
            return
        if facts["state"] == "paused":
            self.calls.domain_resume(self.ref(name))
            facts["state"] = "running"
        else:
            self.calls.domain_suspend(self.ref(name))
            facts["state"] = "paused"

    @precondition(lambda self: self.model)
    @rule(number=PICK)
    def undefine(self, number: int) -> None:
        name = self.pick(number)
        facts = self.model[name]
        self.calls.domain_undefine_flags(self.ref(name), c.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        facts.update(persistent=False, saved=False)
        if not facts["active"]:
            del self.model[name]

    @precondition(lambda self: self.model)
    @rule(number=PICK)
    def save(self, number: int) -> None:
        name = self.pick(number)
        facts = self.model[name]
        if not facts["active"] or not facts["persistent"]:
            return
        self.calls.domain_managed_save(self.ref(name), 0)
        facts.update(active=False, state="shutoff", saved=True, id=-1)

    @precondition(lambda self: self.model)
    @rule(number=PICK, on=st.booleans())
    def autostart(self, number: int, on: bool) -> None:
        name = self.pick(number)
        self.calls.domain_set_autostart(self.ref(name), int(on))
        self.model[name]["autostart"] = on

    @precondition(lambda self: self.model)
    @rule(number=PICK, new=st.sampled_from(NAMES))
    def rename(self, number: int, new: str) -> None:
        name = self.pick(number)
        if self.model[name]["active"] or new in self.model:
            return
        self.calls.domain_rename(self.ref(name), new, 0)
        self.model[new] = self.model.pop(name)

    @rule(flags=FILTERS)
    def filtered(self, flags: int) -> None:
        self.check(flags)

    def check(self, flags: int) -> None:
        """Compare one list with the model, twice, because the second comes out of the cache."""
        expected = {(name, facts["id"]) for name, facts in self.model.items() if passes(facts, flags)}
        for _ in range(2):
            answer = self.calls.connect_list_all_domains(1, flags)
            assert {(ref.name, ref.id) for ref in answer.domains} == expected
            assert answer.ret == len(answer.domains) == len(expected)
        assert self.calls.connect_list_all_domains(0, flags) == ((), len(expected))

    @invariant()
    def single_filters(self) -> None:
        for bit in range(16):
            self.check(1 << bit)

    @invariant()
    def old_lists(self) -> None:
        active = {facts["id"] for facts in self.model.values() if facts["active"]}
        inactive = {name for name, facts in self.model.items() if not facts["active"]}
        assert set(self.calls.connect_list_domains(100)) == active
        assert self.calls.connect_num_of_domains() == len(active)
        assert set(self.calls.connect_list_defined_domains(100)) == inactive
        assert self.calls.connect_num_of_defined_domains() == len(inactive)

    @invariant()
    def lookups(self) -> None:
        refs = self.calls.connect_list_all_domains(1, 0).domains
        assert {ref.name for ref in refs} == set(self.model)
        for ref in refs:
            assert self.calls.domain_lookup_by_name(ref.name) == ref
            assert self.calls.domain_lookup_by_uuid(ref.uuid) == ref
            if ref.id >= 0:
                assert self.calls.domain_lookup_by_id(ref.id) == ref

    @invariant()
    def text_is_counted(self) -> None:
        records = self.world.by_uuid.values()
        held = sum(record.live.size + (record.config.size if record.config else 0) for record in records)
        assert self.world.text == held


class ListsTests(TestCase):
    """The model as a test."""

    def test_lists(self) -> None:
        """Lists, lookups and counts agree with the model after any sequence of calls."""
        run_state_machine_as_test(
            Lists, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
        )


class CacheTests(TestCase):
    """The lists that are kept."""

    def test_same_list_until_a_change(self) -> None:
        """Two calls return the same object; a change makes a new one."""
        calls = hypervisor()
        first = calls.connect_list_all_domains(1, 0)
        self.assertIs(calls.connect_list_all_domains(1, 0), first)
        calls.domain_suspend(first.domains[0])
        self.assertIsNot(calls.connect_list_all_domains(1, 0), first)

    def test_encoding_is_kept_and_true(self) -> None:
        """The kept encodings are those of the plain structs, before and after a rename."""
        calls = hypervisor()
        ref = calls.domain_define_xml(domain_xml("before"))
        self.assertEqual(ref.pack(), NonnullDomain(*ref).pack())
        calls.domain_rename(ref, "after", 0)
        renamed = calls.domain_lookup_by_uuid(ref.uuid)
        self.assertEqual(renamed.pack(), NonnullDomain("after", ref.uuid, -1).pack())
        listed = calls.connect_list_all_domains(1, c.VIR_CONNECT_LIST_DOMAINS_INACTIVE)
        self.assertEqual(listed.pack().count(b"after"), 1)
        self.assertNotIn(b"before", listed.pack())

    def test_number_of_kept_lists_is_bounded(self) -> None:
        """A client that tries every filter does not fill the memory."""
        calls = hypervisor()
        for flags in range(10 * MAX_CACHED_LISTS):
            calls.connect_list_all_domains(1, flags)
        self.assertLessEqual(len(calls.world.lists), MAX_CACHED_LISTS)

    def test_refused_filter_is_not_kept(self) -> None:
        """An unknown flag fails each time."""
        calls = hypervisor()
        for _ in range(2):
            error = self.assertRaises(VirError, calls.connect_list_all_domains, 1, 1 << 20)
            self.assertEqual(
                error.message, "unsupported flags (0x100000) in function testConnectListAllDomains"
            )

    def test_old_lists_refuse_absurd_counts(self) -> None:
        """Negative and too large maxima get the daemon's error, a small one cuts the list."""
        calls = hypervisor()
        error = self.assertRaises(VirError, calls.connect_list_domains, -1)
        self.assertEqual((error.code, error.message), (39, "maxids must be non-negative"))
        error = self.assertRaises(VirError, calls.connect_list_defined_domains, 16385)
        self.assertEqual((error.code, error.message), (39, "maxnames > REMOTE_DOMAIN_LIST_MAX"))
        self.assertEqual(calls.connect_list_domains(0), [])

    def test_lookup_of_nobody(self) -> None:
        """The old lookups say only that nothing was found."""
        calls = hypervisor()
        for lookup, argument in (
            (calls.domain_lookup_by_id, 99),
            (calls.domain_lookup_by_uuid, bytes(16)),
            (calls.domain_lookup_by_name, "nobody"),
        ):
            error = self.assertRaises(VirError, lookup, argument)
            self.assertEqual((error.code, error.domain, error.message), (42, 12, "Domain not found"))
        error = self.assertRaises(VirError, calls.domain_lookup_by_id, -1)
        self.assertEqual((error.code, error.domain, error.str2, error.int1), (8, 20, "id", 0))
