"""What a policy means for one client: its rights.

::

    Policy   all rules                    one for each file
    Rights   those that speak of a        shared by all clients that the same rules speak of
             client and its driver
    Decision one answer, and the rule     what ``explain`` shows
             that it rests on

A denial that matches decides, wherever it stands; otherwise an allowance that matches; otherwise the answer
is no. The order of rules does not matter, so a denial cannot be undone by what somebody adds above it.
"""

from __future__ import annotations

from typing import Final

import attrs

from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.policy.rules import Rule, Thing
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import AccessDenied

__all__ = ["ANSWERS_MAXIMUM", "RIGHTS_MAXIMUM", "Decision", "Policy", "Rights", "access_denied"]

RIGHTS_MAXIMUM: Final = 1024
"""Sets of rules that apply to some client, kept by :class:`Policy`. libvirt: it asks polkit for each call."""

ANSWERS_MAXIMUM: Final = 32768
"""Answers about objects that one :class:`Rights` keeps: twice what the longest list holds."""


NAME_KEPT: Final = 255
"""Characters of a name up to which answers about it are kept: clients choose names of up to 4 MiB."""


def access_denied(object: str, permission: str) -> VirError:
    """Return what a client is told that lacks a permission: VIR_ERR_ACCESS_DENIED, naming it."""
    return AccessDenied(f"'{object}' denied '{permission}' access", domain=vir.VIR_FROM_ACCESS)


@attrs.frozen
class Decision:
    """An answer.

    Attributes:
        allowed: whether it is yes.
        rule: what it rests on; None if nothing allows it.
    """

    allowed: bool
    rule: Rule | None = None

    @property
    def line(self) -> int | None:
        """The line of the rule."""
        return self.rule.line if self.rule else None

    @property
    def reason(self) -> str:
        """The answer in words: ``allowed, by line 12: ...``."""
        if self.rule is None:
            return "denied, as no rule allows it"
        return f"{'allowed' if self.allowed else 'denied'}, by {self.rule.place}: {self.rule.text}"


_NO: Final = Decision(False)


class _Relevant:
    """The rules that decide about one permission.

    Attributes:
        denies, allows: in the order of the file.
        uris: namespaces of metadata that they ask about.
        names_only: they ask about nothing but names.
    """

    __slots__ = ("allows", "denies", "names_only", "uris")

    def __init__(self, rules: list[Rule]) -> None:
        self.denies = [rule for rule in rules if not rule.allow]
        self.allows = [rule for rule in rules if rule.allow]
        conditions = [rule.on for rule in rules]
        self.uris = frozenset(on.metadata.uri for on in conditions if on.metadata)
        self.names_only = not any(on.uuids or on.parents or on.metadata for on in conditions)


class Rights:
    """What one client may do on connections of one driver.

    Args:
        rules: those that speak of it.
    """

    __slots__ = ("_answers", "_certain", "_relevant", "rules")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._relevant: dict[tuple[str, str], _Relevant] = {}
        self._certain: dict[tuple[str, str], bool] = {}
        self._answers: dict[tuple[str, str, str | None, bytes | None, str | None], Decision] = {}

    def check(self, object: str, permission: str, thing: Thing | None = None) -> Decision:
        """Decide whether something may be done.

        Args:
            object, permission: libvirt's names.
            thing: to what; None for the connection, or if that is not known. Of what is not known of it,
                the worst is assumed.
        """
        relevant = self._rules(object, permission)
        if thing is None:
            thing = Thing(object)
        if relevant.uris or (thing.name is not None and len(thing.name) > NAME_KEPT):
            return _decide(relevant, thing)
        key = (object, permission, thing.name, thing.uuid, thing.parent)
        answer = self._answers.get(key)
        if answer is None:
            answer = _decide(relevant, thing)
            if len(self._answers) >= ANSWERS_MAXIMUM:
                self._answers.clear()
            self._answers[key] = answer
        return answer

    def certain(self, object: str, permission: str) -> bool:
        """Tell whether something may be done to every object that there is or will be."""
        found = self._certain.get((object, permission))
        if found is None:
            found = self._certain[object, permission] = self.check(object, permission).allowed
        return found

    def possible(self, object: str, permission: str, thing: Thing | None = None) -> bool:
        """Tell whether there could be an object to which something may be done, as far as it is known."""
        relevant = self._rules(object, permission)
        if thing is None:
            thing = Thing(object)
        if any(rule.on.met(thing) for rule in relevant.denies):
            return False
        return any(rule.on.met(thing) is not False for rule in relevant.allows)

    def names_only(self, object: str, permission: str) -> bool:
        """Tell whether the name of an object is all that decides."""
        return self._rules(object, permission).names_only

    def uris(self, object: str, permission: str) -> frozenset[str]:
        """Return the namespaces of metadata that decide."""
        return self._rules(object, permission).uris

    def require(self, object: str, permission: str) -> None:
        """Check what is done to no object in particular, such as the connection.

        Raises:
            VirError: VIR_ERR_ACCESS_DENIED.
        """
        if not self.certain(object, permission):
            raise access_denied(object, permission)

    def _rules(self, object: str, permission: str) -> _Relevant:
        right = object, permission
        found = self._relevant.get(right)
        if found is None:
            rules = [rule for rule in self.rules if right in rule.rights and rule.on.concerns(object)]
            found = self._relevant[right] = _Relevant(rules)
        return found


def _decide(relevant: _Relevant, thing: Thing) -> Decision:
    for rule in relevant.denies:
        if rule.on.met(thing) is not False:
            return Decision(False, rule)
    for rule in relevant.allows:
        if rule.on.met(thing):
            return Decision(True, rule)
    return _NO


class Policy:
    """The rules of a file.

    Args:
        rules: all of them.
    """

    __slots__ = ("_rights", "rules")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._rights: dict[tuple[int, ...], Rights] = {}

    def for_client(self, identity: Identity, scheme: str) -> Rights:
        """Return the rights of a client on connections of a driver.

        Looks up the UNIX groups of a local client, in the system's database.

        Args:
            identity: who it is.
            scheme: of the connection's URI (``"qemu"``).
        """
        by_group = any(who.kind == "gid" for rule in self.rules for who in rule.who)
        groups = identity.groups() if by_group else frozenset()
        rules = tuple(
            rule
            for rule in self.rules
            if (not rule.on.drivers or scheme in rule.on.drivers)
            and any(who.means(identity, groups) for who in rule.who)
        )
        key = tuple(rule.number for rule in rules)
        rights = self._rights.get(key)
        if rights is None:
            if len(self._rights) >= RIGHTS_MAXIMUM:
                self._rights.clear()
            rights = self._rights[key] = Rights(rules)
        return rights
