"""Text from clients: decoded, bounded, and prepared so that one name has one form (SASLprep, RFC 4013)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from scramp import ScramException
from scramp.utils import saslprep

from remotevirt.auth.interfaces import AuthRefused

__all__ = ["NAME_MAXIMUM", "PASSWORD_MAXIMUM", "decode", "name_filter", "prepare_name", "prepare_password"]

NAME_MAXIMUM = 256
"""Characters in a user's name; Cyrus SASL's bound is 256 too. Names are kept by the guess limiter."""

PASSWORD_MAXIMUM = 1024
"""Characters in a password, so that preparing one costs little. libvirt has no limit but its message's."""


def decode(data: bytes, maximum: int) -> str:
    """Decode a message.

    Raises:
        AuthRefused: it is too long, or no UTF-8.
    """
    if len(data) > maximum:
        raise AuthRefused(f"a message of {len(data)} bytes, where {maximum} are the most")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthRefused("a message that is not UTF-8") from None


def prepare_name(text: str) -> str:
    """Prepare a user's name.

    Raises:
        AuthRefused: it is empty, too long, or holds characters that no name has.
    """
    return _prepare(text, "user name", NAME_MAXIMUM)


def prepare_password(text: str) -> str:
    """Prepare a password.

    Raises:
        AuthRefused: it is empty, too long, or holds characters that no password has.
    """
    return _prepare(text, "password", PASSWORD_MAXIMUM)


def _prepare(text: str, what: str, maximum: int) -> str:
    if len(text) > maximum:
        raise AuthRefused(f"a {what} of {len(text)} characters, where {maximum} are the most")
    try:
        prepared: str = saslprep(text)
    except ScramException as error:
        raise AuthRefused(f"a {what} that SASLprep forbids: {error.args[0]}") from None
    if not prepared:
        raise AuthRefused(f"an empty {what}")
    return prepared


def name_filter(patterns: Iterable[str] | None) -> Callable[[str], bool]:
    """Return what tells whether a name is in ``sasl_allowed_username_list``.

    The patterns are libvirt's, which are GLib's: ``*`` is any text, ``?`` any character, and nothing else is
    special. No pattern matches no name; None matches every name.
    """
    if patterns is None:
        return lambda name: True
    any_of = [
        re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
        for pattern in patterns
    ]
    return lambda name: any(pattern.fullmatch(name) for pattern in any_of)
