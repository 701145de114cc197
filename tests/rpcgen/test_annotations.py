"""Doc comments: text, and annotations with their values."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.model import FlagsCondition, ParamCondition, Permission, Procedure
from tests.rpcgen.texts import failure, load


def text(comment: str) -> str:
    return f"program P {{ version V {{\n{comment}\nvoid A(void) = 1;\n}} = 1; }} = 5;"


def read(comment: str) -> dict[str, Any]:
    """What a comment says of a procedure: the attributes that differ from their defaults."""
    (procedure,) = load(text(comment)).programs[0].procedures
    plain = Procedure(1, "A", "a")
    pairs = [(each.name, getattr(procedure, each.name)) for each in attrs.fields(Procedure) if each.eq]
    return {name: value for name, value in pairs if value != getattr(plain, name)}


class ReadTests(TestCase):
    """Every annotation."""

    def test_simple(self) -> None:
        """One line each, with and without a value."""
        found = read(
            "/**\n * Two lines\n * of text.\n *\n * @priority: high\n * @readstream: 2\n * @writestream: 1\n"
            " * @sparseflag: F_X\n * @fds: call_and_reply\n * @event\n * @pre_auth\n * @daemon\n"
            " * @api: virFoo\n * @since: 0.10.2\n * @generate: both\n *\n * More.\n */"
        )
        expected = {
            "comment": "Two lines\nof text.\n\n\nMore.",
            "priority": "high",
            "readstream": 2,
            "writestream": 1,
            "sparseflag": "F_X",
            "fds": "call_and_reply",
            "event": True,
            "pre_auth": True,
            "daemon": True,
            "api": "virFoo",
            "since": "0.10.2",
        }
        self.assertEqual(found, expected)

    def test_one_line(self) -> None:
        """A comment of one line."""
        self.assertEqual(read("/** Text. */"), {"comment": "Text."})
        self.assertEqual(read("/** @priority: high */"), {"priority": "high"})

    def test_only_doc_comments(self) -> None:
        """Other comments say nothing."""
        self.assertEqual(read("/* @priority: high */"), {})

    def test_acl(self) -> None:
        """Permissions with their conditions; ``none`` is not the same as nothing."""
        found = read(
            "/**\n * @acl: domain:read\n * @acl: domain:save:A|B\n * @acl: domain:save:!A|B\n"
            " * @acl: domain:write::source:V_AGENT\n * @aclfilter: domain:getattr\n */"
        )
        acl = (
            Permission("domain", "read"),
            Permission("domain", "save", FlagsCondition(("A", "B"))),
            Permission("domain", "save", FlagsCondition(("A", "B"), negated=True)),
            Permission("domain", "write", ParamCondition("source", "V_AGENT")),
        )
        self.assertEqual(found, {"acl": acl, "aclfilter": (Permission("domain", "getattr"),)})
        self.assertEqual(read("/** @acl: none */"), {"acl": ()})

    def test_definitions(self) -> None:
        """Definitions have comments too."""
        contract = load("/** A. */ const A = 1; /** S. */ struct s { int x; }; /** E. */ enum e { B };")
        self.assertEqual([each.comment for each in contract.definitions], ["A.", "S.", "E."])


class ErrorTests(TestCase):
    """Annotations that make no sense are reported where they stand."""

    def test_values(self) -> None:
        position = "expected a number from 1 to 32"
        access = "expected object:permission, object:permission:FLAGS or object:permission::argument:VALUE"
        for annotation, why in {
            "@priority: medium": "expected low or high",
            "@priority": "expected low or high",
            "@generate: some": "expected none, client, server or both",
            "@fds: both": "expected call, reply or call_and_reply",
            "@readstream: 0": position,
            "@readstream: 999999999999": position,
            "@writestream: ²": position,
            "@sparseflag: A|B": "expected the name of a flag",
            "@api: a b": "expected the name of a function",
            "@since: 1.x": "expected a version such as 0.9.13",
            "@event: yes": "it takes no value",
            "@acl: domain": access,
            "@acl: domain:read:": access,
            "@acl: domain:read:A||B": access,
            "@acl: domain:read:A:b:c": access,
            "@acl": access,
        }.items():
            self.assertEqual(
                failure(text(f"/**\n *  {annotation}\n */")), f"3:5: '{annotation}': {why}", annotation
            )

    def test_unknown(self) -> None:
        self.assertEqual(failure(text("  /** @foo: 1 */")), "2:7: unknown annotation '@foo'")

    def test_twice(self) -> None:
        for word in ("priority: low", "event"):
            self.assertEqual(
                failure(text(f"/**\n * @{word}\n * @{word}\n */")), f"4:4: '@{word}': given twice", word
            )
        for first, second in (("none", "a:b"), ("a:b", "none"), ("none", "none")):
            self.assertEqual(
                failure(text(f"/**\n * @acl: {first}\n * @acl: {second}\n */")),
                f"4:4: '@acl: {second}': 'none' stands alone",
            )
