"""``test:///PATH``: a world of one's own, described in a file on the daemon's machine."""

from __future__ import annotations

from functools import partial

from remotevirt.drivers.folder import Folder
from remotevirt.drivers.test.node import Node
from remotevirt.drivers.test.node_file import read_node_file, unreadable
from remotevirt.drivers.test.node_xml import load_world
from remotevirt.drivers.test.world import World
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationDenied

__all__ = ["file_world"]


def file_world(path: str, folder: Folder | None, *, readonly: bool) -> World:
    """Return a new world with the contents of a node file.

    Args:
        path: the file, as the client named it.
        folder: below which it must lie; None where the operator allows no files.
        readonly: the client may not change anything, and so does not choose files either.

    Raises:
        VirError: the file may not be read, cannot be read, or is wrong.
    """
    if readonly:
        text = "read only access prevents opening a test node file"
        raise OperationDenied(text, domain=c.VIR_FROM_TEST)
    if folder is None:
        raise unreadable(path)
    read = partial(read_node_file, folder)
    return load_world(read(path), path, Node(), read)
