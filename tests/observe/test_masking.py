"""What is shown of calls, and above all what is not."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt.observe import masking
from remotevirt.observe.masking import MASK, SECRET_FIELDS, mask_text, show_arguments, show_result
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.remote import NonnullSecret
from remotevirt.typed_params import string, uint
from tests.observe.fakes import DOMAIN, DOMAIN_UUID, all_procedures, make_call, payload_of

LOOKS_SECRET = re.compile(
    r"pass|secret|key|cookie|token|cred|auth|data|value|cmd|mech|buffer|result|native", re.IGNORECASE
)

HARMLESS = {
    "key": "the place of a volume; the prefix of a piece of metadata",
    "keys": "public keys",
    "mech": "the name of a SASL mechanism",
    "mechlist": "names of SASL mechanisms",
    "metadata": "what users attach to a guest; documents are searched for secrets",
    "nativeFormat": "the name of a format",
    "secret": "which secret, not what it holds",
    "secrets": "the same of several",
}
"""Fields that only look secret."""

SECRET = NonnullSecret(bytes(16), 1, "disk")


def text_fields(struct: Any) -> Iterator[str]:
    """The fields of a struct, and of those in it, that can hold text or bytes."""
    for name, hint in typing.get_type_hints(struct).items():
        parts = {hint, *typing.get_args(hint)}
        for part in parts:
            if isinstance(part, type) and hasattr(part, "_fields"):
                if part.__name__ not in ("TypedParam",):  # told by their own names
                    yield from text_fields(part)
                yield name
        if parts & {str, bytes} or "Sequence" in str(hint):
            yield name


class ContractTests(TestCase):
    """The table against every field of the contract."""

    def fields(self) -> set[str]:
        structs = {s for _, p in all_procedures() for s in (p.args, p.ret) if s is not None}
        return {name for struct in structs for name in text_fields(struct)}

    def test_what_looks_secret_is_masked_or_known(self) -> None:
        suspects = {name for name in self.fields() if LOOKS_SECRET.search(name)}
        self.assertEqual(set(SECRET_FIELDS) | set(HARMLESS), suspects | {"keycodes"})

    def test_nothing_is_both(self) -> None:
        self.assertEqual(set(), set(SECRET_FIELDS) & set(HARMLESS))

    def test_reading_secrets_shows_none(self) -> None:
        """Every procedure whose whole result needs ``read_secure``."""
        found = [
            procedure
            for _, procedure in all_procedures()
            if any(p.permission == "read_secure" and not p.flags for p in procedure.acl or ())
        ]
        self.assertEqual(["secret_get_value"], [procedure.name for procedure in found])


class ShowTests(TestCase):
    """Arguments and results."""

    def arguments(self, name: str, *args: Any) -> str:
        return show_arguments(make_call(name, *args).arguments())

    def result(self, name: str, args: tuple[Any, ...], *fields: Any) -> str:
        call = make_call(name, *args)
        assert call.procedure is not None
        return show_result(call.procedure, call.arguments(), call.result(payload_of(call, *fields)))

    def test_ordinary(self) -> None:
        self.assertEqual(
            f'dom=(name="web", uuid={DOMAIN_UUID}, id=3), flags=2',
            self.arguments("domain_create_with_flags", DOMAIN, 2),
        )
        self.assertEqual("", show_arguments(None))

    def test_secret_arguments(self) -> None:
        for name, *args in (
            ("secret_set_value", SECRET, b"HIDDEN", 0),
            ("domain_set_user_password", DOMAIN, "root", "HIDDEN", 0),
            ("auth_sasl_start", "PLAIN", 0, b"\0bob\0HIDDEN"),
            ("auth_sasl_step", 0, b"\0bob\0HIDDEN"),
        ):
            shown = self.arguments(name, *args)
            self.assertIn(MASK, shown)
            self.assertNotIn("HIDDEN", shown)
            self.assertNotIn(b"HIDDEN".hex(), shown)
        self.assertNotIn("42", self.arguments("domain_send_key", DOMAIN, 0, 0, [42], 0))

    def test_secret_results(self) -> None:
        self.assertEqual(MASK, self.result("secret_get_value", (SECRET, 0), b"HIDDEN"))
        xml = "<domain><x>HIDDEN</x></domain>"
        self.assertEqual(MASK, self.result("domain_get_xml_desc", (DOMAIN, vir.VIR_DOMAIN_XML_SECURE), xml))
        self.assertIn("HIDDEN", self.result("domain_get_xml_desc", (DOMAIN, 0), xml))

    def test_numbers_of_secret_names(self) -> None:
        self.assertEqual("result=1", self.result("domain_has_managed_save_image", (DOMAIN, 0), 1))

    def test_typed_parameters(self) -> None:
        params = [uint("weight", 5), string("sev-secret", "HIDDEN"), string("password", "HIDDEN")]
        shown = self.arguments("domain_set_launch_security_state", DOMAIN, params, 0)
        self.assertIn(f"params=[weight:5, sev-secret:{MASK}, password:{MASK}]", shown)

    def test_long(self) -> None:
        ids = self.arguments(
            "connect_get_all_domain_stats", [DOMAIN._replace(id=n) for n in range(500)], 1, 0
        )
        self.assertIn("… 492 more]", ids)
        self.assertLessEqual(len(ids), masking.LINE_SHOWN)
        cpumap = self.arguments("domain_pin_vcpu", DOMAIN, 0, bytes(100))
        self.assertIn("cpumap=<100 bytes>", cpumap)
        self.assertIn("cpumap=0300", self.arguments("domain_pin_vcpu", DOMAIN, 0, b"\3\0"))

    def test_terminal(self) -> None:
        shown = self.arguments("domain_lookup_by_name", "a\x1b[2J\nb")
        self.assertEqual('name="a\\x1b[2J b"', shown)


class TextTests(TestCase):
    """Secrets inside documents."""

    def test_masked(self) -> None:
        for text in (
            "<graphics type='vnc' passwd='HIDDEN'/>",
            '<graphics passwd = "HIDDEN" port="1"/>',
            "<graphics passwd='HIDDEN",
            "<x:y PASSWORD='HIDDEN'/>",
            "<cookie name='a>b'>HIDDEN</cookie>",
            "<cookies><cookie name='a'>HID&amp;DEN HIDDEN</cookie></cookies>",
            "<secret><![CDATA[HIDDEN]]></secret>",
            "<p:password>HIDDEN</p:password>",
            "<password>HIDDEN",
            "<session>HIDDEN</session>",
            "-spice port=1,password=HIDDEN,x=1",
            '{"password": "HIDDEN"}',
        ):
            self.assertNotIn("HIDDEN", mask_text(text), text)

    def test_kept(self) -> None:
        for text in (
            "<auth username='bob'><secret type='ceph' uuid='1'/></auth> SHOWN",
            "<secret ephemeral='no'/> SHOWN",
            "<name>SHOWN</name><password>x</password>",
            "<password>x</password><name>SHOWN</name>",
            "<graphics passwd='x' port='SHOWN'/>",
        ):
            self.assertIn("SHOWN", mask_text(text), text)

    def test_shortened(self) -> None:
        shown = mask_text("x" * 5_000_000)
        self.assertLess(len(shown), masking.TEXT_SHOWN + 40)
        self.assertIn("(5000000 characters)", shown)

    @given(st.integers(0, masking.TEXT_SEARCHED + 200))
    def test_wherever_it_is_cut(self, before: int) -> None:
        """A secret that the search sees only half of is not shown either."""
        for text in ("<g passwd='HIDDEN'/>", "<cookie name='x'>HIDDEN</cookie>"):
            self.assertNotIn("HID", mask_text(" " * before + text))

    def test_is_fast(self) -> None:
        """However a document is made, what is searched is bounded."""
        for piece in ("<cookie>", "passwd='", "<cookie ", "<secret/>", "passwd=", "<session><"):
            self.assertLess(len(mask_text(piece * 500_000)), 400)


class ProcedureTests(TestCase):
    """Every result that the embedded hypervisor might give."""

    def test_void(self) -> None:
        procedure = remote.PROGRAM.by_name["domain_destroy"]
        self.assertEqual("", show_result(procedure, None, None))
