"""The one error of the contract compiler: a message and the place in the text that it is about."""

from __future__ import annotations

from remotevirt.rpcgen.model import Location

__all__ = ["RpcgenError"]


class RpcgenError(Exception):
    """A contract that cannot be read, or a use of the compiler that makes no sense.

    Attributes:
        message: what is wrong, in one line.
        location: file, line and column; None if the error is about no place in a text.
    """

    def __init__(self, message: str, location: Location | None = None) -> None:
        super().__init__(f"{location}: {message}" if location else message)
        self.message = message
        self.location = location
