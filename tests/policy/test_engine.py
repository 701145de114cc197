"""Policies: whom rules mean, what decides, and three answers to every condition."""

from __future__ import annotations

import grp
import os
import pwd
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.policy import Policy, Rights, Thing, parse_policy
from remotevirt.policy import engine as engine_module
from remotevirt.policy.permissions import BUILT_IN, EVERY, expand, needed_by
from remotevirt.policy.rules import Condition, Metadata, Rule, Who
from remotevirt.server.access import readonly_guard
from tests.strategies import bounded

URI = "https://example.org/tenant"
UNIX = Identity(uid=os.getuid(), gid=os.getgid())
TLS = Identity(transport="tls", address="10.0.0.1;7", dn="C=GB,O=Example,CN=admin-7")
SASL = Identity(transport="tcp", address="10.0.0.2;7", sasl="alice@EXAMPLE")


def start(identity: Identity, who: str, driver: str = "test") -> bool:
    """Whether somebody may start domains if ``who`` may."""
    policy = parse_policy(f"[[rule]]\nwho = {who}\nallow = 'domain:start'")
    return policy.for_client(identity, driver).certain("domain", "start")


class WhoTests(SynchronousTestCase):
    """Whom a rule means."""

    def test_everybody(self) -> None:
        """Any client; but what no rule allows is denied, on every transport."""
        for identity in (UNIX, TLS, SASL, Identity()):
            self.assertTrue(start(identity, "'*'"))
            self.assertFalse(Policy(()).for_client(identity, "test").possible("domain", "start"))

    def test_uid(self) -> None:
        """By number and name; nobody from elsewhere has one."""
        name = pwd.getpwuid(os.getuid()).pw_name
        self.assertTrue(start(UNIX, f"'uid:{os.getuid()}'"))
        self.assertTrue(start(UNIX, f"'uid:{name}'"))
        self.assertFalse(start(UNIX, f"'uid:{os.getuid() + 1}'"))
        for identity in (TLS, SASL, Identity()):
            self.assertFalse(start(identity, "'uid:0'"))

    def test_gid(self) -> None:
        """By number and name, and by the other groups of the user."""
        name = grp.getgrgid(os.getgid()).gr_name
        self.assertTrue(start(UNIX, f"'gid:{os.getgid()}'"))
        self.assertTrue(start(UNIX, f"'gid:{name}'"))
        self.assertFalse(start(TLS, "'gid:0'"))
        with mock.patch.object(Identity, "groups", lambda self: frozenset({4711})):
            self.assertTrue(start(UNIX, "'gid:4711'"))
            self.assertFalse(start(UNIX, "'gid:4712'"))

    def test_groups_are_looked_up_only_if_needed(self) -> None:
        """The system's database may be slow."""
        with mock.patch.object(Identity, "groups", side_effect=AssertionError):
            self.assertTrue(start(UNIX, "'*'"))

    def test_dn_and_sasl(self) -> None:
        """Globs over the whole text, case and all."""
        self.assertTrue(start(TLS, "'dn:*,O=Example,CN=admin*'"))
        self.assertTrue(start(TLS, "['uid:0', 'dn:C=GB,O=Example,CN=admin-7']"))
        for other in ("dn:CN=admin-7", "dn:*,CN=ADMIN-7", "dn:*,CN=admin", "sasl:*", "uid:7"):
            self.assertFalse(start(TLS, f"'{other}'"), other)
        self.assertTrue(start(SASL, "'sasl:*@EXAMPLE'"))
        self.assertFalse(start(SASL, "'sasl:alice'"))
        self.assertFalse(start(UNIX, "'sasl:*'"))
        self.assertFalse(start(SASL, "'dn:*'"))

    def test_transport(self) -> None:
        """How somebody came in."""
        for identity in (UNIX, TLS, SASL):
            for transport in ("unix", "tcp", "tls"):
                self.assertEqual(identity.transport == transport, start(identity, f"'transport:{transport}'"))

    def test_driver(self) -> None:
        """A rule may be about connections of some drivers only."""
        policy = parse_policy("[[rule]]\nwho='*'\nallow='all'\non={driver=['qemu','xen']}")
        for driver, allowed in (("qemu", True), ("xen", True), ("test", False)):
            self.assertEqual(allowed, policy.for_client(UNIX, driver).certain("connect", "write"))

    def test_rights_are_shared(self) -> None:
        """Clients of whom the same rules speak share their rights; how many are kept is bounded."""
        policy = parse_policy(
            "[[rule]]\nwho='transport:tls'\nallow='all'\n[[rule]]\nwho='*'\nallow='read-only'"
        )
        self.assertIs(policy.for_client(UNIX, "a"), policy.for_client(SASL, "b"))
        self.assertIsNot(policy.for_client(UNIX, "a"), policy.for_client(TLS, "a"))
        self.patch(engine_module, "RIGHTS_MAXIMUM", 1)
        first = policy.for_client(UNIX, "a")
        policy.for_client(TLS, "a")
        self.assertEqual(first.rules, policy.for_client(UNIX, "a").rules)


