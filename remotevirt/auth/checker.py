"""The users file behind ``twisted.cred``: a checker for SCRAM and PLAIN, a realm, and the portal of both."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThread
from zope.interface import Interface, implementer

from remotevirt.auth.interfaces import IPrincipal, IScramKeys, IScramProof, IUser, ScramKeys, User
from remotevirt.auth.scram import SCRAM, decoy_keys, fits
from remotevirt.auth.users import UsersFile

__all__ = ["PrincipalChecker", "UserRealm", "UsersChecker", "users_portal"]

PREFERENCE = ("SCRAM-SHA-256", *(mechanism.name for mechanism in SCRAM))
"""Which keys a password of PLAIN is checked against; SHA-256 is hashed fastest of the strong ones."""


@implementer(ICredentialsChecker, IScramKeys)
class UsersChecker:
    """Checks users of a file.

    Args:
        users: the file.
        in_thread: calls a function off the reactor's thread and returns a Deferred: hashing a password takes
            tens of milliseconds.
    """

    credentialInterfaces = (IScramProof, IUsernamePassword)

    def __init__(self, users: UsersFile, in_thread: Callable[..., Deferred[Any]] = deferToThread) -> None:
        self.users = users
        self._in_thread = in_thread

    def scram_keys(self, username: str, mechanism: str) -> ScramKeys | None:
        """Return the keys of a user."""
        return self.users.current().users.get(username, {}).get(mechanism)

    def scram_decoy(self, username: str, mechanism: str) -> ScramKeys:
        """Return keys of nobody."""
        secret = self.users.current().secret
        return decoy_keys(secret, username, mechanism, self.users.iterations(mechanism))

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Return the name of the user, as a Deferred."""
        if IScramProof.providedBy(credentials):
            return self._check_proof(credentials)
        return self._check_password(credentials)

    def _check_proof(self, proof: Any) -> Deferred[bytes]:
        """The proof is made; the keys must still be those of the user."""
        keys = self.scram_keys(proof.username, proof.keys.mechanism)
        if keys is None or not hmac.compare_digest(keys.stored_key, proof.keys.stored_key):
            return fail(UnauthorizedLogin("the password was changed meanwhile"))
        return succeed(proof.username.encode())

    def _check_password(self, credentials: Any) -> Deferred[bytes]:
        """Hash the password as for its user, or as for nobody."""
        username = credentials.username.decode()
        password = credentials.password.decode()
        known = self.users.current().users.get(username)
        if known is None:
            keys = self.scram_decoy(username, PREFERENCE[0])
        else:
            keys = next(known[name] for name in PREFERENCE if name in known)

        def checked(right: bool) -> bytes:
            if known is None:
                raise UnauthorizedLogin("unknown user")
            if not right:
                raise UnauthorizedLogin("wrong password")
            return credentials.username  # type: ignore[no-any-return]

        return self._in_thread(fits, password, keys).addCallback(checked)


@implementer(ICredentialsChecker)
class PrincipalChecker:
    """Lets in whoever Kerberos vouches for; ``sasl_allowed_username_list`` says who of them is wanted."""

    credentialInterfaces = (IPrincipal,)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Return the principal's name, as a Deferred."""
        return succeed(credentials.username.encode())


def _nothing() -> None:
    """What there is to do when a user leaves."""


@implementer(IRealm)
class UserRealm:
    """Gives users as they are named."""

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: type[Interface]) -> Any:
        """Return the user."""
        if IUser not in interfaces:
            raise NotImplementedError("this realm has users only")
        name = avatarId.decode() if isinstance(avatarId, bytes) else avatarId
        return IUser, User(name), _nothing


def users_portal(
    users: UsersFile | str | os.PathLike[str] | None, others: Iterable[Any] = (PrincipalChecker(),)
) -> Portal:
    """Return a portal over a users file.

    Args:
        users: the file, or its path; None: without one.
        others: further checkers.

    Raises:
        UsersError: the file cannot be used.
    """
    if users is not None and not isinstance(users, UsersFile):
        users = UsersFile(users)
    own = [] if users is None else [UsersChecker(users)]
    return Portal(UserRealm(), [*own, *others])
