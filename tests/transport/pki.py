"""A certificate authority for tests, and the folders that daemons and clients read.

What trustme cannot make (revocation lists, certificates of the past, a server's own mistakes) is made with
``cryptography`` by the same authority.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    """The present, as certificates count it."""
    return datetime.datetime.now(datetime.UTC)


class Authority:
    """A certificate authority that can be asked for everything a test needs."""

    def __init__(self) -> None:
        self.ca = trustme.CA()
        self.pem = self.ca.cert_pem.bytes()
        self.certificate = x509.load_pem_x509_certificate(self.pem)
        self.key = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)

    def issue(self, name: str = "localhost", **kwargs: datetime.datetime) -> tuple[bytes, bytes]:
        """Issue a certificate; `not_before` and `not_after` may be given.

        Returns:
            The certificate and its key, as PEM.
        """
        leaf = self.ca.issue_cert(name, "127.0.0.1", common_name=name, **kwargs)
        return leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()

    def expired(self, name: str = "localhost") -> tuple[bytes, bytes]:
        """Issue a certificate whose time is over."""
        return self.issue(name, not_before=now() - 30 * DAY, not_after=now() - DAY)

    def sign(
        self,
        subject: x509.Name | str = "client",
        *extensions: tuple[x509.ExtensionType, bool],
        key: CertificateIssuerPrivateKeyTypes | None = None,
        digest: hashes.HashAlgorithm | None = None,
    ) -> tuple[bytes, bytes]:
        """Issue a certificate that has these extensions, critical or not, and no others.

        Args:
            subject: all of it, or the common name.
            extensions: each with whether it is critical.
            key: its own key; None for a new one.
            digest: what of it is signed; None for SHA-256.
        """
        if isinstance(subject, str):
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - DAY)
            .not_valid_after(now() + DAY)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        signed = builder.sign(self.key, digest or hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return signed.public_bytes(serialization.Encoding.PEM), private

    def with_purpose(
        self, purpose: x509.ObjectIdentifier, name: str = "client", *, critical: bool = True
    ) -> tuple[bytes, bytes]:
        """Issue a certificate that is meant for one thing only (an ExtendedKeyUsage)."""
        return self.sign(name, (x509.ExtendedKeyUsage([purpose]), critical))

    def revoke(self, *certificates: bytes, valid: datetime.timedelta = DAY) -> bytes:
        """Make a revocation list, as PEM, that is valid for a time from now on (or was, if negative)."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now() - 2 * DAY)
            .next_update(now() + valid)
        )
        for pem in certificates:
            serial = x509.load_pem_x509_certificate(pem).serial_number
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now() - DAY).build()
            )
        signed = builder.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def server_folder(
        self, path: Path, pair: tuple[bytes, bytes] | None = None, crl: bytes | None = None
    ) -> Path:
        """Write what ``libvirttls:`` reads into a new folder."""
        certificate, key = pair or self.issue()
        return write(path, cacert=self.pem, servercert=certificate, serverkey=key, cacrl=crl)

    def client_folder(self, path: Path, pair: tuple[bytes, bytes] | None = None) -> Path:
        """Write what virsh reads with ``?pkipath=`` into a new folder."""
        certificate, key = pair or self.issue("client")
        return write(path, cacert=self.pem, clientcert=certificate, clientkey=key)


def write(path: Path, **files: bytes | None) -> Path:
    """Write NAME.pem files into a new folder; None is left out."""
    path.mkdir(parents=True)
    for name, data in files.items():
        if data is not None:
            (path / f"{name}.pem").write_bytes(data)
    return path


def key_usage(*uses: str) -> x509.KeyUsage:
    """A KeyUsage of these uses only, by the names that ``cryptography`` has for them."""
    known = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    known += ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    assert set(uses) <= set(known), uses
    return x509.KeyUsage(**{use: use in uses for use in known})
