"""GnuTLS as the judge: of names, which are those that libvirtd would use, and of priority strings."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import warnings
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type as Kind
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt.transport.dn import ATTRIBUTES, gnutls_dn
from remotevirt.transport.priority import ALREADY, KEYWORDS, PROFILES, Policy
from tests.interop.peers import require, run
from tests.transport.pki import Authority

KINDS = [
    Kind.UTF8String,
    Kind.PrintableString,
    Kind.IA5String,
    Kind.T61String,
    Kind.BMPString,
    Kind.UniversalString,
    Kind.NumericString,
    Kind.VisibleString,
]

values = st.text(st.sampled_from('ab1 ,+"\\<>;=#/\0\n\x7f\x1b') | st.characters(codec="utf-8"), max_size=20)
plain = st.text(st.sampled_from("abc12 ,#"), max_size=6)
attributes = st.tuples(
    st.sampled_from([*ATTRIBUTES, "1.2.3.4", "2.999.16384", "2.5.4.16", "2.5.4.97"]),
    values | plain,
    st.sampled_from(KINDS),
)
names = st.lists(
    st.lists(attributes, min_size=1, max_size=3, unique_by=lambda attribute: attribute[0]), max_size=4
)


class Datum(ctypes.Structure):
    """GnuTLS's bytes with a length."""

    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_uint)]


class GnuTLS:
    """The few functions of libgnutls that libvirt finds a client's name with."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL(ctypes.util.find_library("gnutls"))

    def dn(self, der: bytes) -> bytes | None:
        """The name in a certificate; None where GnuTLS has none for it."""
        certificate = ctypes.c_void_p()
        self.lib.gnutls_x509_crt_init(ctypes.byref(certificate))
        try:
            datum = Datum(der, len(der))
            if self.lib.gnutls_x509_crt_import(certificate, ctypes.byref(datum), 0) < 0:
                return None
            size = ctypes.c_size_t(1 << 16)
            buffer = ctypes.create_string_buffer(size.value)
            if self.lib.gnutls_x509_crt_get_dn(certificate, buffer, ctypes.byref(size)) < 0:
                return None
            return buffer.raw[: size.value]
        finally:
            self.lib.gnutls_x509_crt_deinit(certificate)


class NameTests(TestCase):
    """:func:`remotevirt.transport.dn.gnutls_dn`, beside GnuTLS."""

    def setUp(self) -> None:
        require("libgnutls")
        self.authority = Authority()

    def certificate(self, name: Any) -> x509.Certificate:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that are longer than they should be
            subject = x509.Name(
                [
                    x509.RelativeDistinguishedName(
                        [
                            x509.NameAttribute(ObjectIdentifier(oid), value, kind, _validate=False)
                            for oid, value, kind in rdn
                        ]
                    )
                    for rdn in name
                ]
            )
            return x509.load_pem_x509_certificate(self.authority.sign(subject)[0])

    def test_any_name(self) -> None:
        gnutls = GnuTLS()
        compared = 0

        @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
        @given(names)
        def compare(name: Any) -> None:
            nonlocal compared
            try:
                certificate = self.certificate(name)
                ours: bytes | None = gnutls_dn(certificate).encode()
            except ValueError as error:
                if "subject" not in str(error):
                    return  # there is no such certificate: the text is none of its kind
                ours = None
            compared += 1
            self.assertEqual(gnutls.dn(certificate.public_bytes(Encoding.DER)), ours)

        compare()
        self.assertGreater(compared, 100)

    def test_libvirts_own_tool(self) -> None:
        """What the manual tells operators to copy into the list of allowed names."""
        require("virt-pki-query-dn")
        name = [
            [(NameOID.COUNTRY_NAME.dotted_string, "GB", Kind.PrintableString)],
            [(NameOID.ORGANIZATION_NAME.dotted_string, "Ex, ample", Kind.UTF8String)],
            [(NameOID.EMAIL_ADDRESS.dotted_string, "a@example.org", Kind.IA5String)],
            [(NameOID.COMMON_NAME.dotted_string, "clïent #1", Kind.UTF8String)],
        ]
        certificate = self.certificate(name)
        path = Path(self.mktemp())
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.assertEqual(gnutls_dn(certificate), run(["virt-pki-query-dn", str(path)]).out.removesuffix("\n"))

    def test_certtool(self) -> None:
        """It prints the parts the other way round."""
        require("certtool")
        certificate = self.certificate(
            [
                [(NameOID.COUNTRY_NAME.dotted_string, "GB", Kind.PrintableString)],
                [(NameOID.COMMON_NAME.dotted_string, 'a"b+c', Kind.UTF8String)],
            ]
        )
        self.assertEqual(r"C=GB,CN=a\"b\+c", gnutls_dn(certificate))
        shown = run(["certtool", "-i"], stdin=certificate.public_bytes(Encoding.PEM).decode())
        self.assertIn('\tSubject: CN=a\\"b\\+c,C=GB\n', shown.out)


class PriorityTests(TestCase):
    """:class:`remotevirt.transport.priority.Policy`, beside what GnuTLS makes of the same string."""

    def theirs(self, text: str) -> tuple[set[str], set[str]]:
        """The versions and cipher suites that GnuTLS would speak."""
        shown = run(["gnutls-cli", "--list", "--priority", text]).out
        self.assertNotIn("Syntax error", shown, text)
        suites = set(re.findall(r"^TLS_\w+", shown, re.MULTILINE))
        versions = re.findall(r"^Protocols: (.*)$", shown, re.MULTILINE)
        return set(versions[0].split(", ")), suites

    def test_never_laxer(self) -> None:
        """Every word that is taken is one of GnuTLS's, and nothing is spoken that GnuTLS would not."""
        require("gnutls-cli")
        for text in [
            *KEYWORDS,
            ":".join(["NORMAL", *sorted(ALREADY)]),
            ":".join(["NORMAL", *(f"%PROFILE_{name}" for name in PROFILES)]),
            "NORMAL:-VERS-TLS1.3",
            # Without -ALL GnuTLS would fall back to TLS 1.1 here, which there is none of.
            "NORMAL:!VERS-ALL:+VERS-TLS1.3",
            "SECURE256:-VERS-ALL:+VERS-TLS1.2",
            "NORMAL:-VERS-TLS1.3:-AES-128-GCM:-ECDHE-RSA",
            "NORMAL:-VERS-TLS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+CHACHA20-POLY1305",
            "NORMAL:-VERS-TLS1.3:-KX-ALL:+ECDHE-ECDSA:-MAC-ALL:+AEAD",
            "NONE:+VERS-TLS1.2:+AES-256-GCM:+ECDHE-RSA:+AEAD:+SIGN-ALL:+GROUP-ALL:+COMP-NULL",
            "NORMAL:-RSA:-DHE-RSA:-3DES-CBC:-AES-128-CBC:-AES-256-CCM-8:-SHA1:-SIGN-RSA-SHA1:-VERS-DTLS-ALL",
        ]:
            versions, suites = self.theirs(text)
            policy = Policy.parse(text)
            ours = {f"VERS-{version.name.replace('v', '').replace('_', '.')}" for version in policy.versions}
            self.assertEqual(set(), ours - versions, text)
            if policy.level == 2 and "VERS-TLS1.2" in ours:
                names = {
                    f"TLS_{suite.replace('AES', 'AES-')}".replace("-", "_")
                    for suite in policy.ciphers.split(":")
                }
                self.assertEqual(set(), names - suites, text)
