"""The files of saved domains, in the format of libvirt's test driver.

::

    "TestGuestMagic" and a zero byte | length of the XML, 4 bytes as the machine has them | the XML

A dump is the first of these three and nothing more.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.folder import Folder
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationUnsupported, VirSystemError, XmlError
from remotevirt.xml.parse import MAX_BYTES

__all__ = ["load", "store", "store_dump"]

MAGIC: Final = b"TestGuestMagic\0"
LENGTH: Final = struct.Struct("=i")
MAX_FILE: Final = len(MAGIC) + LENGTH.size + MAX_BYTES
"""Bytes of a file; its XML may be as long as any. libvirt reads back at most 8 KiB of XML."""


MAX_PATH: Final = 4096
"""Characters of a path; Linux's PATH_MAX."""


def plain_path(path: str) -> str:
    """Return a path as libvirt shows it: no slash doubled, none at the end.

    Raises:
        VirSystemError: it is too long for any file.
    """
    if len(path) > MAX_PATH:
        raise _failed("cannot use the path of a file", OSError(errno.ENAMETOOLONG, ""))
    return "/" * path.startswith("/") + "/".join(step for step in path.split("/") if step)


def load(files: Folder | None, path: str) -> Definition:
    """Read the domain in a file.

    Raises:
        VirError: there is none, or it cannot be read.
    """
    path = plain_path(path)
    try:
        data = _allowed(files).read(path, MAX_FILE)
    except OSError as error:
        what = "incomplete save header in" if error.errno == errno.EISDIR else "cannot read domain image"
        raise _failed(f"{what} '{path}'", error) from None
    if len(data) < len(MAGIC):
        raise _incomplete(f"incomplete save header in '{path}'")
    if not data.startswith(MAGIC):
        raise InternalError("mismatched header magic", domain=c.VIR_FROM_TEST)
    start = len(MAGIC) + LENGTH.size
    if len(data) < start:
        raise _incomplete(f"failed to read metadata length in '{path}'")
    (length,) = LENGTH.unpack_from(data, len(MAGIC))
    if not 1 <= length <= MAX_BYTES:
        raise InternalError("length of metadata out of range", domain=c.VIR_FROM_TEST)
    if len(data) < start + length:
        raise _incomplete(f"incomplete metadata in '{path}'")
    try:
        text = data[start : start + length].decode("utf-8")
    except UnicodeDecodeError:
        raise XmlError(f"the XML in '{path}' is not UTF-8", domain=c.VIR_FROM_TEST) from None
    return TestDefinition.parse(text)


def store(files: Folder | None, path: str, xml: str, what: str) -> None:
    """Write a domain into a file.

    Args:
        files: the folder below which it must lie.
        path: as the client named it.
        xml: the domain.
        what: is being done, for the error.

    Raises:
        VirError: it cannot be written.
    """
    path = plain_path(path)
    text = xml.encode("utf-8", "surrogateescape")
    try:
        _allowed(files).write(path, MAGIC + LENGTH.pack(len(text)) + text)
    except OSError as error:
        raise _failed(f"{what} to '{path}': open failed", error) from None


def store_dump(files: Folder | None, path: str, name: str) -> None:
    """Write the dump of a domain: guests that do not exist have no memory to write.

    Raises:
        VirError: it cannot be written.
    """
    path = plain_path(path)
    try:
        _allowed(files).write(path, MAGIC)
    except OSError as error:
        raise _failed(f"domain '{name}' coredump: failed to open {path}", error) from None


def _allowed(files: Folder | None) -> Folder:
    """Return the folder, if the operator allows one.

    Raises:
        OperationUnsupported: it is not so.
    """
    if files is None:
        text = "clients may name no files here: no folder is allowed for them (--driver test:files=DIR)"
        raise OperationUnsupported(text, domain=c.VIR_FROM_TEST)
    return files


def _failed(what: str, error: OSError) -> VirError:
    """Return the error of a system call that failed."""
    number = error.errno or 0
    return VirSystemError(f"{what}: {os.strerror(number)}", domain=c.VIR_FROM_TEST, int1=number)


def _incomplete(what: str) -> VirError:
    """Return the error of a file that ends too early: of a system call that went well, says libvirt."""
    return VirSystemError(f"{what}: {os.strerror(0)}", domain=c.VIR_FROM_TEST, int1=0)
