"""What the parts of SASL agree on: refusals, security layers, and the seams where other user stores plug in.

Users are found by ``twisted.cred``. A checker of Twisted's own, or anybody's, that takes
``IUsernamePassword`` serves PLAIN. SCRAM never sees a password, so its checker also has to hand out the keys
that the exchange is made with::

    IScramKeys.scram_keys(name, mechanism) ──> exchange ──> IScramProof ──> portal.login ──> IUser

and gets the last word on what was proved with them.
"""

from __future__ import annotations

from typing import Protocol

import attrs
from twisted.cred.credentials import ICredentials
from zope.interface import Attribute, Interface, implementer

from remotevirt.errors import RemoteProtocolError, RemotevirtError

__all__ = [
    "AuthRefused",
    "IPrincipal",
    "IScramKeys",
    "IScramProof",
    "IUser",
    "LayerError",
    "Principal",
    "ScramKeys",
    "ScramProof",
    "SecurityLayer",
    "User",
]


class AuthRefused(RemotevirtError):
    """A client could not show who it is.

    Attributes:
        reason: why, for the log and the audit trail, never for the client.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LayerError(RemoteProtocolError):
    """What a client sent does not come out of its security layer: the connection cannot go on."""


class SecurityLayer(Protocol):
    """Protects all that follows the authentication, in both directions.

    Attributes:
        ssf: its strength as SASL counts it, roughly the bits of the key.
    """

    ssf: int

    def wrap(self, data: bytes) -> bytes:
        """Protect what is to be sent; any size."""

    def unwrap(self, data: bytes) -> bytes:
        """Take what has arrived, cut anywhere; return what is complete of it.

        Raises:
            LayerError: it was damaged, or is not within the bounds that were agreed on.
        """


@attrs.frozen
class ScramKeys:
    """What a server keeps of a password for one mechanism (RFC 5802, section 3).

    Attributes:
        mechanism: ``"SCRAM-SHA-256"`` or its like.
        iterations: how often the password was hashed.
        salt: at least 12 bytes.
        stored_key, server_key: what checks the client's proof, and what makes the server's.
    """

    mechanism: str
    iterations: int
    salt: bytes = attrs.field(repr=False)
    stored_key: bytes = attrs.field(repr=False)
    server_key: bytes = attrs.field(repr=False)


class IScramKeys(Interface):
    """A checker, of credentials :class:`IScramProof`, that hands out keys."""

    def scram_keys(username: str, mechanism: str) -> ScramKeys | None:
        """Return the keys of a user, or a Deferred of them; None: no such user, or no such keys.

        Args:
            username: prepared with SASLprep.
            mechanism: which keys.
        """

    def scram_decoy(username: str, mechanism: str) -> ScramKeys:
        """Return keys that no password fits, for an exchange with a user that does not exist.

        A client must not be able to tell them from real ones: salt and iterations look like other users', and
        are the same each time that it asks. :func:`remotevirt.auth.scram.decoy_keys` makes such keys.
        """


class IScramProof(ICredentials):
    """A client has proved that it knows the password that these keys were made of."""

    username: str = Attribute("The user, prepared with SASLprep.")
    keys: ScramKeys = Attribute("The keys that :meth:`IScramKeys.scram_keys` gave.")


class IPrincipal(ICredentials):
    """A mechanism with an authority of its own (Kerberos) vouches for a name."""

    username: str = Attribute("The name, with its realm.")


class IUser(Interface):
    """What a portal's realm gives for who has logged in."""

    name: str = Attribute("What rights, the log and the audit trail call it.")


@implementer(IScramProof)
@attrs.frozen
class ScramProof:
    """See :class:`IScramProof`."""

    username: str
    keys: ScramKeys


@implementer(IPrincipal)
@attrs.frozen
class Principal:
    """See :class:`IPrincipal`."""

    username: str


@implementer(IUser)
@attrs.frozen
class User:
    """See :class:`IUser`."""

    name: str
