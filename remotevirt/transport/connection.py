"""One TLS connection, by Python's own ``ssl``, behind the methods that Twisted calls on pyOpenSSL's.

Why not pyOpenSSL itself: libvirt's client takes the first record after the handshake for the confirmation
that it is accepted, and OpenSSL, speaking TLS 1.3, sends session tickets there. How many is a setting of the
context that Python's ``ssl`` has (``num_tickets``) and pyOpenSSL has not. So this is an adapter: Twisted's
TLS layer, with its buffers, producers and closing rules, is used as it is; below it ``ssl.SSLObject`` turns
bytes into bytes. Twisted tells pyOpenSSL's exceptions apart, hence they are raised here.
"""

from __future__ import annotations

import ssl

from cryptography import x509
from OpenSSL import SSL, crypto

__all__ = ["MAX_HANDSHAKE_BYTES", "Connection"]

MAX_HANDSHAKE_BYTES = 64 << 10
"""Bytes that a client may send in its handshake: a hello of 2 KiB and a chain of a few certificates of 2 KiB.
OpenSSL's own bound lies above 200 KiB. One read from the socket may come on top."""

FIRST_BYTES = 16
"""How many of a client's first bytes are kept, to say what it was if it was none."""

NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
"""OpenSSL's reason for refusing a client that shows none (sslerr.h)."""

VERIFY_ERRORS = {
    3: "there is no revocation list of its authority",
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    11: "the revocation list is not valid yet",
    12: "the revocation list has expired",
    18: "the certificate is signed by itself",
    19: "the certificate is of another authority",
    20: "the certificate is of another authority",
    21: "the certificate is of another authority",
    23: "the certificate has been revoked",
    26: "the certificate is not meant for clients",
    66: "the certificate's key is too weak",
    68: "the certificate's signature is too weak",
}
"""OpenSSL's verification errors (x509_vfy.h) that operators meet, in words of ours."""


class Connection:
    """The server's end of a connection.

    Args:
        context: whom to trust, and who we are.

    Attributes:
        received: bytes from the client, as long as the handshake goes on.
        first: the first few of them.
        refusal: why OpenSSL refused the client; None if it has not.
    """

    __slots__ = (
        "__weakref__",
        "_decrypted",
        "_incoming",
        "_outgoing",
        "_tls",
        "_under_way",
        "first",
        "received",
        "refusal",
    )

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._under_way = True
        self._decrypted: list[bytes] = []
        self.received = 0
        self.first = b""
        self.refusal: str | None = None

    @property
    def version(self) -> str | None:
        """The version spoken, for instance ``TLSv1.3``; None before the end of the handshake."""
        return self._tls.version()

    @property
    def cipher(self) -> str | None:
        """OpenSSL's name of the cipher suite; None before the end of the handshake."""
        found = self._tls.cipher()
        return None if found is None else found[0]

    def set_accept_state(self) -> None:
        """Be the server's end: it is nothing else."""

    def set_app_data(self, data: object) -> None:
        """Twisted's own callbacks from OpenSSL would find it again; there are none here."""

    def do_handshake(self) -> None:
        """Go on with the handshake as far as the bytes at hand allow.

        A client that is refused for its certificate is told so, and is left to end the connection: it may be
        about to send the rest of its part, and one that met a closed connection there would be ended by a
        signal (SIGPIPE) before it reads why. The handshake's deadline and size hold for it, too.

        Raises:
            SSL.WantReadError: there must be more of them.
            SSL.Error: it has failed; :attr:`refusal` says why.
        """
        if self._under_way and self.received > MAX_HANDSHAKE_BYTES:
            self.refusal = f"its handshake is larger than {MAX_HANDSHAKE_BYTES} bytes"
            raise SSL.Error([("", "", self.refusal)])
        if self.refusal is not None:
            raise SSL.WantReadError()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            raise SSL.WantReadError() from None
        except ssl.SSLEOFError:
            raise SSL.SysCallError(-1, "Unexpected EOF") from None
        except ssl.SSLError as error:
            self.refusal = _explain(error)
            if isinstance(error, ssl.SSLCertVerificationError) or error.reason == NO_CERTIFICATE:
                raise SSL.WantReadError() from None
            raise SSL.Error([("", "", self.refusal)]) from None
        self._under_way = False

    def bio_write(self, data: bytes) -> int:
        """Take bytes that came from the client."""
        if self._under_way:
            self.received += len(data)
            if len(self.first) < FIRST_BYTES:
                self.first += data[: FIRST_BYTES - len(self.first)]
        return self._incoming.write(data)

    def bio_read(self, size: int) -> bytes:
        """Give bytes that shall go to the client.

        Raises:
            SSL.WantReadError: there are none.
        """
        data = self._outgoing.read(size)
        if not data:
            raise SSL.WantReadError()
        return data

    def bio_shutdown(self) -> None:
        """No more bytes will come from the client."""
        self._incoming.write_eof()

    def send(self, data: bytes) -> int:
        """Encrypt; returns how many bytes were taken."""
        try:
            return self._tls.write(data)
        except ssl.SSLError as error:
            raise _translated(error) from None

    def recv(self, size: int) -> bytes:
        """Decrypt what has come; at most `size` bytes of it, or what :meth:`shutdown` had to put aside.

        Raises:
            SSL.WantReadError: not enough has.
            SSL.ZeroReturnError: the client has said goodbye.
            SSL.Error: what has come is no TLS.
        """
        if self._decrypted:
            return self._decrypted.pop(0)
        try:
            data = self._tls.read(size)
        except ssl.SSLError as error:
            raise _translated(error) from None
        if not data:
            raise SSL.ZeroReturnError()
        return data

    def shutdown(self) -> bool:
        """Say goodbye; returns whether the client has, too.

        Python then goes on to look for the client's goodbye, and OpenSSL gives up for good if it finds data
        there instead. So what has come before is decrypted first; what comes later can be read as ever.
        """
        if not self._under_way:
            try:
                while data := self._tls.read(1 << 16):
                    self._decrypted.append(data)
            except ssl.SSLError:
                pass  # there is no more, for whatever reason; recv will meet it again
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise _translated(error) from None
        return True

    def get_peer_certificate(self) -> crypto.X509 | None:
        """The client's certificate, verified; None where none was asked for."""
        if self._under_way:
            return None
        der = self._tls.getpeercert(binary_form=True)
        return None if der is None else crypto.X509.from_cryptography(x509.load_der_x509_certificate(der))

    def get_alpn_proto_negotiated(self) -> bytes:
        """The protocol inside TLS that was agreed on: none, libvirt's needs no agreement."""
        return b""


def _translated(error: ssl.SSLError) -> SSL.Error:
    """The exception that Twisted knows for one of ``ssl``."""
    if isinstance(error, ssl.SSLWantReadError):
        return SSL.WantReadError()
    if isinstance(error, ssl.SSLZeroReturnError):
        return SSL.ZeroReturnError()
    if isinstance(error, ssl.SSLEOFError):
        return SSL.SysCallError(-1, "Unexpected EOF")
    return SSL.Error([("", "", _explain(error))])


def _explain(error: ssl.SSLError) -> str:
    """What went wrong, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        return VERIFY_ERRORS.get(code, f"its certificate is no good: {error.verify_message}")
    words = (error.reason or str(error)).replace("_", " ").lower()
    _, alert, what = words.partition(" alert ")
    return f"the client gave up: {what}" if alert else words