def rights(text: str) -> Rights:
    """What everybody may do."""
    return parse_policy(text.replace("[[rule]]", "[[rule]]\nwho = '*'")).for_client(UNIX, "test")


def tenant(text: str | None, **attributes: str) -> dict[str, Any]:
    """The metadata of a domain."""
    if text is None:
        return {URI: None}
    element = etree.fromstring(f"<t xmlns='{URI}'><x> {text}</x> </t>")
    element.attrib.update(attributes)
    return {URI: element}


class ConditionTests(SynchronousTestCase):
    """Which objects a rule means. Yes, no, or not known."""

    def met(self, on: str, thing: Thing) -> bool | None:
        """What a condition says."""
        (rule,) = parse_policy(f"[[rule]]\nwho='*'\nallow='all'\non = {on}").rules
        return rule.on.met(thing)

    def test_name(self) -> None:
        """Globs."""
        self.assertTrue(self.met("{name='web-*'}", Thing("domain", "web-1")))
        self.assertTrue(self.met("{name=['db','web-[0-9]']}", Thing("domain", "web-1")))
        self.assertIs(False, self.met("{name='web-*'}", Thing("domain", "Web-1")))
        self.assertIs(False, self.met("{name='web-*'}", Thing("domain", "my-web-1")))
        self.assertIs(False, self.met("{name='web-1'}", Thing("domain", "web-1\n")))
        self.assertTrue(self.met("{name='web*'}", Thing("domain", "web\nx")))
        self.assertIsNone(self.met("{name='web-*'}", Thing("domain")))

    def test_uuid(self) -> None:
        """In any form that libvirt reads. What has none has none of these."""
        uuid = "00112233-4455-6677-8899-aabbccddeeff"
        thing = Thing("domain", "x", bytes.fromhex(uuid.replace("-", "")))
        self.assertTrue(self.met(f"{{uuid='{uuid.upper()}'}}", thing))
        self.assertTrue(self.met(f"{{uuid='{uuid.replace('-', '')}'}}", thing))
        self.assertIs(False, self.met(f"{{uuid='{uuid}'}}", Thing("domain", "x", b"")))
        self.assertIs(False, self.met(f"{{uuid='{uuid}'}}", Thing("domain", "x", b"0" * 16)))
        self.assertIsNone(self.met(f"{{uuid='{uuid}'}}", Thing("domain", "x")))

    def test_parent(self) -> None:
        """The pool of a volume."""
        self.assertTrue(self.met("{parent='web*'}", Thing("storage_vol", "x", b"", "web")))
        self.assertIs(False, self.met("{parent='web*'}", Thing("storage_vol", "web", b"", "db")))
        self.assertIsNone(self.met("{parent='web*'}", Thing("storage_vol", "x", b"")))

    def test_metadata(self) -> None:
        """The text of an element, or of an attribute of it."""
        by_text = f"{{metadata={{uri='{URI}',value=['blue','green*']}}}}"
        self.assertTrue(self.met(by_text, Thing("domain", metadata=tenant("blue"))))
        self.assertTrue(self.met(by_text, Thing("domain", metadata=tenant("green 7"))))
        self.assertIs(False, self.met(by_text, Thing("domain", metadata=tenant("red"))))
        self.assertIs(False, self.met(by_text, Thing("domain", metadata=tenant(None))))
        self.assertIsNone(self.met(by_text, Thing("domain", metadata={"other": None})))
        commented = etree.fromstring(f"<t xmlns='{URI}'>bl<!-- red -->ue<?x y?></t>")
        self.assertTrue(self.met(by_text, Thing("domain", metadata={URI: commented})))
        by_attribute = f"{{metadata={{uri='{URI}',value='gold',attribute='class'}}}}"
        self.assertTrue(self.met(by_attribute, Thing("domain", metadata=tenant("", **{"class": "gold"}))))
        self.assertIs(False, self.met(by_attribute, Thing("domain", metadata=tenant("gold"))))

    def test_all_of_them(self) -> None:
        """Every part has to be met; one that is not decides, known or not the others."""
        on = f"{{name='web*', metadata={{uri='{URI}',value='blue'}}}}"
        self.assertTrue(self.met(on, Thing("domain", "web", metadata=tenant("blue"))))
        self.assertIsNone(self.met(on, Thing("domain", "web")))
        self.assertIsNone(self.met(on, Thing("domain", metadata=tenant("blue"))))
        self.assertIs(False, self.met(on, Thing("domain", "db")))
        self.assertIs(False, self.met(on, Thing("domain", metadata=tenant("red"))))

    def test_the_connection_has_no_name(self) -> None:
        """A rule that names objects gives nothing on the connection."""
        found = rights("[[rule]]\nallow='all'\non={name='*'}")
        self.assertFalse(found.possible("connect", "write"))
        self.assertTrue(found.possible("domain", "write"))
        self.assertFalse(found.certain("domain", "write"))

    def test_what_has_no_such_thing(self) -> None:
        """Interfaces have no UUID, networks no parent and no metadata."""
        for kind, on in (
            ("interface", "{uuid='00112233445566778899aabbccddeeff'}"),
            ("network", "{parent='*'}"),
            ("network", "{metadata={uri='u', value='*'}}"),
        ):
            found = rights(f"[[rule]]\nallow='all'\non={on}")
            self.assertFalse(found.possible(kind, "read"), on)


