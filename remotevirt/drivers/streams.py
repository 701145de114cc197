"""A driver's end of a stream.

A procedure that opens a stream (``storage_vol_download``, ``domain_open_console``) is answered with a
:class:`~remotevirt.procedures.StreamResult`, which carries one of these. The server moves the bytes::

    download   server ── read(size) ──► driver      as fast as the client takes them, and no faster
    upload     server ── write(data) ─► driver      one at a time; the client waits while the driver does
"""

from __future__ import annotations

import attrs

from remotevirt.procedures import Result
from remotevirt.stubs.errors import OperationInvalid

__all__ = ["DriverStream", "Hole"]


@attrs.frozen
class Hole:
    """So many bytes that are all zero and are not stored, in a sparse stream.

    Attributes:
        length: bytes; more than 0.
    """

    length: int


class DriverStream:
    """The driver's end of one stream. Override what yours does.

    The server calls one method at a time, and waits for what it returns. Every stream ends with exactly one
    call of :meth:`finish` or :meth:`abort`; if a method raises, that is :meth:`abort`.
    """

    readable = False
    """Whether the client reads from it."""

    writable = False
    """Whether the client writes to it."""

    def read(self, size: int) -> Result[bytes | Hole]:
        """Return the next bytes for the client, at most ``size``; none (``b""``) at the end.

        A :class:`Hole` may be returned where the call asked for a sparse stream.
        """
        raise OperationInvalid("the stream is not for reading")

    def write(self, data: bytes) -> Result[None]:
        """Take bytes of the client's. While a Deferred has not fired, the client is held back."""
        raise OperationInvalid("the stream is not for writing")

    def write_hole(self, length: int) -> Result[None]:
        """Take a hole of the client's, which asked for a sparse stream: so many zeros, not stored."""
        raise OperationInvalid("the stream is not for writing holes")

    def finish(self) -> Result[None]:
        """Complete: the client has sent or read everything. What fails here, the client is told."""
        return None

    def abort(self) -> None:
        """Give up: the client aborted, or vanished, or something failed. May not raise."""
