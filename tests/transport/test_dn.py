"""Distinguished names in GnuTLS's writing. tests/interop/test_gnutls.py compares with GnuTLS itself."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier
from OpenSSL import crypto
from twisted.trial.unittest import TestCase

from remotevirt.transport.dn import compile_patterns, gnutls_dn, peer_dn
from tests.transport.pki import Authority

CN, C, O = NameOID.COMMON_NAME, NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME  # noqa: E741


class DNTestCase(TestCase):
    """Certificates with names."""

    authority = Authority()

    def certificate(self, *rdns: list[tuple[ObjectIdentifier, str]]) -> x509.Certificate:
        """One whose subject has these parts, each of one or more attributes."""
        warnings.simplefilter("ignore")  # of values longer than they should be; trial undoes it
        name = x509.Name(
            [
                x509.RelativeDistinguishedName(
                    [x509.NameAttribute(oid, value, _validate=False) for oid, value in rdn]
                )
                for rdn in rdns
            ]
        )
        return x509.load_pem_x509_certificate(self.authority.sign(name)[0])

    def dn(self, *rdns: list[tuple[ObjectIdentifier, str]]) -> str:
        return gnutls_dn(self.certificate(*rdns))


class GnuTLSNameTests(DNTestCase):
    """:func:`gnutls_dn`."""

    def test_order(self) -> None:
        """That of the certificate, not its reverse."""
        self.assertEqual(
            "C=GB,ST=London,L=London,O=Example,CN=client",
            self.dn(
                [(C, "GB")],
                [(NameOID.STATE_OR_PROVINCE_NAME, "London")],
                [(NameOID.LOCALITY_NAME, "London")],
                [(O, "Example")],
                [(CN, "client")],
            ),
        )

    def test_parts_that_belong_together(self) -> None:
        self.assertEqual("CN=a+O=b,C=GB", self.dn([(CN, "a"), (O, "b")], [(C, "GB")]))

    def test_escapes(self) -> None:
        for value, written in {
            "a,b": r"a\,b",
            "a+b": r"a\+b",
            'say "x"': r"say \"x\"",
            "a\\b": r"a\\b",
            "<a>;": r"\<a\>\;",
            "a=b/c": "a=b/c",
            "#1": r"\#1",
            "a#1": "a#1",
            " a": r"\ a",
            "a ": r"a\ ",
            "  ": r"\ \ ",
            " ": r"\ ",
            "a\n ": "a\n\\ ",
            "ünï 日本": "ünï 日本",
        }.items():
            self.assertEqual(f"CN={written}", self.dn([(CN, value)]), value)

    def test_zero_bytes(self) -> None:
        """They end no name early."""
        self.assertEqual("CN=#0c0b61646d696e002e6576696c", self.dn([(CN, "admin\0.evil")]))

    def test_short_names(self) -> None:
        for oid, name in {
            NameOID.EMAIL_ADDRESS: "EMAIL",
            NameOID.USER_ID: "UID",
            NameOID.DOMAIN_COMPONENT: "DC",
            NameOID.SERIAL_NUMBER: "serialNumber",
            NameOID.SURNAME: "surName",
            NameOID.STREET_ADDRESS: "street",
            NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
        }.items():
            self.assertEqual(f"{name}=x", self.dn([(oid, "x")]))

    def test_unknown_attributes(self) -> None:
        self.assertEqual("1.2.3.4=#0c0178", self.dn([(ObjectIdentifier("1.2.3.4"), "x")]))
        long = self.dn([(ObjectIdentifier("2.999.16384"), "x" * 300)])
        self.assertTrue(long.startswith("2.999.16384=#0c82012c7878"), long)

    def test_long_ones(self) -> None:
        self.assertEqual("CN=" + "x" * 5000, self.dn([(CN, "x" * 5000)]))

    def test_no_name(self) -> None:
        error = self.assertRaises(ValueError, self.dn)
        self.assertEqual("the subject is empty", str(error))
        error = self.assertRaises(ValueError, self.dn, [(C, "GB")], [(CN, "")])
        self.assertEqual("the subject has an empty CN", str(error))


class PatternTests(TestCase):
    """:func:`compile_patterns`."""

    def test_signs(self) -> None:
        name = r"C=GB,O=Ex\, [a]/b,CN=client"
        for pattern, matches in {
            "*": True,
            "*CN=client": True,
            "C=GB*": True,
            "C=GB,O=Ex*b,CN=client": True,
            "C=?B,*": True,
            r"C=GB,O=Ex\, [a]/b,CN=client": True,
            r"C=GB,O=Ex\\, [a]/b,CN=client": False,
            "C=GB": False,
            "CN=client": False,
            "c=gb*": False,
            "C=[G]B*": False,
            "*[a]*": True,
            "*[!x]*": False,
            "": False,
        }.items():
            self.assertIs(matches, compile_patterns([pattern])(name), pattern)

    def test_several(self) -> None:
        matches = compile_patterns(["CN=a", "CN=b?"])
        self.assertEqual([True, True, False], [matches(f"CN={name}") for name in ("a", "b2", "b")])

    def test_none(self) -> None:
        self.assertFalse(compile_patterns([])("CN=a"))

    def test_lines(self) -> None:
        """A line's end is a character like others, and ends no pattern early."""
        matches = compile_patterns(["CN=a*z"])
        self.assertTrue(matches("CN=a\nz"))
        self.assertFalse(matches("CN=az\n"))

    def test_many_stars(self) -> None:
        """A name made to keep a pattern busy does not."""
        self.assertFalse(compile_patterns(["*a" * 30 + "*b"])("a" * 20_000))


class PeerTests(DNTestCase):
    """:func:`peer_dn`."""

    def test_transports(self) -> None:
        shown: list[Any] = [None, crypto.X509.from_cryptography(self.certificate([(CN, "x")]))]
        transport: Any = SimpleNamespace(getHandle=object, getPeerCertificate=shown.pop)
        self.assertEqual("CN=x", peer_dn(transport))
        self.assertIsNone(peer_dn(transport))
        transport.getHandle = lambda: None  # a TLS connection that is over
        transport.getPeerCertificate = self.fail
        self.assertIsNone(peer_dn(transport))
        self.assertIsNone(peer_dn(SimpleNamespace(getHandle=object)))
        self.assertIsNone(peer_dn(None))
