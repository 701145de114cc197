"""Reading node files safely: below one folder, no links, bounded.

Whatever is wrong with a path, the client gets the same answer as for a file that does not exist; the log says
more.
"""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger

from remotevirt.drivers.folder import Folder
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError

__all__ = ["MAX_FILE", "read_node_file"]

MAX_FILE: Final = 4 * 1024 * 1024
"""Bytes of a node file; as long as any other XML document may be."""

log = Logger()


def read_node_file(folder: Folder, path: str) -> str:
    """Return the text of a file below a folder.

    Raises:
        XmlError: it cannot be read, for whatever reason.
    """
    try:
        return folder.read(path, MAX_FILE).decode("utf-8")
    except (OSError, ValueError) as error:
        log.info("node file {path!r} refused: {error}", path=path[:1024], error=error)
    raise unreadable(path)


def unreadable(path: str) -> XmlError:
    """Return libvirt's error for a node file that cannot be read."""
    return XmlError(f"failed to parse xml document '{path}'", domain=c.VIR_FROM_TEST)