class DecisionTests(SynchronousTestCase):
    """What decides."""

    def test_denials_decide(self) -> None:
        """Wherever they stand."""
        allow, deny = "[[rule]]\nallow='domain:*'\n", "[[rule]]\ndeny='domain:stop'\non={name='db-*'}\n"
        for text in (allow + deny, deny + allow):
            found = rights(text)
            self.assertTrue(found.check("domain", "stop", Thing("domain", "web")).allowed)
            decision = found.check("domain", "stop", Thing("domain", "db-1"))
            self.assertFalse(decision.allowed)
            self.assertIn("db-*", decision.reason)
            self.assertFalse(found.certain("domain", "stop"))
            self.assertTrue(found.possible("domain", "stop"))
            self.assertTrue(found.certain("domain", "start"))

    def test_what_is_not_known_takes_away(self) -> None:
        """A denial that may match does; an allowance that may match does not."""
        self.assertFalse(rights("[[rule]]\nallow='all'\non={name='*'}").check("domain", "read").allowed)
        text = "[[rule]]\nallow='all'\n[[rule]]\ndeny='all'\non={name='x'}"
        self.assertFalse(rights(text).check("domain", "read").allowed)

    def test_lines(self) -> None:
        """A decision tells the line of its rule."""
        text = "# a comment\n\n[[rule]]\nwho = '*'\nallow = 'domain:start'\n"
        decision = parse_policy(text).for_client(UNIX, "test").check("domain", "start")
        self.assertEqual(5, decision.line)
        self.assertEqual('allowed, by line 5: who = "*", allow = "domain:start"', decision.reason)
        self.assertEqual("denied, as no rule allows it", rights("").check("domain", "start").reason)

    def test_require(self) -> None:
        """What is needed to open a connection."""
        rights("[[rule]]\nallow='connect:getattr'").require("connect", "getattr")
        error = self.assertRaises(VirError, rights("").require, "connect", "getattr")
        self.assertEqual("access denied: 'connect' denied 'getattr' access", error.message)

    def test_answers_are_bounded(self) -> None:
        """Clients choose the names that are asked about."""
        self.patch(engine_module, "ANSWERS_MAXIMUM", 3)
        found = rights("[[rule]]\nallow='all'\non={name='web-*'}")
        for number in range(20):
            self.assertTrue(found.check("domain", "read", Thing("domain", f"web-{number}")).allowed)
            self.assertFalse(found.check("domain", "read", Thing("domain", f"db-{number}")).allowed)
            self.assertLessEqual(len(found._answers), 3)


