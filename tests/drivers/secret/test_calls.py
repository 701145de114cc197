"""The calls on secrets, word for word as libvirtd 9.0.0 answered them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from remotevirt.drivers.documents import LARGE
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullSecret
from remotevirt.xml.values import format_uuid
from tests.drivers.secret.secrets import UUID, SecretsCase, secret_xml

DOCUMENTS = Path(__file__).with_name("documents.json")
"""Documents, flags, and what libvirtd made of them."""

DEFINED, UNDEFINED = (0, 0), (1, 0)


class DocumentTests(SecretsCase):
    """What documents become."""

    def test_recorded(self) -> None:
        """Each document is shown as libvirt shows it, or refused in its words.

        Of what is no XML our texts show less than libvirt's: lines that have to do with secrets stay out.
        """
        answers = json.loads(DOCUMENTS.read_text())
        self.assertGreater(len(answers), 80)
        for text, flags, expected in answers:
            found: Any
            try:
                ref = self.secrets.secret_define_xml(text, flags)
            except VirError as error:
                found = [error.code, error.domain, error.message]
                if error.code == c.VIR_ERR_XML_DETAIL:
                    expected[2] = expected[2].partition("\n")[0]
                    found[2] = found[2][: len(expected[2])]
            else:
                found = self.secrets.secret_get_xml_desc(ref, 0)
                if "UUID" in expected:
                    found = found.replace(format_uuid(ref.uuid), "UUID")
                self.secrets.secret_undefine(ref)
            self.assertEqual(expected, found, text)

    def test_long(self) -> None:
        """A long document is read aside, and what comes of it lasts."""

        def check(ref: NonnullSecret) -> None:
            self.assertEqual(ref, self.again().secret_lookup_by_uuid(ref.uuid))

        made = self.secrets.secret_define_xml(secret_xml(description="x" * LARGE), 0)
        self.assertIsInstance(made, Deferred)
        return made.addCallback(check)  # type: ignore[no-any-return]


class DefineTests(SecretsCase):
    """The rules of defining anew."""

    def refused(self, text: str, *args: Any, **kwargs: Any) -> None:
        """A definition is refused as an internal error, as libvirt does."""
        found = self.refusal(self.secrets.secret_define_xml, secret_xml(*args, **kwargs), 0)
        self.assertEqual((c.VIR_ERR_INTERNAL_ERROR, c.VIR_FROM_SECRET, f"internal error: {text}"), found)

    def test_usage_stays(self) -> None:
        """What a secret is for cannot change, from or to nothing either."""
        self.define(1)
        self.define(3, None)
        used = f"a secret with UUID {UUID.format(1)} is already defined for use with /a"
        self.refused(used, 1, "volume", "/b")
        self.refused(used, 1, None)
        self.refused(f"a secret with UUID {UUID.format(3)} is already defined for use with (null)", 3)

    def test_one_secret_for_one_thing(self) -> None:
        """A thing has one secret; things of other kinds may have its name."""
        self.define(1)
        used = f"a secret with UUID {UUID.format(1)} already defined for use with /a"
        self.refused(used, None)
        self.refused(used, 2)
        self.assertEqual(2, self.define(2, "ceph").usageType)
        self.refused(f"a secret with UUID {UUID.format(2)} already defined for use with /a", 1, "ceph")

    def test_kind_changes(self) -> None:
        """The kind of thing may change if its name does not; the old one is free then."""
        first = self.define(1)
        self.assertEqual(c.VIR_SECRET_USAGE_TYPE_TLS, self.define(1, "tls").usageType)
        self.assertEqual(1, self.define(1, "volume").usageType)
        self.define(1, "tls")
        self.define(2, "volume")
        self.assertEqual(first.uuid, self.secrets.secret_lookup_by_usage(4, "/a").uuid)

    def test_private_stays(self) -> None:
        """A secret can become private, and then remains it."""
        self.define(1)
        self.define(1, private="yes", description="d")
        self.refused("cannot change private flag on existing secret", 1)

    def test_value_stays(self) -> None:
        """A new definition leaves the value."""
        ref = self.define(1)
        self.secrets.secret_set_value(ref, b"v", 0)
        self.define(1, description="d")
        self.assertEqual(b"v", self.secrets.secret_get_value(ref, 0))

    def test_events(self) -> None:
        """Each definition, value and farewell is told, refusals are not."""
        ref = self.define(1)
        self.define(1)
        self.secrets.secret_set_value(ref, b"v", 0)
        self.refusal(self.secrets.secret_define_xml, secret_xml(1, "volume", "/b"), 0)
        self.secrets.secret_undefine(ref)
        self.assertEqual([(0, 1, *DEFINED), (0, 1, *DEFINED), (1, 1), (0, 1, *UNDEFINED)], self.take_events())


class ValueTests(SecretsCase):
    """Values."""

    def test_any_bytes(self) -> None:
        """A value is bytes, up to what the wire carries."""
        ref = self.define(1)
        for value in (b"\0", b"v\0al\xff", b"x" * 65536):
            self.secrets.secret_set_value(ref, value, 0)
            self.assertEqual(value, self.secrets.secret_get_value(ref, 0))

    def test_none(self) -> None:
        """A secret without a value says so; an empty value is none."""
        ref = self.define(2)
        text = f"Secret not found: secret '{UUID.format(2)}' does not have a value"
        self.assertEqual((66, 30, text), self.refusal(self.secrets.secret_get_value, ref, 0))
        text = "value in virSecretSetValue must not be NULL"
        self.assertEqual((8, 30, text), self.refusal(self.secrets.secret_set_value, ref, b"", 0))
        self.assertIsNone(self.secrets.value_of(ref.uuid))

    def test_private(self) -> None:
        """A private value goes to other drivers, by UUID or usage, and to no client."""
        ref = self.define(1, private="yes")
        for value in (None, b"v"):
            if value is not None:
                self.secrets.secret_set_value(ref, value, 0)
            found = self.refusal(self.secrets.secret_get_value, ref, 0)
            self.assertEqual((65, 30, "Invalid secret: secret is private"), found)
            self.assertEqual(value, self.secrets.value_of(ref.uuid))
            self.assertEqual(value, self.secrets.value_of((c.VIR_SECRET_USAGE_TYPE_VOLUME, "/a")))
        self.assertIsNone(self.secrets.value_of((c.VIR_SECRET_USAGE_TYPE_CEPH, "/a")))

    def test_not_in_memory(self) -> None:
        """Of a lasting and of an ephemeral secret, what is kept is not the value."""
        for number, ephemeral in ((1, "no"), (2, "yes")):
            ref = self.define(number, None, ephemeral=ephemeral)
            self.secrets.secret_set_value(ref, b"a value of some length", 0)
            record = self.secrets.table.by_uuid[ref.uuid]
            self.assertNotIn(b"a value", record.sealed)
            self.assertEqual(1 + 12 + 22 + 16, len(record.sealed))


class LookupTests(SecretsCase):
    """Finding and listing."""

    def setUp(self) -> None:
        super().setUp()
        self.define(1, private="yes")
        self.define(2, "ceph")
        self.define(3, None)
        self.define(5, "tls", "e", ephemeral="yes", private="yes")

    def numbers(self, flags: int) -> list[int]:
        """The numbers of the secrets that pass a filter."""
        found = self.secrets.connect_list_all_secrets(1, flags)
        self.assertEqual(len(found.secrets), found.ret)
        self.assertEqual(((), found.ret), tuple(self.secrets.connect_list_all_secrets(0, flags)))
        return [ref.uuid[-1] for ref in found.secrets]

    def test_filters(self) -> None:
        """The filters of the list, alone and together."""
        expected = {
            0: [1, 2, 3, 5],
            1: [5],
            2: [1, 2, 3],
            4: [1, 5],
            8: [2, 3],
            3: [1, 2, 3, 5],
            5: [5],
            9: [],
            15: [1, 2, 3, 5],
        }
        self.assertEqual(expected, {flags: self.numbers(flags) for flags in expected})

    def test_lists_are_fresh(self) -> None:
        """A list that was kept is not shown once something has changed."""
        self.assertEqual([1, 5], self.numbers(c.VIR_CONNECT_LIST_SECRETS_PRIVATE))
        self.define(2, "ceph", private="yes")
        self.assertEqual([1, 2, 5], self.numbers(c.VIR_CONNECT_LIST_SECRETS_PRIVATE))

    def test_old_lists(self) -> None:
        """Number, and UUIDs as texts."""
        self.assertEqual(4, self.secrets.connect_num_of_secrets())
        self.assertEqual(
            [UUID.format(number) for number in (1, 2)], list(self.secrets.connect_list_secrets(2))
        )
        self.assertEqual(4, len(self.secrets.connect_list_secrets(16384)))
        self.refusal(self.secrets.connect_list_secrets, 16385)

    def test_found(self) -> None:
        """By UUID and by usage."""
        ref = self.secrets.secret_lookup_by_uuid(bytes.fromhex(UUID.format(2).replace("-", "")))
        self.assertEqual((2, "/a"), tuple(ref[1:]))
        self.assertEqual(ref, self.secrets.secret_lookup_by_usage(2, "/a"))

    def test_not_found(self) -> None:
        """Errors of those that are not there, or no longer."""
        gone = self.secrets.secret_lookup_by_usage(2, "/a")
        self.secrets.secret_undefine(gone)
        text = f"Secret not found: no secret with matching uuid '{UUID.format(2)}'"
        for call, *rest in (
            (self.secrets.secret_undefine,),
            (self.secrets.secret_get_xml_desc, 0),
            (self.secrets.secret_set_value, b"x", 0),
            (self.secrets.secret_get_value, 0),
        ):
            self.assertEqual((66, 30, text), self.refusal(call, gone, *rest))
        self.assertEqual((66, 30, text), self.refusal(self.secrets.secret_lookup_by_uuid, gone.uuid))
        for kind, name in ((2, "/a"), (0, ""), (99, "x"), (-1, "x")):
            text = f"Secret not found: no secret with matching usage '{name}'"
            self.assertEqual((66, 30, text), self.refusal(self.secrets.secret_lookup_by_usage, kind, name))

    def test_flags(self) -> None:
        """Flags that a call does not know are refused in libvirt's words."""
        ref = self.secrets.secret_lookup_by_usage(2, "/a")
        for name, bits, call, *rest in (
            ("secretDefineXML", 6, self.secrets.secret_define_xml, secret_xml(9)),
            ("secretGetXMLDesc", 1, self.secrets.secret_get_xml_desc, ref),
            ("secretSetValue", 1, self.secrets.secret_set_value, ref, b"x"),
            ("secretGetValue", 1, self.secrets.secret_get_value, ref),
            ("secretConnectListAllSecrets", 16, self.secrets.connect_list_all_secrets, 1),
        ):
            text = f"unsupported flags ({bits:#x}) in function {name}"
            self.assertEqual((8, 30, text), self.refusal(call, *rest, bits))
