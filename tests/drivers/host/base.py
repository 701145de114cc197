"""What the tests of the host share: a tree of a server, and what libvirtd says of it."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from twisted.trial.unittest import TestCase

from remotevirt.drivers.host import Host, HostNodeCalls
from tests.drivers.host.trees import SERVER, write_bare, write_server

__all__ = ["Calls", "HostTestCase", "recorded"]


@cache
def recorded() -> dict[str, str]:
    """What libvirtd says of the server, by what it was asked."""
    parts = re.split(r"^<!-- (.*) -->\n", SERVER.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@cache
def _shared_server() -> Path:
    root = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, root)
    write_server(root)
    return root


class Calls(HostNodeCalls):
    """The calls of a host."""

    def __init__(self, host: Host) -> None:
        self.host = host


class HostTestCase(TestCase):
    """A test with trees of its own."""

    def tree(self) -> Path:
        """Make an empty tree, which is gone after the test."""
        root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, root)
        return root

    def server(self) -> Host:
        """Return a host that is the server; its tree is for all tests that only read it."""
        return Host(str(_shared_server()))

    def changing_server(self) -> Host:
        """Return a host that is the server, with a tree of its own."""
        root = self.tree()
        write_server(root)
        return Host(str(root))

    def bare(self) -> Host:
        """Return a host that says next to nothing."""
        root = self.tree()
        write_bare(root)
        return Host(str(root))