THINGS = st.sampled_from(
    [
        Thing("domain", name, uuid, metadata=metadata)
        for name in ("web-1", "web-2", "db-1", None)
        for uuid in (b"1" * 16, b"2" * 16, b"", None)
        for metadata in ({}, tenant("blue"), tenant("red"))
    ]
)
CONDITIONS = st.sampled_from(
    [
        Condition(names=names, uuids=uuids, metadata=metadata)
        for names in ((), ("web-*",), ("*-1", "x"))
        for uuids in (frozenset[bytes](), frozenset({b"1" * 16}))
        for metadata in (None, Metadata(URI, ("blue",)))
    ]
)
RULES = st.lists(st.tuples(st.booleans(), CONDITIONS), max_size=5).map(
    lambda found: tuple(
        Rule(number, number, allow, (Who("*", "*"),), frozenset({("domain", "stop")}), on, "")
        for number, (allow, on) in enumerate(found)
    )
)


class PropertyTests(SynchronousTestCase):
    """What holds for all policies and objects."""

    @bounded(200)
    @given(RULES, THINGS)
    def test_certain_and_possible(self, rules: tuple[Rule, ...], thing: Thing) -> None:
        """They are what they say."""
        found = Rights(rules)
        allowed = found.check("domain", "stop", thing).allowed
        self.assertTrue(allowed or not found.certain("domain", "stop"))
        self.assertTrue(found.possible("domain", "stop") or not allowed)
        self.assertTrue(found.possible("domain", "stop", thing) or not allowed)

    @bounded(200)
    @given(RULES, THINGS)
    def test_order_does_not_matter(self, rules: tuple[Rule, ...], thing: Thing) -> None:
        """Nor does asking twice."""
        found = Rights(rules)
        decision = found.check("domain", "stop", thing)
        self.assertEqual(decision, found.check("domain", "stop", thing))
        self.assertEqual(decision.allowed, Rights(rules[::-1]).check("domain", "stop", thing).allowed)

    @bounded(200)
    @given(RULES, THINGS, CONDITIONS)
    def test_a_denial_takes_away(self, rules: tuple[Rule, ...], thing: Thing, on: Condition) -> None:
        """And an allowance gives."""
        before = Rights(rules).check("domain", "stop", thing).allowed
        for allow in (True, False):
            rule = Rule(99, 99, allow, (), frozenset({("domain", "stop")}), on, "")
            after = Rights((*rules, rule)).check("domain", "stop", thing).allowed
            self.assertTrue(after >= before if allow else after <= before)

    @bounded(200)
    @given(RULES, THINGS)
    def test_knowing_more(self, rules: tuple[Rule, ...], thing: Thing) -> None:
        """What is allowed while little is known is allowed when more is."""
        found = Rights(rules)
        if found.check("domain", "stop", thing).allowed:
            full = Thing(
                "domain",
                thing.name or "db-1",
                b"3" * 16 if thing.uuid is None else thing.uuid,
                metadata=thing.metadata or tenant("red"),
            )
            self.assertTrue(found.check("domain", "stop", full).allowed)


class PermissionTests(SynchronousTestCase):
    """libvirt's words."""

    def test_patterns(self) -> None:
        """Both sides."""
        self.assertEqual({("domain", "start")}, expand("domain:start"))
        self.assertEqual(EVERY, expand("*:*"))
        self.assertIn(("connect", "search_domains"), expand("connect:search_*"))
        self.assertEqual({"read"}, {permission for _, permission in expand("*:read")})

    def test_mistakes(self) -> None:
        """Tell what was meant."""
        for text, hint in (
            ("domian:start", "'domain'"),
            ("storage-vol:read", "'storage_vol'"),
            ("domain:strat", "'start'"),
            ("domain:data_read", "object 'domain'"),
            ("domain:", "permission ''"),
            ("domain", "neither"),
            ("*:xyzzy", "no permission"),
        ):
            self.assertIn(hint, str(self.assertRaises(ValueError, expand, text)))

    def test_read_only(self) -> None:
        """The group is what a read-only connection may do, where no call is an exception."""
        for right in EVERY:
            always = [p for _, p, when in needed_by(right) if when == ""]
            for procedure in always:
                try:
                    readonly_guard(procedure)
                except VirError:
                    continue
                if (
                    procedure.acl is not None
                    and len(procedure.acl) == 1
                    and right not in BUILT_IN["read-only"]
                ):
                    self.assertIn(
                        procedure.name,
                        {
                            "connect_baseline_hypervisor_cpu",
                            "domain_migrate_get_compression_cache",
                            "domain_migrate_get_max_downtime",
                        },
                    )

    def test_every_permission_is_needed_by_something(self) -> None:
        """Or is known not to be."""
        self.assertEqual(
            set(),
            {":".join(right) for right in EVERY if not list(needed_by(right))},
        )
