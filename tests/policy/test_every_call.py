"""Every procedure: allowed with exactly the permissions that the contract declares, refused without any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.policy import Rights, enforce
from remotevirt.policy.engine import Policy
from remotevirt.policy.permissions import PROGRAMS, Right
from remotevirt.policy.plans import HIDDEN, LOOKUPS, plan_of
from remotevirt.policy.rules import Condition, Rule, Who
from remotevirt.procedures import Permission, Procedure, Program
from remotevirt.server.access import applies
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from tests.policy.fakes import Recorder, arguments, connection, ref, refs

ANYBODY = (Who("*", "*"),)

CONNECTION = connection()

EXTRA = {"storage_vol_create_xml_from": ("storage_vol", "data_read")}
"""What is asked for besides what the contract declares."""


def calls() -> Iterator[tuple[Program, Procedure]]:
    """Everything that a client may call."""
    for program in PROGRAMS:
        yield from ((program, p) for p in program.procedures.values() if not p.event)


def rights(permissions: set[Right], name: str | None = None) -> Rights:
    """Permissions, on all objects, or on those of a name only (for ports: of their network)."""
    rules = []
    for number, right in enumerate(sorted(permissions)):
        on = Condition()
        if name is not None and right[0] == "network_port":
            on = Condition(parents=(name,))
        elif name is not None and right[0] != "connect":
            on = Condition(names=(name,))
        rules.append(Rule(number, number, True, ANYBODY, frozenset({right}), on, ""))
    return Policy(tuple(rules)).for_client(Identity(), "test")


def kind_of(procedure: Procedure) -> str:
    """The kind of object that a procedure is about."""
    return next((p.object for p in procedure.acl or () if p.object != "connect"), "connect")


def variants(procedure: Procedure) -> Iterator[Any]:
    """Arguments with every combination of conditions that the contract declares."""
    args = arguments(procedure, kind_of(procedure), "one")
    yield args
    for permission in procedure.acl or ():
        if permission.param is not None:
            yield args._replace(**{permission.param: permission.value})
        elif permission.flags or permission.unless:
            yield args._replace(flags=permission.flags or permission.unless)
    if procedure.args is not None and "flags" in args._fields:
        yield args._replace(flags=2**32 - 1)


def counts(procedure: Procedure) -> bool:
    """Whether it returns a number for which a list is made."""
    return bool(procedure.aclfilter) and "num_of_" in procedure.name


def needed(procedure: Procedure, args: Any) -> set[Right]:
    """What the contract says that a call needs."""
    found = {
        (p.object, p.permission)
        for p in procedure.acl or ()
        if not (p.flags or p.unless or p.param) or applies(p, args)
    }
    return found | ({EXTRA[procedure.name]} if procedure.name in EXTRA else set())


def outcome(program: Program, procedure: Procedure, rights: Rights, args: Any, method: Recorder) -> Any:
    """Call; return the permission that is missing, or None if the call went through."""
    try:
        enforce(program, procedure, method, rights, CONNECTION)(*args)
    except VirError as error:
        assert error.code == vir.VIR_ERR_ACCESS_DENIED, (procedure, error)
        assert error.domain == vir.VIR_FROM_ACCESS
        _, thing, _, permission, _ = error.message.split("'")
        return thing, permission
    return None


def answer(procedure: Procedure) -> Any:
    """What a driver would answer: what was looked up, both objects, or nothing."""
    if procedure.name in LOOKUPS:
        return ref(kind_of(procedure), "one")
    if procedure.aclfilter and procedure.driver:
        kind = procedure.aclfilter[0].object
        if procedure.ret is not None and procedure.ret._fields[-1] == "ret":
            return procedure.ret(refs(kind), 2)
        return []
    return None


class EveryCallTests(SynchronousTestCase):
    """All calls of the programs remote, qemu and lxc."""

    def test_number(self) -> None:
        """As many as there are."""
        self.assertEqual([401, 6, 1], [sum(1 for p, _ in calls() if p is program) for program in PROGRAMS])

    def test_every_permission_has_a_place(self) -> None:
        """The plans hold exactly what the contract declares."""
        for program, procedure in calls():
            plan = plan_of(program, procedure)
            assert plan is not None, procedure
            planned = [p for check in plan.checks for p in check.permissions]
            declared = list(procedure.acl or ())
            if procedure.name in EXTRA:
                declared.append(Permission(*EXTRA[procedure.name]))
            self.assertEqual(sorted(declared, key=repr), sorted(planned, key=repr), procedure)

    def test_exactly_what_is_declared(self) -> None:
        """On all objects: allowed with it; refused without any one of it, before the driver is called."""
        count = 0
        for program, procedure in calls():
            for args in variants(procedure):
                wanted = needed(procedure, args)
                method = Recorder(answer(procedure))
                self.assertIsNone(outcome(program, procedure, rights(wanted), args, method), procedure)
                if not counts(procedure):
                    self.assertEqual(1, len(method.calls), procedure)
                for missing in wanted:
                    count += 1
                    method = Recorder(answer(procedure))
                    found = outcome(program, procedure, rights(wanted - {missing}), args, method)
                    self.assertEqual(missing, found, procedure)
                    self.assertEqual([], method.calls, procedure)
        self.assertGreater(count, 600)

    def test_on_one_object(self) -> None:
        """On the object that the call is about: the same."""
        for program, procedure in calls():
            if procedure.name in HIDDEN or procedure.name in (
                "node_device_create_xml",
                "node_device_define_xml",
            ):
                continue
            for args in variants(procedure):
                wanted = needed(procedure, args)
                method = Recorder(answer(procedure))
                self.assertIsNone(outcome(program, procedure, rights(wanted, "one"), args, method), procedure)
                if not counts(procedure):
                    self.assertEqual(1, len(method.calls), procedure)
                for missing in wanted:
                    method = Recorder(answer(procedure))
                    found = outcome(program, procedure, rights(wanted - {missing}, "one"), args, method)
                    self.assertEqual(missing, found, procedure)
                    self.assertEqual([], method.calls, procedure)

    def test_on_another_object(self) -> None:
        """Rights on another object are none; only look-ups reach the driver."""
        count = 0
        for program, procedure in calls():
            for args in variants(procedure):
                wanted = needed(procedure, args)
                if all(right[0] == "connect" for right in wanted):
                    continue
                count += 1
                method = Recorder(answer(procedure))
                self.assertIn(
                    outcome(program, procedure, rights(wanted, "two"), args, method), wanted, procedure
                )
                if procedure.name not in LOOKUPS:
                    self.assertEqual([], method.calls, procedure)
        self.assertGreater(count, 300)

    def test_hidden(self) -> None:
        """Where nobody knows the object, rights on some objects are none."""
        for program, procedure in calls():
            if procedure.name in HIDDEN:
                args = arguments(procedure, "domain", "one")
                method = Recorder()
                found = outcome(program, procedure, rights(needed(procedure, args), "one"), args, method)
                self.assertIsNotNone(found, procedure)
                self.assertEqual([], method.calls)

    def test_forged(self) -> None:
        """Each part of a reference that can be forged is, in every call that takes one."""
        count = 0
        for program, procedure in calls():
            kind = kind_of(procedure)
            if procedure.name in LOOKUPS or kind == "connect":
                continue
            args = arguments(procedure, kind, "one")
            wanted = needed(procedure, args)
            for field, annotation in getattr(procedure.args, "__annotations__", {}).items():
                struct = annotation.__forward_arg__
                granted = rights(wanted, "one")
                if kind == "storage_vol" and struct == "NonnullStoragePool":
                    granted = rights_in_pool(wanted)
                for forged in forgeries(getattr(args, field), struct):
                    count += 1
                    method = Recorder()
                    found = outcome(program, procedure, granted, args._replace(**{field: forged}), method)
                    self.assertIn(found, wanted, (procedure, forged))
                    self.assertEqual([], method.calls)
        self.assertGreater(count, 500)

    def test_filters(self) -> None:
        """Lists and counts show what one may see; all of it, and then unchanged; or nothing."""
        count = 0
        for program, procedure in calls():
            if not procedure.aclfilter or procedure.driver is None or "event" in procedure.name:
                continue
            count += 1
            (filter,) = procedure.aclfilter
            right = filter.object, filter.permission
            args = arguments(procedure, filter.object, "one")
            if "need_results" in args_of(procedure):
                args = args._replace(need_results=1)
            method = everything(procedure)
            base = needed(procedure, args)
            for name, expected in (("one", 1), ("none", 0), ("*", 2)):
                granted = rights(base | {right}, name)
                if filter.object in ("storage_vol", "network_port"):
                    granted = Policy((*rights(base).rules, *numbered(rights({right}, name), 100))).for_client(
                        Identity(), "test"
                    )
                found = enforce(program, procedure, method, granted, CONNECTION)(*args)
                self.assertEqual(expected, size(found), (procedure, name))
                if "need_results" in args_of(procedure):
                    few = enforce(program, procedure, method, granted, CONNECTION)(
                        *args._replace(need_results=0)
                    )
                    self.assertEqual(((), expected), (tuple(few[0]), few[1]), procedure)
            granted = rights(base | {right})
            self.assertIs(method, enforce(program, procedure, method, granted, CONNECTION), procedure)
        self.assertEqual(35, count)

    def test_undeclared(self) -> None:
        """A procedure that declares nothing cannot be called, whatever one may do."""
        own = Procedure(999, "own", acl=None)
        every = rights({(p.object, p.permission) for _, procedure in calls() for p in procedure.acl or ()})
        self.assertIsNotNone(outcome(remote.PROGRAM, own, every, (), Recorder()))

    def test_nothing_needed(self) -> None:
        """The calls that need nothing."""
        names = {p.name for _, p in calls() if p.acl == ()}
        self.assertEqual(
            {
                "auth_list",
                "auth_polkit",
                "auth_sasl_init",
                "auth_sasl_start",
                "auth_sasl_step",
                "connect_close",
                "connect_is_secure",
            },
            names,
        )
        for name in names:
            procedure = remote.PROGRAM.by_name[name]
            self.assertIsNone(outcome(remote.PROGRAM, procedure, rights(set()), (), Recorder()))


FORGERIES = {
    "NonnullDomain": ("domain", "name", "uuid", "id"),
    "NonnullInterface": ("interface", "name", "mac"),
    "NonnullNetwork": ("network", "name", "uuid"),
    "NonnullNwfilter": ("nwfilter", "name", "uuid"),
    "NonnullSecret": ("secret", "uuid", "usageID"),
    "NonnullStoragePool": ("storage_pool", "name", "uuid"),
    "NonnullStorageVol": ("storage_vol", "name", "key"),
}
"""Struct of a reference -> kind of object, and the parts that a client can forge."""

NESTED = {
    "NonnullDomainCheckpoint": ("dom", "NonnullDomain"),
    "NonnullDomainSnapshot": ("dom", "NonnullDomain"),
    "NonnullNetworkPort": ("net", "NonnullNetwork"),
}
"""Struct -> the reference in it."""


def forgeries(true: Any, struct: str) -> Iterator[Any]:
    """References with one part of another object."""
    if struct in NESTED:
        field, inner = NESTED[struct]
        for forged in forgeries(getattr(true, field), inner):
            yield true._replace(**{field: forged})
    elif struct in FORGERIES:
        kind, *parts = FORGERIES[struct]
        other = ref(kind, "two")
        for part in parts:
            yield true._replace(**{part: getattr(other, part)})


def args_of(procedure: Procedure) -> tuple[str, ...]:
    """Names of the arguments."""
    fields: tuple[str, ...] = getattr(procedure.args, "_fields", ())
    return fields


def numbered(rights: Rights, first: int) -> Iterator[Rule]:
    """Its rules with other numbers."""
    return (attrs.evolve(rule, number=first + rule.number) for rule in rights.rules)


def everything(procedure: Procedure) -> Any:
    """What answers a call that is filtered, with both objects."""
    kind = procedure.aclfilter[0].object
    if procedure.name == "connect_get_all_domain_stats":
        return Recorder([remote.DomainStatsRecord(dom, []) for dom in refs(kind)])
    if "need_results" in args_of(procedure):
        return Recorder(procedure.ret(refs(kind), 2))
    if counts(procedure):
        return Recorder(2)
    return getattr(getattr(CONNECTION, str(procedure.driver)), procedure.name)


def size(found: Any) -> int:
    """How many objects a result shows, which must be what it says."""
    if isinstance(found, int):
        return found
    if isinstance(found, tuple):
        assert len(found[0]) == found[1], found
        return len(found[0])
    return len(found)


def rights_in_pool(permissions: set[Right]) -> Rights:
    """Permissions on what is in the pool ``one``."""
    on = Condition(parents=("one",))
    rule = Rule(1, 1, True, ANYBODY, frozenset(permissions), on, "")
    return Policy((rule,)).for_client(Identity(), "test")
