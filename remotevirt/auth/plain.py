"""PLAIN (RFC 4616): the client sends its name and password. Only for transports that nobody can listen to."""

from __future__ import annotations

from twisted.cred.credentials import IUsernamePassword, UsernamePassword

from remotevirt.auth.interfaces import AuthRefused
from remotevirt.auth.mechanism import Mechanism, Outcome, Talk
from remotevirt.auth.text import NAME_MAXIMUM, PASSWORD_MAXIMUM, decode, prepare_name, prepare_password

__all__ = ["PLAIN"]

MESSAGE_MAXIMUM = 4 * (2 * NAME_MAXIMUM + PASSWORD_MAXIMUM) + 2
"""Bytes of a message: the longest names and password, in characters of four bytes, and what parts them."""


async def _run(talk: Talk) -> Outcome:
    """One message: whom to act as, NUL, who it is, NUL, the password."""
    parts = decode(await talk.first(), MESSAGE_MAXIMUM).split("\0")
    if len(parts) != 3:
        raise AuthRefused(f"PLAIN: {len(parts)} parts in a message of three")
    username = prepare_name(parts[1])
    password = prepare_password(parts[2])
    if parts[0] and (act_as := prepare_name(parts[0])) != username:
        raise AuthRefused(f"PLAIN: user {username!r} asks to act as {act_as!r}")
    credentials = UsernamePassword(username.encode(), password.encode())
    return Outcome(await talk.login(username, lambda: credentials))


PLAIN = Mechanism("PLAIN", IUsernamePassword, _run, password=True)
