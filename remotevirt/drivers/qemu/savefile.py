"""Files of saved guests, in the format of libvirt's QEMU driver: either reads what the other wrote.

::

    0   "LibvirtQemudSave"; "LibvirtQemudPart" while it is written
    16  version 2 | length of the data | was running | compression | offset of a cookie | 14 unused words
    92  the domain's XML and a zero byte, maybe room, maybe a cookie: as many bytes as the header says
        QEMU's migration stream

Words have 32 bits, in the byte order of the host. Compression is 0, none: others are refused.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import Final

import attrs

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed, VirSystemError
from remotevirt.xml.parse import MAX_BYTES

__all__ = ["PARTIAL", "SaveImage", "finish_image", "open_image", "rewrite_image", "start_image"]

MAGIC: Final = b"LibvirtQemudSave"
PARTIAL: Final = b"LibvirtQemudPart"
VERSION: Final = 2
HEADER: Final = struct.Struct("=16s19I")
ROOM: Final = 1024
"""Bytes left free after the XML, so that it may be replaced by a longer one. As libvirt does."""


@attrs.frozen
class SaveImage:
    """What a file says of a guest.

    Attributes:
        xml: its live document, with passwords.
        running: it ran when it was saved.
        length: bytes between the header and the stream.
    """

    xml: str
    running: bool
    length: int

    @property
    def start(self) -> int:
        """Where the stream begins."""
        return HEADER.size + self.length


def _failed(what: str, path: str, error: OSError) -> VirSystemError:
    text = f"{what} '{path}': {error.strerror}"
    return VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0)


def start_image(path: str, xml: str, *, running: bool, over: bool) -> int:
    """Begin a file: header and XML, as yet marked as unfinished.

    Args:
        path: where; a regular file there is replaced.
        xml: the guest's document.
        running: whether it ran.
        over: the file may be there already.

    Returns:
        A descriptor, at the place where the stream begins.

    Raises:
        VirSystemError: it cannot be written.
    """
    data = xml.encode() + b"\0"
    data += bytes(ROOM)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        file = os.open(path, flags | (0 if over else os.O_EXCL), 0o600)
        try:
            _check(file, path)
            os.ftruncate(file, 0)
        except BaseException:
            os.close(file)
            raise
    except OSError as error:
        raise _failed("Failed to create file", path, error) from error
    try:
        _write(file, HEADER.pack(PARTIAL, VERSION, len(data), int(running), 0, 0, *[0] * 14) + data)
    except OSError as error:
        os.close(file)
        raise _failed("failed to write header to domain save file", path, error) from error
    return file


def finish_image(file: int, path: str) -> None:
    """Mark a file as finished, and have all of it on the disk. Raises VirSystemError."""
    try:
        os.fsync(file)
        os.pwrite(file, MAGIC, 0)
        os.fsync(file)
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _failed("failed to write header to domain save file", path, error) from error


def open_image(path: str, *, change: bool = False) -> tuple[int, SaveImage]:
    """Open a file and read what it says.

    Args:
        path: of the file.
        change: open it for writing too.

    Returns:
        A descriptor, at the place where the stream begins, and what the file says.

    Raises:
        VirSystemError: it cannot be read.
        OperationFailed: it is no finished image of ours.
    """
    try:
        flags = os.O_RDWR if change else os.O_RDONLY
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise _failed("Failed to open file", path, error) from error
    try:
        _check(file, path)
        image = _read(file, path)
        os.lseek(file, image.start, os.SEEK_SET)
    except OSError as error:
        os.close(file)
        raise _failed("failed to read qemu header of", path, error) from error
    except BaseException:
        os.close(file)
        raise
    return file, image


def _check(file: int, path: str) -> None:
    """Check that a descriptor is that of the regular file at a path without links; raises OSError."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    if os.readlink(f"/proc/self/fd/{file}") != path:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _refused(text: str) -> OperationFailed:
    return OperationFailed(text, domain=c.VIR_FROM_QEMU)


def _read(file: int, path: str) -> SaveImage:
    head = os.pread(file, HEADER.size, 0)
    if len(head) < HEADER.size:
        raise _refused("failed to read qemu header")
    magic, version, length, running, compressed, *_ = HEADER.unpack(head)
    if magic == PARTIAL:
        raise _refused("save image is incomplete")
    if magic != MAGIC:
        raise _refused("image magic is incorrect")
    if version != VERSION:
        raise _refused(f"image version is not supported ({version} > {VERSION})")
    if not 0 < length <= 2 * MAX_BYTES:
        raise _refused(f"invalid header data length: {length}")
    if compressed:
        raise _refused(f"Invalid compressed save format {compressed}")
    data = os.pread(file, length, HEADER.size)
    if len(data) < length:
        raise _refused("failed to read domain XML")
    try:
        xml = data.partition(b"\0")[0].decode()
    except UnicodeDecodeError:
        raise _refused("the domain's XML in the image is no text") from None
    return SaveImage(xml, bool(running), length)


def rewrite_image(file: int, path: str, image: SaveImage, xml: str, *, running: bool) -> None:
    """Give a file another document; raises VirError if there is no room for it."""
    data = xml.encode() + b"\0"
    if len(data) > image.length:
        raise _refused("new xml too large to fit in file")
    data += bytes(image.length - len(data))
    try:
        os.pwrite(file, HEADER.pack(MAGIC, VERSION, len(data), int(running), 0, 0, *[0] * 14) + data, 0)
        os.fsync(file)
    except OSError as error:
        raise _failed("failed to write header to domain save file", path, error) from error


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
