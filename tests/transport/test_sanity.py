"""Certificates that a listener cannot serve with, and the line a user gets for each."""

from __future__ import annotations

import datetime
from pathlib import Path

import trustme
from cryptography.x509 import BasicConstraints, ExtendedKeyUsage, UnrecognizedExtension
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from remotevirt.transport.pki import Credentials, PKIError
from remotevirt.transport.sanity import check_sanity
from tests.transport.pki import DAY, Authority, key_usage, now, write

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


class SanityTests(TestCase):
    """:func:`check_sanity`."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.warnings: list[str] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event: LogEvent) -> None:
        if event.get("log_namespace") == check_sanity.__module__:
            self.warnings.append(formatEvent(event))

    def folder(self, pair: tuple[bytes, bytes] | None = None, crl: bytes | None = None) -> Path:
        self.path = self.authority.server_folder(Path(self.mktemp()), pair, crl)
        return self.path

    def refused(self, file: str, at: datetime.datetime | None = None) -> str:
        """What was put into the folder fails with one line that names `file`; returns what follows it."""
        credentials = Credentials.load(self.path)
        error = self.assertRaises(PKIError, check_sanity, credentials, now=at)
        name, _, why = str(error).partition(": ")
        self.assertEqual(str(self.path / file), name)
        self.assertNotIn("\n", why)
        return why

    def test_good_ones(self) -> None:
        usage = key_usage("digital_signature", "key_encipherment")
        for pair in (
            self.authority.issue(),
            self.authority.sign("localhost"),
            self.authority.sign("localhost", (BasicConstraints(False, None), True), (usage, True)),
            self.authority.with_purpose(SERVER, "localhost"),
            self.authority.with_purpose(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, "localhost"),
        ):
            check_sanity(Credentials.load(self.folder(pair, self.authority.revoke())))
        self.assertEqual([], self.warnings)

    def test_dates(self) -> None:
        self.folder(self.authority.expired())
        self.assertIn("the certificate expired on 20", self.refused("servercert.pem"))
        self.folder(self.authority.issue(not_before=now() + DAY))
        self.assertIn("the certificate is not valid before 20", self.refused("servercert.pem"))

    def test_authoritys_own_dates(self) -> None:
        until = self.authority.certificate.not_valid_after_utc
        self.folder(self.authority.issue(not_after=until + 9 * DAY))
        why = self.refused("cacert.pem", until + DAY)
        self.assertRegex(why, "^the certificate of '.*' expired on ....-..-..$")

    def test_authority_as_server(self) -> None:
        self.path = write(
            Path(self.mktemp()),
            cacert=self.authority.pem,
            servercert=self.authority.pem,
            serverkey=self.authority.ca.private_key_pem.bytes(),
        )
        self.assertEqual("the certificate is an authority's, not a server's", self.refused("servercert.pem"))

    def test_server_as_authority(self) -> None:
        other, _ = self.authority.issue()
        self.folder()
        (self.path / "cacert.pem").write_bytes(self.authority.pem + other)
        self.assertIn("is not an authority's (basic constraints)", self.refused("cacert.pem"))

    def test_authority_that_may_not_sign(self) -> None:
        pair = self.authority.sign("x", (BasicConstraints(True, None), True), (key_usage("crl_sign"), True))
        self.folder()
        (self.path / "cacert.pem").write_bytes(self.authority.pem + pair[0])
        self.assertEqual(
            "the key usage of the certificate of 'CN=x' does not permit signing certificates",
            self.refused("cacert.pem"),
        )

    def test_foreign_certificate(self) -> None:
        self.folder(Authority().issue())
        self.assertEqual(
            f"the certificate was not issued by the authority in {self.path / 'cacert.pem'}",
            self.refused("servercert.pem"),
        )

    def test_intermediate_authority(self) -> None:
        """A chain is followed to the authority; without the link in between it leads nowhere."""
        leaf = self.authority.ca.create_child_ca().issue_cert("localhost")
        key = leaf.private_key_pem.bytes()
        chain = [blob.bytes() for blob in leaf.cert_chain_pems]
        found = Credentials.load(self.folder((b"".join(chain), key)))
        self.assertEqual(2, len(found.chain))
        check_sanity(found)
        self.folder((chain[0], key))
        self.assertIn("was not issued by", self.refused("servercert.pem"))

    def test_authorities_that_signed_each_other(self) -> None:
        """A circle of certificates ends."""
        between = trustme.CA()
        self.folder((between.issue_cert("a").cert_chain_pems[0].bytes() + between.cert_pem.bytes(), b""))
        leaf = between.issue_cert("a")
        self.folder(
            (leaf.cert_chain_pems[0].bytes() + between.cert_pem.bytes(), leaf.private_key_pem.bytes())
        )
        self.assertIn("was not issued by", self.refused("servercert.pem"))

    def test_key_usage(self) -> None:
        self.folder(self.authority.sign("localhost", (key_usage("key_encipherment"), True)))
        self.assertEqual(
            "the certificate's key usage does not permit digital signatures", self.refused("servercert.pem")
        )

    def test_purpose(self) -> None:
        self.folder(self.authority.with_purpose(CLIENT, "localhost"))
        self.assertEqual(
            "the certificate's purpose is not that of a TLS server", self.refused("servercert.pem")
        )

    def test_advice(self) -> None:
        """What is not marked critical is said and let pass, as by libvirtd."""
        for extension, critical, text in [
            (key_usage("key_encipherment"), False, "does not permit digital signatures"),
            (key_usage("digital_signature"), True, "does not permit key encipherment; old clients refuse it"),
            (ExtendedKeyUsage([CLIENT]), False, "purpose is not that of a TLS server"),
        ]:
            self.warnings.clear()
            check_sanity(Credentials.load(self.folder(self.authority.sign("x", (extension, critical)))))
            self.assertEqual(1, len(self.warnings), text)
            self.assertIn(f"{self.path / 'servercert.pem'}: ", self.warnings[0])
            self.assertIn(text, self.warnings[0])

    def test_revocation_list_out_of_date(self) -> None:
        self.folder(crl=self.authority.revoke(valid=-DAY))
        self.assertIn("the revocation list expired on", self.refused("cacrl.pem"))

    def test_authority_without_a_revocation_list(self) -> None:
        other = trustme.CA()
        self.folder(crl=self.authority.revoke())
        (self.path / "cacert.pem").write_bytes(self.authority.pem + other.cert_pem.bytes())
        check_sanity(Credentials.load(self.path))
        self.assertEqual(1, len(self.warnings))
        self.assertIn(f"{self.path / 'cacrl.pem'}: no revocation list of ", self.warnings[0])

    def test_certificate_that_does_not_decode(self) -> None:
        bad = UnrecognizedExtension(ExtensionOID.KEY_USAGE, b"\xff")
        credentials = Credentials.load(self.folder(self.authority.sign("localhost", (bad, True))))
        error = self.assertRaises(PKIError, check_sanity, credentials)
        files = credentials.files
        self.assertTrue(
            str(error).startswith(f"{files.cert}, {files.ca}: a certificate does not decode: "), str(error)
        )
