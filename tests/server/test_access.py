"""The guard of read-only clients, over all procedures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.procedures import Permission, Procedure
from remotevirt.server.access import ALLOWED, DENIED, applies, readonly_guard
from remotevirt.server.daemon import PROGRAMS
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote

CHANGING = (
    *(
        "add",
        "attach",
        "change",
        "clear",
        "create",
        "define",
        "delete",
        "destroy",
        "detach",
        "migrate",
        "pin",
    ),
    *("reboot", "rename", "reset", "restore", "resume", "resize", "save", "send", "set", "shutdown"),
    *("snapshot_create", "start", "stop", "suspend", "undefine"),
)
"""Words in the names of procedures that change something."""


def calls() -> Iterator[Procedure]:
    """Everything that a client may call."""
    for program in PROGRAMS:
        yield from (procedure for procedure in program.procedures.values() if not procedure.event)


def guard_of(procedure: Procedure) -> Any:
    """The guard; ``"denied"`` if there is no way."""
    try:
        return readonly_guard(procedure)
    except VirError as error:
        assert error.code == 29, error
        return "denied"


def blank(procedure: Procedure, **fields: int) -> Any:
    """Arguments made of zeros, but for some fields."""
    assert procedure.args is not None
    return procedure.args.unpack(bytes(4096), 0)[0]._replace(**fields)


class GuardTests(SynchronousTestCase):
    """All procedures."""

    def test_what_changes_is_denied(self) -> None:
        """By name: no call that says that it changes something is allowed without a condition."""
        for procedure in calls():
            words = procedure.name.partition("_")[2]
            if words.startswith(tuple(CHANGING)) and procedure.name not in ALLOWED:
                self.assertIsNotNone(guard_of(procedure), procedure.name)

    def test_what_has_no_rights_is_denied(self) -> None:
        """A procedure that declares no access checks cannot be called."""
        self.assertEqual("denied", guard_of(Procedure(1, "own", acl=None)))
        self.assertIsNone(guard_of(Procedure(1, "own", acl=())))

    def test_permissions(self) -> None:
        """Only those that look are for readers."""
        for permission, allowed in (
            ("getattr", True),
            ("read", True),
            ("search_domains", True),
            ("write", False),
            ("read_secure", False),
            ("start", False),
            ("", False),
        ):
            procedure = Procedure(1, "own", acl=(Permission("domain", permission),))
            self.assertEqual(None if allowed else "denied", guard_of(procedure), permission)

    def test_every_permission_counts(self) -> None:
        """One that is not for readers is enough."""
        acl = (Permission("domain", "getattr"), Permission("domain", "write"))
        self.assertEqual("denied", guard_of(Procedure(1, "own", acl=acl)))

    def test_conditions_can_be_checked(self) -> None:
        """Every conditional check finds in its arguments what it asks about, and can go both ways."""
        count = 0
        for procedure in calls():
            guard = guard_of(procedure)
            if not callable(guard):
                continue
            count += 1
            outcomes = set()
            conditions = [p for p in procedure.acl or () if p.flags or p.unless or p.param]
            for name, value in {
                *((c.param, c.value) for c in conditions if c.param),
                *((c.param, c.value + 1) for c in conditions if c.param),
                *(("flags", bits) for c in conditions if not c.param for bits in (0, c.flags, c.unless)),
            }:
                try:
                    guard(blank(procedure, **{name: value}))
                    outcomes.add("allowed")
                except VirError as error:
                    self.assertEqual(29, error.code)
                    outcomes.add("denied")
            self.assertEqual({"allowed", "denied"}, outcomes, procedure.name)
        self.assertGreater(count, 3)

    def test_secure_flag(self) -> None:
        """Passwords are not for readers, in any combination of flags."""
        procedure = remote.PROGRAM.by_name["domain_get_xml_desc"]
        guard = guard_of(procedure)
        refused = vir.VIR_DOMAIN_XML_SECURE | vir.VIR_DOMAIN_XML_MIGRATABLE
        for flags in range(64):
            args = blank(procedure, flags=flags)
            if flags & refused:
                self.assertRaises(VirError, guard, args)
            else:
                guard(args)

    def test_named_exceptions_exist(self) -> None:
        """And are exceptions."""
        for name in ALLOWED | DENIED:
            self.assertIn(name, remote.PROGRAM.by_name)
        for name in ALLOWED:
            self.assertIsNone(guard_of(remote.PROGRAM.by_name[name]))
        for name in DENIED:
            self.assertEqual("denied", guard_of(remote.PROGRAM.by_name[name]))

    def test_opening_is_allowed(self) -> None:
        """A read-only client can do what every client begins and ends with."""
        for name in (
            "auth_list",
            "connect_open",
            "connect_close",
            "connect_supports_feature",
            "connect_get_uri",
        ):
            self.assertIsNone(guard_of(remote.PROGRAM.by_name[name]), name)


class ConditionTests(SynchronousTestCase):
    """When a conditional check counts."""

    def test_flags(self) -> None:
        """All bits are set; none is set; another argument has a value."""
        procedure = remote.PROGRAM.by_name["domain_get_xml_desc"]
        for permission, flags, expected in (
            (Permission("domain", "x", flags=6), 6, True),
            (Permission("domain", "x", flags=6), 15, True),
            (Permission("domain", "x", flags=6), 2, False),
            (Permission("domain", "x", flags=6), 0, False),
            (Permission("domain", "x", unless=6), 0, True),
            (Permission("domain", "x", unless=6), 9, True),
            (Permission("domain", "x", unless=6), 2, False),
            (Permission("domain", "x", param="flags", value=3), 3, True),
            (Permission("domain", "x", param="flags", value=0), 0, True),
            (Permission("domain", "x", param="flags", value=0), 1, False),
        ):
            self.assertEqual(expected, applies(permission, blank(procedure, flags=flags)), permission)
