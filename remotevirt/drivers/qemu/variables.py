"""The variables of a guest's UEFI firmware: a file of its own, made from a template that the firmware has.

It is made when the guest starts and has none, or shall forget what it has. It stays when the guest ends, and
goes when the domain is undefined with ``--nvram``.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import BinaryIO, Final

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.qemu.access import check_allowed
from remotevirt.drivers.qemu.complete.additions import nvram_path
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationDenied, OperationFailed, VirSystemError
from remotevirt.xml.domain import DomainModel

__all__ = ["make_variables", "remove_variables", "variables_path"]

TEMPLATES: Final = {
    "/usr/share/OVMF/OVMF_CODE.fd": "/usr/share/OVMF/OVMF_VARS.fd",
    "/usr/share/OVMF/OVMF_CODE.secboot.fd": "/usr/share/OVMF/OVMF_VARS.fd",
    "/usr/share/OVMF/OVMF_CODE.ms.fd": "/usr/share/OVMF/OVMF_VARS.ms.fd",
    "/usr/share/AAVMF/AAVMF_CODE.fd": "/usr/share/AAVMF/AAVMF_VARS.fd",
}
"""What belongs to firmware that definitions name and no descriptor describes; libvirt knows these, too."""

MAX_BYTES: Final = 128 << 20
"""Bytes of variables: ARM's flash has 64 MiB, a PC's less than one."""

STEP: Final = 64 << 10
"""Bytes that are copied at once; those that are all zero become a hole."""


def variables_path(definition: Definition, settings: Settings) -> str | None:
    """Return where a domain's variables are or will be; None if it has none."""
    boot = definition.model.os
    if boot.nvram is not None and boot.nvram.path is not None:
        return boot.nvram.path
    # the firmware is not chosen before the guest starts
    return nvram_path(str(settings.nvram), definition.model.name) if boot.firmware == "efi" else None


def make_variables(model: DomainModel, settings: Settings, *, anew: bool = False) -> None:
    """Make a guest's variables if there are none; to be called in a thread.

    Args:
        model: of the guest that starts, which has a place for them.
        settings: with what the operator allows.
        anew: make them also if there are some.

    Raises:
        OperationFailed: nobody knows what they are made from.
        OperationDenied: the operator does not allow it.
        VirSystemError: they cannot be made.
    """
    loader, nvram = model.os.loader, model.os.nvram
    if nvram is None or nvram.path is None or (not anew and os.path.exists(nvram.path)):
        return
    named = loader.path if loader is not None else None
    template = nvram.template or TEMPLATES.get(named or "")
    if template is None:
        text = f"unable to find any master var store for loader: {named}"
        raise OperationFailed(text, domain=c.VIR_FROM_QEMU)
    template, path = check_allowed(template, settings, writable=False), check_allowed(nvram.path, settings)
    partial = f"{path}.new"
    try:
        with open(template, "rb", opener=_exactly) as source:
            size = _size(source)
            with suppress(FileNotFoundError):
                os.unlink(partial)  # of a daemon that was killed
            with open(partial, "xb", opener=_exactly) as target:
                _copy(source, size, target)
                os.fsync(target.fileno())
        os.rename(partial, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(partial)
        text = f"cannot make the firmware's variables '{nvram.path}': {error.strerror}"
        raise VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error


def _exactly(path: str, flags: int) -> int:
    """Open a file at a path without links, for ``open``; where there is a link now, raise OSError."""
    # a pipe would block whoever opens it
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if os.readlink(f"/proc/self/fd/{descriptor}") != path:
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return descriptor


def _size(source: BinaryIO) -> int:
    found = os.fstat(source.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        raise OperationDenied(f"'{source.name}' is no template for variables", domain=c.VIR_FROM_QEMU)
    return found.st_size


def _copy(source: BinaryIO, left: int, target: BinaryIO) -> None:
    while left > 0 and (data := source.read(min(STEP, left))):
        left -= len(data)
        target.write(data) if any(data) else target.seek(len(data), os.SEEK_CUR)
    target.truncate()


def remove_variables(path: str, settings: Settings) -> None:
    """Remove variables that may be gone already.

    Raises:
        OperationDenied: the operator does not allow it.
        VirSystemError: they cannot be removed.
    """
    try:
        os.unlink(check_allowed(path, settings))
    except FileNotFoundError:
        return
    except OSError as error:
        text = f"failed to remove nvram: {path}"
        raise VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error
