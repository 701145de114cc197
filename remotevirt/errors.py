"""The errors of remotevirt, from one root.

Three families, told apart because their remedies differ:

* :class:`VirError`: a libvirt error, as a driver raises it and as it travels on the wire. One subclass for
  each of libvirt's codes is generated into :mod:`remotevirt.stubs.errors`; a code that this table does not
  know is kept in a plain :class:`VirError`.
* :class:`RemoteProtocolError`: the peer broke the protocol. :class:`LocalProtocolError`: we misused it.
* :class:`XDRError`: bytes that do not decode, or values that do not fit the contract.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final, Literal

__all__ = ["LocalProtocolError", "RemoteProtocolError", "RemotevirtError", "VirError", "XDRError"]

LEVEL_ERROR = 2
"""VIR_ERR_ERROR."""


class RemotevirtError(Exception):
    """The root of every error that remotevirt raises on purpose."""


class XDRError(RemotevirtError):
    """A value does not fit its XDR type: truncated, over its bound, not text, or out of range."""


class LocalProtocolError(RemotevirtError):
    """We asked the protocol core for something that its state does not allow: a bug on this side."""


class RemoteProtocolError(RemotevirtError):
    """The peer sent something that its state does not allow; the connection cannot go on."""


class _Derived(enum.Enum):
    """The default of a text that follows from the code and the detail; None is a text that is not there."""

    DERIVED = "derived"


_DERIVED: Final = _Derived.DERIVED


class VirError(RemotevirtError):
    """An error of libvirt's: raised by drivers, sent to clients, raised again in a client.

    ``VirError`` subclasses know their code and texts, so that a driver writes
    ``raise NoDomain("no domain with matching name 'x'")``. The texts follow libvirt's
    ``virReportError``: ``message`` is the code's format with the detail filled in, ``str1`` is that
    format, ``str2`` the detail, ``int1`` and ``int2`` are -1 unless the code gives them a meaning.

    Args:
        detail: what the code's format is filled with; None for the plain text of the code.
        code: a number of virErrorNumber, where the class does not imply it.
        domain: a number of virErrorDomain; the part of libvirt that complains.
        message: the whole text, where it is not made from the code's format.
        str1, str2, str3, int1, int2: the wire's extra fields, where they differ from the rule above.
        level: virErrorLevel; 2 is an error.
    """

    code: int = 1
    plain: ClassVar[str] = "unknown error"
    format: ClassVar[str] = "unknown error: %s"

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: int | None = None,
        domain: int = 0,
        message: str | None = None,
        str1: str | Literal[_Derived.DERIVED] | None = _DERIVED,
        str2: str | Literal[_Derived.DERIVED] | None = _DERIVED,
        str3: str | None = None,
        int1: int = -1,
        int2: int = -1,
        level: int = LEVEL_ERROR,
    ) -> None:
        if code is not None:
            self.code = code
        self.detail = detail
        self.domain = domain
        self.level = level
        text = self.plain if detail is None else self.format
        if message is None:
            message = text if detail is None else text.replace("%s", detail, 1)
        self.message = message
        self.str1 = text if str1 is _DERIVED else str1
        self.str2 = detail if str2 is _DERIVED else str2
        self.str3 = str3
        self.int1 = int1
        self.int2 = int2
        super().__init__(message)
