"""SCRAM (RFC 5802, RFC 7677) on the server's side, and the keys that it is made with.

The messages are scramp's work, but for two things. It looks users up synchronously, so the first message is
read twice: once for the name in it, then, when the keys have come, for the exchange. And it knows no
authorization names: clients that ask their user for one send it before everything else, and prove at the end
that they did (``n,a=alice,n=alice,...``). Such a name has to be the user's own here; it is taken out of the
message, and put where scramp compares what the client proves.

Channel binding is not offered: a client that wants it ("p") is refused, one that thinks that we have none
("y") is right.

Somebody who does not exist goes through the same exchange, with keys that no password fits, and is refused
where a wrong password is.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from typing import Any

from scramp import ScramException, ScramMechanism
from twisted.cred.credentials import ICredentials
from twisted.internet.defer import maybeDeferred

from remotevirt.auth.interfaces import AuthRefused, IScramProof, ScramKeys, ScramProof
from remotevirt.auth.mechanism import Mechanism, Outcome, Talk
from remotevirt.auth.text import NAME_MAXIMUM, decode, prepare_name

__all__ = ["ITERATIONS", "SCRAM", "decoy_keys", "fits", "make_keys"]

ITERATIONS = 65536
"""How often new passwords are hashed. RFC 7677 wants at least 4096; a stolen file resists guessing in
proportion. More than 65536 is refused by clients on Cyrus SASL, libvirt's among them. The client pays for it
with SCRAM (20 ms for SHA-256 with OpenSSL), the daemon only with PLAIN, in a thread."""

ITERATIONS_MINIMUM = 4096
"""RFC 5802's least, and scramp's: keys with fewer are not taken."""

SALT_SIZE = 16
"""Bytes of salt, for users that exist and others."""

MESSAGE_MAXIMUM = 2048
"""Bytes of a client's message: a name of 256 characters, a nonce, and room. Reading a name takes some
microseconds a character, of which nobody shall have many. Cyrus SASL's bound is the same."""


def make_keys(
    mechanism: str, password: str, iterations: int = ITERATIONS, salt: bytes | None = None
) -> ScramKeys:
    """Make the keys of a password, which takes as long as it takes.

    Args:
        mechanism: for which mechanism.
        password: prepared with SASLprep.
        iterations: how often to hash.
        salt: at least 12 bytes; None: a new one.
    """
    made = ScramMechanism(mechanism).make_auth_info(password, iterations, salt or os.urandom(SALT_SIZE))
    salt, stored_key, server_key, iterations = made
    return ScramKeys(mechanism, iterations, salt, stored_key, server_key)


def fits(password: str, keys: ScramKeys) -> bool:
    """Tell whether a password is the one that keys were made of; takes as long as making them."""
    made = make_keys(keys.mechanism, password, keys.iterations, keys.salt)
    return hmac.compare_digest(made.stored_key, keys.stored_key)


def decoy_keys(secret: bytes, username: str, mechanism: str, iterations: int = ITERATIONS) -> ScramKeys:
    """Make keys that no password fits, always the same ones.

    Args:
        secret: what nobody else knows.
        username, mechanism: whose keys they look like.
        iterations: as many as others' keys have.
    """

    def derive(what: str) -> bytes:
        return hmac.digest(secret, f"{what}\0{mechanism}\0{username}".encode(), hashlib.sha512)

    size = ScramMechanism(mechanism).hf().digest_size
    return ScramKeys(
        mechanism, iterations, derive("salt")[:SALT_SIZE], derive("stored")[:size], derive("server")[:size]
    )


def _server(mechanism: str, keys: ScramKeys) -> Any:
    """Return scramp's server for one exchange, with a nonce of its own."""
    info = (keys.salt, keys.stored_key, keys.server_key, keys.iterations)
    return ScramMechanism(mechanism).make_server(lambda _: info)


class _Header:
    """What stands before a client's first message, with an authorization name, for scramp to compare."""

    def __init__(self, text: str) -> None:
        self._text = text

    def make_cbind_input(self, _: object) -> bytes:
        """Return what the client has to repeat in its last message."""
        return self._text.encode()


def _act_as(first: str) -> tuple[str, str | None, _Header | None]:
    """Take the authorization name out of a client's first message.

    Returns:
        The message without it, the name prepared with SASLprep, and the header with it; None: there was none.
    """
    flag, *rest = first.split(",", 2)
    if len(rest) < 2 or not rest[0]:
        return first, None, None
    if not re.fullmatch("a=([^=\0]|=2C|=3D)+", rest[0]):
        raise AuthRefused("SCRAM: an authorization name that is none")
    name = rest[0].removeprefix("a=").replace("=2C", ",").replace("=3D", "=")
    return f"{flag},,{rest[1]}", prepare_name(name), _Header(f"{flag},{rest[0]},")


def _name_in(mechanism: str, first: str) -> str:
    """Return the name in a client's first message, prepared with SASLprep."""
    names = []

    def note(name: str) -> tuple[bytes, bytes, bytes, int]:
        names.append(name)
        return b"\0" * SALT_SIZE, b"", b"", ITERATIONS_MINIMUM

    ScramMechanism(mechanism).make_server(note).set_client_first(first)
    (name,) = names
    if len(name) > NAME_MAXIMUM:
        raise AuthRefused(f"a user name of {len(name)} characters, where {NAME_MAXIMUM} are the most")
    return name


def _mechanism(name: str) -> Mechanism:
    async def run(talk: Talk) -> Outcome:
        try:
            return await exchange(talk)
        except ScramException as error:
            raise AuthRefused(f"{name}: {error}") from None

    async def exchange(talk: Talk) -> Outcome:
        first, act_as, header = _act_as(decode(await talk.first(), MESSAGE_MAXIMUM))
        username = _name_in(name, first)
        if act_as is not None and act_as != username:
            raise AuthRefused(f"{name}: user {username!r} asks to act as {act_as!r}")
        source = talk.scram_keys()
        decoy = source.scram_decoy(username, name)
        found: ScramKeys | None = await maybeDeferred(source.scram_keys, username, name)
        keys = decoy if found is None else found
        server = _server(name, keys)
        server.set_client_first(first)
        if header is not None:
            server.gs2_header = header
        final = decode(await talk.ask(server.get_server_first().encode()), MESSAGE_MAXIMUM)

        def prove() -> ICredentials:
            reason = None
            try:
                server.set_client_final(final)
            except ScramException as error:
                reason = str(error)
            if found is None:
                reason = "no such user, or no keys for this mechanism"
            if reason is not None:
                raise AuthRefused(f"{name}: user {username!r}: {reason}")
            return ScramProof(username, keys)

        user = await talk.login(username, prove)
        return Outcome(user, server.get_server_final().encode())

    return Mechanism(name, IScramProof, run)


SCRAM = tuple(_mechanism(name) for name in ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"))
"""The SCRAM mechanisms, strongest first."""
