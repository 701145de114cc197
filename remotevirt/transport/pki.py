"""Certificates for a TLS listener: found, read, checked, and made into an OpenSSL context.

The folder is laid out flat, as libvirt's ``pkipath`` is on the client's side::

    cacert.pem       the authorities that clients' certificates must come from (one or several)
    servercert.pem   our certificate, with intermediate ones after it if there are any
    serverkey.pem    its private key, without a passphrase
    cacrl.pem        optional: certificates that the authorities have withdrawn (one or several lists)

Everything that can be known when the daemon starts is said then, in one line that names the file: a mistake
in a certificate otherwise shows as a handshake that fails for every client, with a reason only one side sees.
The checks are those libvirt's daemon makes: in date, not itself an authority, issued by the authority in the
folder, and the key is the certificate's.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL, crypto

from remotevirt.errors import RemotevirtError

__all__ = ["Credentials", "PKIError"]

CA_FILE = "cacert.pem"
CERT_FILE = "servercert.pem"
KEY_FILE = "serverkey.pem"
CRL_FILE = "cacrl.pem"

CIPHERS = b":".join(
    [
        b"ECDHE+AESGCM",
        b"ECDHE+CHACHA20",
        b"!aNULL",
        b"!eNULL",
        b"!PSK",
    ]
)
"""Forward secrecy and authenticated encryption only. GnuTLS 3.x and OpenSSL clients all have these."""

SESSION_ID = b"remotevirt"
"""OpenSSL wants a name for a context that verifies its peers; sessions themselves are off."""

MAX_FILE = 4 << 20
"""Bytes read of any one file: a revocation list with tens of thousands of entries is 1-2 MiB."""

MAX_NAME = 200
"""Characters of a certificate's name that go into the log."""

VERIFY_ERRORS = {
    3: "there is no revocation list of its authority",
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    11: "the revocation list is not valid yet",
    12: "the revocation list has expired",
    18: "the certificate is signed by itself",
    19: "the certificate is of another authority",
    20: "the certificate is of another authority",
    23: "the certificate has been revoked",
    26: "the certificate is not meant for clients",
}
"""OpenSSL's verification errors (x509_vfy.h) that operators meet, in words of ours."""

Refused: TypeAlias = "Callable[[SSL.Connection, str], object]"

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\s*", re.DOTALL)


class PKIError(RemotevirtError, ValueError):
    """Certificates that cannot be served from; its text is one line that names the file."""


