"""SASL for the daemon: mechanisms, users, and the limit on guessing.

:class:`SaslService` is what the daemon has, :class:`SaslExchange` what a client's session has. Users come
from a ``twisted.cred`` portal; :func:`users_portal` makes one over a users file.
"""

from remotevirt.auth.checker import PrincipalChecker, UserRealm, UsersChecker, users_portal
from remotevirt.auth.interfaces import (
    AuthRefused,
    IPrincipal,
    IScramKeys,
    IScramProof,
    IUser,
    LayerError,
    ScramKeys,
    SecurityLayer,
    User,
)
from remotevirt.auth.kerberos import Kerberos
from remotevirt.auth.limiter import GuessLimiter
from remotevirt.auth.scram import decoy_keys, make_keys
from remotevirt.auth.service import (
    DEFAULT_MECHANISMS,
    MECHANISM_NAMES,
    TCP_MIN_SSF,
    SaslExchange,
    SaslService,
)
from remotevirt.auth.users import UsersError, UsersFile

__all__ = [
    "DEFAULT_MECHANISMS",
    "MECHANISM_NAMES",
    "TCP_MIN_SSF",
    "AuthRefused",
    "GuessLimiter",
    "IPrincipal",
    "IScramKeys",
    "IScramProof",
    "IUser",
    "Kerberos",
    "LayerError",
    "PrincipalChecker",
    "SaslExchange",
    "SaslService",
    "ScramKeys",
    "SecurityLayer",
    "User",
    "UserRealm",
    "UsersChecker",
    "UsersError",
    "UsersFile",
    "decoy_keys",
    "make_keys",
    "users_portal",
]
