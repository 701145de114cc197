"""Folders of certificates: what is read, and the line a user gets for each file that is wrong."""

from __future__ import annotations

from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.trial.unittest import TestCase

from remotevirt.transport.pki import MAX_FILE, Credentials, PKIError
from tests.transport.pki import Authority


class CredentialsTests(TestCase):
    """Reading and checking what a listener needs."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.folder = Path(self.mktemp())

    def refused(self, file: str) -> str:
        """Loading fails with one line that names `file`; returns what follows the name."""
        error = self.assertRaises(PKIError, Credentials.load, self.folder)
        name, _, why = str(error).partition(": ")
        self.assertEqual(str(self.folder / file), name)
        self.assertNotIn("\n", why)
        return why

    def test_loads(self) -> None:
        certificate, key = self.authority.issue()
        self.authority.server_folder(self.folder, (certificate, key))
        found = Credentials.load(self.folder)
        self.assertEqual([self.authority.certificate], found.authorities)
        self.assertEqual([x509.load_pem_x509_certificate(certificate)], found.chain)
        self.assertEqual((), found.revoked)
        self.assertNotIn("PrivateKey", repr(found))

    def test_several_authorities(self) -> None:
        self.authority.server_folder(self.folder)
        (self.folder / "cacert.pem").write_bytes(trustme.CA().cert_pem.bytes() + self.authority.pem)
        self.assertEqual(2, len(Credentials.load(self.folder).authorities))

    def test_several_revocation_lists(self) -> None:
        self.authority.server_folder(self.folder, crl=self.authority.revoke() + self.authority.revoke())
        self.assertEqual(2, len(Credentials.load(self.folder).revoked))

    def test_read_again(self) -> None:
        """What was read remembers where; a revocation list may come and go in a folder, not by name."""
        self.authority.server_folder(self.folder)
        found = Credentials.load(self.folder)
        (self.folder / "cacrl.pem").write_bytes(self.authority.revoke())
        self.assertEqual(1, len(Credentials.read(found.files).revoked))
        named = Credentials.load_files(
            *(self.folder / f"{name}.pem" for name in ("cacert", "servercert", "serverkey", "cacrl"))
        )
        (self.folder / "cacrl.pem").unlink()
        self.assertEqual((), Credentials.read(found.files).revoked)
        error = self.assertRaises(PKIError, Credentials.read, named.files)
        self.assertEqual(f"{self.folder / 'cacrl.pem'}: No such file or directory", str(error))

    def test_no_folder(self) -> None:
        error = self.assertRaises(PKIError, Credentials.load, self.folder)
        self.assertEqual(f"{self.folder}: no such folder of certificates", str(error))

    def test_missing_files(self) -> None:
        for name in ("cacert", "servercert", "serverkey"):
            self.folder = Path(self.mktemp())
            self.authority.server_folder(self.folder)
            (self.folder / f"{name}.pem").unlink()
            self.assertEqual("No such file or directory", self.refused(f"{name}.pem"))

    def test_unreadable_key(self) -> None:
        self.authority.server_folder(self.folder)
        (self.folder / "serverkey.pem").unlink()
        (self.folder / "serverkey.pem").mkdir()
        self.assertEqual("Is a directory", self.refused("serverkey.pem"))

    def test_rubbish(self) -> None:
        kinds = {
            "cacert.pem": "certificate",
            "servercert.pem": "certificate",
            "serverkey.pem": "private key",
            "cacrl.pem": "revocation list",
        }
        for name, kind in kinds.items():
            for data in (b"", b"\x00\xff", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"):
                self.folder = Path(self.mktemp())
                self.authority.server_folder(self.folder)
                (self.folder / name).write_bytes(data)
                self.assertEqual(f"holds no readable PEM {kind}", self.refused(name))

    def test_too_large(self) -> None:
        self.authority.server_folder(self.folder, crl=b"x" * (MAX_FILE + 1))
        self.assertEqual(f"larger than {MAX_FILE} bytes", self.refused("cacrl.pem"))

    def test_key_of_another_certificate(self) -> None:
        certificate, _ = self.authority.issue()
        _, key = self.authority.issue()
        self.authority.server_folder(self.folder, (certificate, key))
        why = self.refused("serverkey.pem")
        self.assertEqual(f"is not the key of the certificate in {self.folder / 'servercert.pem'}", why)

    def test_locked_key(self) -> None:
        certificate, key = self.authority.issue()
        locked = load_pem_private_key(key, None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        self.authority.server_folder(self.folder, (certificate, locked))
        self.assertIn("locked with a passphrase", self.refused("serverkey.pem"))