@attrs.frozen
class Credentials:
    """What a TLS listener needs, read and checked.

    Args:
        authorities: whose certificates clients must show.
        chain: our certificate, then intermediate ones.
        key: the private key of the first of `chain`.
        revoked: revocation lists; empty for none.
    """

    authorities: Sequence[x509.Certificate]
    chain: Sequence[x509.Certificate]
    key: PrivateKeyTypes = attrs.field(repr=False)
    revoked: Sequence[x509.CertificateRevocationList] = ()

    @classmethod
    def load(cls, folder: str | Path, *, now: datetime.datetime | None = None) -> Credentials:
        """Read a folder laid out flat; ``cacrl.pem`` may be absent.

        Raises:
            PKIError: a file is missing, unreadable or not what it should be, or they do not fit together.
        """
        base = Path(folder)
        if not base.is_dir():
            raise PKIError(f"{base}: no such folder of certificates")
        crl = base / CRL_FILE
        return cls.load_files(
            base / CA_FILE, base / CERT_FILE, base / KEY_FILE, crl if crl.exists() else None, now=now
        )

    @classmethod
    def load_files(
        cls,
        ca_file: Path,
        cert_file: Path,
        key_file: Path,
        crl_file: Path | None = None,
        *,
        now: datetime.datetime | None = None,
    ) -> Credentials:
        """Read the same from files named one by one (libvirtd.conf's ``ca_file``, ``cert_file``, ...).

        Args:
            now: the time to hold validity against; the clock's by default.

        Raises:
            PKIError: as for :meth:`load`.
        """
        now = now or datetime.datetime.now(datetime.UTC)
        authorities = _certificates(ca_file)
        chain = _certificates(cert_file)
        found = cls(
            authorities, chain, _private_key(key_file), _revocation_lists(crl_file) if crl_file else ()
        )
        _check_dates(cert_file, chain[0], now)
        _check_kind(cert_file, chain[0])
        _check_dates(ca_file, _authority(cert_file, chain, ca_file, authorities), now)
        for revoked in found.revoked:
            _check_list_dates(crl_file, revoked, now)
        if _public_bytes(found.key.public_key()) != _public_bytes(chain[0].public_key()):
            raise PKIError(f"{key_file}: is not the key of the certificate in {cert_file}")
        return found

    @property
    def host(self) -> str | None:
        """The first host name that our certificate is for; clients check that they used one of those."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return None
        return next((name for name in names.get_values_for_type(x509.DNSName) if "*" not in name), None)

    def context(self, refused: Refused) -> SSL.Context:
        """An OpenSSL context that demands and verifies a client's certificate.

        Args:
            refused: called with a connection and the reason, when a certificate was shown that will not do.

        TLS 1.2 exactly. Under TLS 1.3 OpenSSL sends session tickets right after the handshake, and libvirt's
        clients, who read the first record for the confirmation byte, take that for a failure ("Unable to read
        TLS confirmation"). pyOpenSSL cannot set the number of tickets to none, and turning tickets "off" only
        changes their kind. TLS 1.2 with the ciphers below lacks nothing that matters here.
        """
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(
            SSL.OP_NO_COMPRESSION
            | SSL.OP_NO_RENEGOTIATION
            | SSL.OP_NO_TICKET
            | SSL.OP_CIPHER_SERVER_PREFERENCE
        )
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(SESSION_ID)
        context.set_cipher_list(CIPHERS)
        context.use_certificate(self.chain[0])
        for intermediate in self.chain[1:]:
            context.add_extra_chain_cert(intermediate)
        context.use_privatekey(self.key)  # type: ignore[arg-type]
        self._trust(context, refused)
        return context

    def _trust(self, context: SSL.Context, refused: Refused) -> None:
        """Tell the context whose certificates to accept, and which of them not to."""
        store = context.get_cert_store()
        if store is None:  # pragma: no cover - OpenSSL gives every context a store
            raise PKIError("OpenSSL has no certificate store")
        for authority in self.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
            context.add_client_ca(authority)
        for revoked in self.revoked:
            store.add_crl(revoked)
        if self.revoked:
            store.set_flags(crypto.X509StoreFlags.CRL_CHECK)

        def verify(
            connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, accepted: int
        ) -> bool:
            """Leave OpenSSL's verdict as it is, but pass on the reason, which its exception lacks."""
            if not accepted:
                reason = VERIFY_ERRORS.get(error, f"OpenSSL's X509 error {error}")
                # What a stranger wrote into a certificate is shown escaped and cut short.
                name = ascii(certificate.to_cryptography().subject.rfc4514_string()[:MAX_NAME])
                refused(connection, f"{reason} ({name})")
            return bool(accepted)

        mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT | SSL.VERIFY_CLIENT_ONCE
        context.set_verify(mode, verify)


def _read(path: Path) -> bytes:
    """The bytes of a file, with an error a user can act on."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise PKIError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise PKIError(f"{path}: larger than {MAX_FILE} bytes")
    return data


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except PKIError:
        raise
    except ValueError:
        raise PKIError(f"{path}: holds no readable PEM certificate") from None


def _private_key(path: Path) -> PrivateKeyTypes:
    data = _read(path)
    try:
        return load_pem_private_key(data, password=None)
    except TypeError:
        raise PKIError(f"{path}: the key is locked with a passphrase, which a daemon cannot type") from None
    except ValueError:
        raise PKIError(f"{path}: holds no readable PEM private key") from None


def _revocation_lists(path: Path) -> list[x509.CertificateRevocationList]:
    blocks = _CRL.findall(_read(path))
    try:
        found = [x509.load_pem_x509_crl(block) for block in blocks]
    except ValueError:
        found = []
    if not found:
        raise PKIError(f"{path}: holds no readable PEM revocation list")
    return found


def _check_dates(path: Path, certificate: x509.Certificate, now: datetime.datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise PKIError(f"{path}: the certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        raise PKIError(
            f"{path}: the certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
        )


def _check_list_dates(
    path: Path | None, revoked: x509.CertificateRevocationList, now: datetime.datetime
) -> None:
    """OpenSSL refuses every client of an authority whose list is out of date."""
    until = revoked.next_update_utc
    if until is not None and now > until:
        raise PKIError(
            f"{path}: the revocation list expired on {until:%Y-%m-%d}; no client could be verified"
        )


def _check_kind(path: Path, certificate: x509.Certificate) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return
    if constraints.ca:
        raise PKIError(f"{path}: the certificate is an authority's, not a server's")


def _authority(
    cert_file: Path,
    chain: Sequence[x509.Certificate],
    ca_file: Path,
    authorities: Sequence[x509.Certificate],
) -> x509.Certificate:
    """The authority that our certificate leads to; clients of this folder trust no other."""
    certificate = chain[0]
    others = [*chain[1:], *authorities]
    for _ in range(len(others) + 1):
        issuer = next((other for other in others if _issued(certificate, other)), None)
        if issuer is None:
            break
        if issuer in authorities:
            return issuer
        certificate = issuer
    raise PKIError(f"{cert_file}: the certificate was not issued by the authority in {ca_file}")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _public_bytes(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]
