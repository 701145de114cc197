"""Error classes, and the texts that libvirt's own drivers give."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.errors import RemotevirtError, VirError
from remotevirt.rpcgen import facts
from remotevirt.stubs import constants as vir
from remotevirt.stubs import errors

TEST = vir.VIR_FROM_TEST


def fields(error: VirError) -> tuple[Any, ...]:
    """Everything of an error that travels, in the order of libvirt-python's ``libvirtError.err``."""
    return (
        error.code,
        error.domain,
        error.message,
        error.level,
        error.str1,
        error.str2,
        error.str3,
        error.int1,
        error.int2,
    )


MEASURED: list[tuple[VirError, tuple[Any, ...]]] = [
    (
        errors.NoDomain(domain=TEST),
        (42, 12, "Domain not found", 2, "Domain not found", None, None, -1, -1),
    ),
    (
        errors.NoNetwork("no network with matching name 'nope'", domain=TEST),
        (
            43,
            12,
            "Network not found: no network with matching name 'nope'",
            2,
            "Network not found: %s",
            "no network with matching name 'nope'",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.NoStoragePool("no storage pool with matching name 'nope'", domain=TEST),
        (
            49,
            12,
            "Storage pool not found: no storage pool with matching name 'nope'",
            2,
            "Storage pool not found: %s",
            "no storage pool with matching name 'nope'",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.NoStorageVol("no storage vol with matching name 'x'", domain=TEST),
        (
            50,
            12,
            "Storage volume not found: no storage vol with matching name 'x'",
            2,
            "Storage volume not found: %s",
            "no storage vol with matching name 'x'",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.NoNodeDevice("no node device with matching name 'nope'", domain=TEST),
        (
            53,
            12,
            "Node device not found: no node device with matching name 'nope'",
            2,
            "Node device not found: %s",
            "no node device with matching name 'nope'",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.NoInterface("no interface with matching name 'nope'", domain=TEST),
        (
            57,
            12,
            "Interface not found: no interface with matching name 'nope'",
            2,
            "Interface not found: %s",
            "no interface with matching name 'nope'",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.NoDomainSnapshot("no domain snapshot with matching name 'x'", domain=TEST),
        (
            72,
            12,
            "Domain snapshot not found: no domain snapshot with matching name 'x'",
            2,
            "Domain snapshot not found: %s",
            "no domain snapshot with matching name 'x'",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.NoSupport("virSecretLookupByUUID", domain=vir.VIR_FROM_SECRET),
        (
            3,
            30,
            "this function is not supported by the connection driver: virSecretLookupByUUID",
            2,
            "this function is not supported by the connection driver: %s",
            "virSecretLookupByUUID",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.InternalError("Domain 'test' is already running", domain=TEST),
        (
            1,
            12,
            "internal error: Domain 'test' is already running",
            2,
            "internal error: %s",
            "Domain 'test' is already running",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.NoName(domain=vir.VIR_FROM_DOMAIN),
        (21, 20, "missing name information", 2, "missing name information", None, None, -1, -1),
    ),
    (
        errors.XmlDetail("(domain_definition):1: 100% wrong", domain=vir.VIR_FROM_DOMAIN),
        (
            35,
            20,
            "(domain_definition):1: 100% wrong",
            2,
            "%s",
            "(domain_definition):1: 100% wrong",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.OperationFailed("domain 'test' is already defined with uuid 1", domain=vir.VIR_FROM_DOMAIN),
        (
            9,
            20,
            "operation failed: domain 'test' is already defined with uuid 1",
            2,
            "operation failed: %s",
            "domain 'test' is already defined with uuid 1",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.NoDomainMetadata("Requested metadata element is not present", domain=vir.VIR_FROM_DOMAIN),
        (
            80,
            20,
            "metadata not found: Requested metadata element is not present",
            2,
            "metadata not found: %s",
            "Requested metadata element is not present",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.InvalidDomain("virDomainGetInfo", domain=vir.VIR_FROM_DOM),
        (
            7,
            6,
            "invalid domain pointer in virDomainGetInfo",
            2,
            "invalid domain pointer in %s",
            "virDomainGetInfo",
            None,
            -1,
            -1,
        ),
    ),
    (
        errors.InvalidArg(
            message="unsupported flags (0x100000) in function testDomainGetXMLDesc",
            str1="testDomainGetXMLDesc",
            str2="flags",
            int1=0,
            int2=0,
            domain=TEST,
        ),
        (
            8,
            12,
            "unsupported flags (0x100000) in function testDomainGetXMLDesc",
            2,
            "testDomainGetXMLDesc",
            "flags",
            None,
            0,
            0,
        ),
    ),
]
"""What we raise, and what libvirt 9.0.0's test driver answered in that case (read with libvirt-python)."""


class MessageTests(TestCase):
    """An error made here is the error that libvirt would make."""

    def test_fields_as_measured(self) -> None:
        for error, expected in MEASURED:
            self.assertEqual(fields(error), expected)
            self.assertEqual(str(error), expected[2])

    def test_detail_that_looks_like_a_format(self) -> None:
        error = errors.InternalError("50%s of it")
        self.assertEqual(error.message, "internal error: 50%s of it")
        self.assertEqual((error.str1, error.str2), ("internal error: %s", "50%s of it"))

    def test_text_inside_a_format(self) -> None:
        self.assertEqual(errors.DomExist("x").message, "domain x exists already")
        self.assertEqual(errors.DomExist().message, "this domain exists already")


class ClassTests(TestCase):
    """Every code has its class."""

    codes = facts.load().errors["enums"]["virErrorNumber"]["members"]

    def test_every_code_but_success(self) -> None:
        numbers = {fact["value"] for fact in self.codes.values()}
        self.assertEqual(set(errors.ERRORS), numbers - {0})
        self.assertEqual(len(set(errors.ERRORS.values())), len(errors.ERRORS))

    def test_attributes(self) -> None:
        for name, fact in self.codes.items():
            if not fact["value"]:
                continue
            cls = errors.error_class(fact["value"])
            self.assertIs(cls, getattr(errors, facts.error_class_name(name)))
            self.assertEqual((cls.code, cls.plain), (fact["value"], fact["plain"]))
            self.assertEqual(cls.format.count("%s"), 1, name)
            self.assertIn(name, cls.__doc__ or "")
            self.assertTrue(issubclass(cls, VirError) and issubclass(cls, RemotevirtError))

    def test_unknown_code_is_kept(self) -> None:
        self.assertIs(errors.error_class(4711), VirError)
        self.assertIs(errors.error_class(0), VirError)
        error = errors.error_class(4711)(code=4711, message="from the future")
        self.assertEqual((error.code, error.message), (4711, "from the future"))

    def test_domain_labels(self) -> None:
        self.assertEqual(errors.DOMAIN_LABELS[vir.VIR_FROM_RPC], "XML-RPC")
        self.assertEqual(errors.DOMAIN_LABELS[vir.VIR_FROM_NONE], "")
        self.assertEqual(sorted(errors.DOMAIN_LABELS), list(range(vir.VIR_ERR_DOMAIN_LAST)))
