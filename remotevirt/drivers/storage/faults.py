"""The errors of storage, worded as libvirt words them."""

from __future__ import annotations

import os

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, OperationInvalid, VirSystemError

__all__ = ["internal", "invalid", "system", "unsupported"]


def system(text: str, error: OSError | int, domain: int = c.VIR_FROM_STORAGE) -> VirError:
    """Return the error for a system call that failed: the text, and what the system says."""
    number = error if isinstance(error, int) else error.errno or 0
    message = f"{text}: {os.strerror(number)}"
    return VirSystemError(message=message, domain=domain, str1="%s", str2=message, int1=number)


def invalid(text: str) -> VirError:
    """Return the error for a call that does not suit an object's state."""
    return OperationInvalid(text, domain=c.VIR_FROM_STORAGE)


def internal(text: str, domain: int = c.VIR_FROM_STORAGE) -> VirError:
    """Return an internal error, as libvirt calls much that is not."""
    return InternalError(text, domain=domain)


def unsupported(text: str) -> VirError:
    """Return the error for a document that asks for what cannot be had."""
    return ConfigUnsupported(text, domain=c.VIR_FROM_STORAGE)
