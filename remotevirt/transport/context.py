"""From certificates to what OpenSSL works with, and which of that is in force.

A context holds keys, trust and rules; every connection is made from the one in force, and keeps it. Replacing
it therefore changes what new clients meet and nothing for those who are there.

Python's ``ssl`` reads keys and revocation lists from files only. They are given it as files in memory, made
of what was read and checked before: what is served is what was checked, and a context can be made again at
any time. That is needed because OpenSSL remembers each session of TLS 1.2 for two hours, which Python cannot
turn off: after :data:`MAX_SESSIONS` of them the context is replaced by one that is like it, and the memory
goes with its last connection.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from remotevirt.transport.connection import Connection
from remotevirt.transport.pki import Credentials, PKIError
from remotevirt.transport.settings import TLSSettings

__all__ = ["MAX_SESSIONS", "Connections", "make_context"]

MAX_SESSIONS = 64
"""Sessions of TLS 1.2 that one context remembers; each takes up to 50 KB, as it holds a certificate.
OpenSSL's own bound is 20,480."""

log = Logger()


def make_context(credentials: Credentials, settings: TLSSettings) -> ssl.SSLContext:
    """A context that treats clients as `settings` says.

    Raises:
        PKIError: OpenSSL finds the certificates too weak, or does not take them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    policy = settings.policy
    context.minimum_version = policy.versions[0]
    context.maximum_version = policy.versions[-1]
    # Nothing may come between the handshake and the byte that says "accepted".
    context.num_tickets = 0
    context.options |= (
        ssl.OP_NO_COMPRESSION
        | ssl.OP_NO_RENEGOTIATION
        | ssl.OP_NO_TICKET
        | ssl.OP_CIPHER_SERVER_PREFERENCE
        | ssl.OP_SINGLE_ECDH_USE
    )
    # Python has a connection that is cut look like one that was closed; the log shall know better.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_ciphers(f"@SECLEVEL={policy.level}:{policy.ciphers}")
    files = credentials.files
    key = credentials.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with _as_file(_pem(credentials.chain) + key) as path:
            context.load_cert_chain(path)
    except ssl.SSLError as error:
        why = (error.reason or str(error)).replace("_", " ").lower()
        raise PKIError(f"{files.cert}: OpenSSL does not take the certificate: {why}") from None
    if settings.no_verify:
        context.verify_mode = ssl.CERT_NONE
        return context
    context.verify_mode = ssl.CERT_REQUIRED
    # As for GnuTLS, each authority of the file is trusted, not only those that signed themselves.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if credentials.revoked:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    with _as_file(_pem(credentials.authorities) + _pem(credentials.revoked)) as path:
        context.load_verify_locations(path)
    return context


@implementer(IOpenSSLServerConnectionCreator)
class Connections:
    """Makes connections from the context in force.

    Args:
        credentials: ours, and whom we trust.
        settings: how clients are treated.

    Raises:
        PKIError: as of :func:`make_context`.
    """

    def __init__(self, credentials: Credentials, settings: TLSSettings) -> None:
        self.credentials = credentials
        self.settings = settings
        self.context = make_context(credentials, settings)

    def replace(self, credentials: Credentials, settings: TLSSettings) -> None:
        """Have new connections use others; what is in force stays so if they are no good.

        Raises:
            PKIError: as of :func:`make_context`.
        """
        self.context = make_context(credentials, settings)
        self.credentials = credentials
        self.settings = settings

    def serverConnectionForTLS(  # type: ignore[override] # Twisted names pyOpenSSL's, and needs its methods
        self, tlsProtocol: TLSMemoryBIOProtocol
    ) -> Connection:
        """A connection for one client; Twisted feeds it bytes."""
        if self.context.session_stats()["number"] >= MAX_SESSIONS:
            try:
                self.context = make_context(self.credentials, self.settings)
            except OSError as error:  # no descriptor left for the files in memory, or no /proc
                log.warn("TLS sessions cannot be forgotten yet: {error}", error=str(error))
        return Connection(self.context)


def _pem(things: Sequence[x509.Certificate] | Sequence[x509.CertificateRevocationList]) -> bytes:
    return b"".join(thing.public_bytes(Encoding.PEM) for thing in things)


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path that leads to `data`, in memory and for this process only."""
    handle = os.memfd_create("remotevirt-pki", os.MFD_CLOEXEC)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
