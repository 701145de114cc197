"""Rules as data: what is one, what is none, and what it says of itself."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.stubs import constants as vir
from remotevirt.testing import Fault, WorldError
from remotevirt.testing.driver import parse_fault
from remotevirt.testing.rules import CALL_ACTIONS, EVENT_ACTIONS, PROCEDURES, find_procedures
from remotevirt.testing.values import make


class FaultTests(SynchronousTestCase):
    """``Fault``."""

    def refused(self, **table: object) -> str:
        """Why a rule is none."""
        return str(self.assertRaises(WorldError, make, Fault, table, "fault 1"))

    def test_errors_by_name_and_number(self) -> None:
        for name in ("operation_failed", "VIR_ERR_OPERATION_FAILED", vir.VIR_ERR_OPERATION_FAILED):
            self.assertEqual(vir.VIR_ERR_OPERATION_FAILED, Fault(error=name).error, name)
        self.assertEqual(vir.VIR_ERR_NO_MEMORY, Fault(error="out_of_memory").error)
        self.assertEqual(4711, Fault(error=4711).vir_error().code)

    def test_message(self) -> None:
        error = Fault(error="operation_failed", message="no more").vir_error()
        self.assertEqual("operation failed: no more", error.message)

    def test_unknown_error_suggests(self) -> None:
        self.assertIn("operation_failed", self.refused(error="ion_fail"))

    def test_procedures_by_both_names(self) -> None:
        wanted = frozenset({"domain_create", "domain_create_with_flags"})
        self.assertEqual(wanted, find_procedures("virDomainCreate") | find_procedures("*_create_with_flags"))
        self.assertEqual({"connect_open"}, find_procedures("connect_open"))

    def test_the_daemons_own_procedures(self) -> None:
        """What no driver answers cannot go wrong by a rule, and saying so beats a rule that does nothing."""
        for name in ("auth_list", "connect_close", "connect_domain_event_register", "nothing"):
            self.assertIn("no procedure", self.refused(procedure=name, hang=True), name)

    def test_one_action(self) -> None:
        for table in ({}, {"hang": True, "drop": "before"}, {"error": 1, "ignore": True}):
            self.assertIn("a rule needs", self.refused(**table))
        self.assertEqual((1.0, 1.0), Fault(delay=1, error=1).delay)

    def test_calls_and_events_apart(self) -> None:
        for action in EVENT_ACTIONS:
            self.assertIn("about calls", self.refused(**{action: True}))
        self.assertIn("about events", self.refused(event="*", hang=True))
        self.assertIn("means none of", self.refused(event="domain.nothing", lose=True))
        self.assertEqual("domain.*", Fault(event="domain.*", lose=True).event)

    def test_what_cannot_be(self) -> None:
        self.assertIn("opens no stream", self.refused(procedure="domain_create", cut=5))
        self.assertIn("has a result", self.refused(procedure="domain_get_info", ignore=True))
        self.assertIn("goes with error", self.refused(hang=True, message="x"))

    def test_values(self) -> None:
        for key, value in {
            "probability": 1.5,
            "count": 0,
            "after": -1,
            "delay": [2, 1],
            "drop": "later",
            "hang": 1,
            "since": float("nan"),
            "object": 5,
            "seed": True,
            "what": 1,
        }.items():
            self.assertIn(key, self.refused(**{"hang": True, key: value}))

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.fixed_dictionaries(
            {"error": st.sampled_from(["internal_error", "no_domain", 9])},
            optional={
                "procedure": st.sampled_from(sorted(PROCEDURES)),
                "object": st.text(st.characters(exclude_categories=["C"]), max_size=20),
                "count": st.integers(1, 1000),
                "after": st.integers(0, 1000),
                "probability": st.floats(0, 1),
                "delay": st.tuples(st.floats(0, 1), st.floats(1, 2)).map(list),
            },
        )
    )
    def test_table_makes_it_again(self, table: dict[str, object]) -> None:
        fault = make(Fault, table, "fault")
        self.assertEqual(fault, make(Fault, fault.table(), "fault"))

    def test_command_line(self) -> None:
        fault = parse_fault("procedure=virDomainCreate*, error=operation_failed, count=2, delay=[1, 2]")
        wanted = Fault(procedure="virDomainCreate*", error="operation_failed", count=2, delay=(1, 2))
        self.assertEqual(wanted, fault)

    def test_command_line_mistakes(self) -> None:
        for text in ("hang", "procedure=x,hang=true", "colour=red"):
            self.assertRaises(WorldError, parse_fault, text)

    def test_all_actions_are_keys(self) -> None:
        for action in CALL_ACTIONS + EVENT_ACTIONS:
            self.assertTrue(hasattr(Fault(hang=True), action), action)
