"""Folders that a guest has filled with what it liked."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.disk_threads import Stop, Stopped
from remotevirt.drivers.qemu.folders import remove_folder

DEPTH = 3000
"""Folders in one another: more than Python's stack has frames, and than a process has descriptors."""


class RemovingTests(SynchronousTestCase):
    """Whatever is in a folder, it goes, and nothing else."""

    def setUp(self) -> None:
        """Make a folder of a guest, and a file beside it."""
        self.root = Path(os.path.realpath(self.mktemp()))
        self.folder = self.root / "guest"
        self.folder.mkdir(parents=True)
        self.other = self.root / "other"
        self.other.mkdir()
        (self.other / "file").write_text("other")

    def remove(self) -> None:
        """Remove it, and check that just that is gone."""
        before = len(os.listdir("/proc/self/fd"))
        remove_folder(Stop(), str(self.folder))
        self.assertEqual(["other"], os.listdir(self.root))
        self.assertEqual("other", (self.other / "file").read_text())
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))

    def test_deep(self) -> None:
        """Folders in folders, however many; each with a file."""
        inner = os.open(self.folder, os.O_RDONLY)
        for _ in range(DEPTH):
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=inner))
            os.mkdir("d", dir_fd=inner)
            outer, inner = inner, os.open("d", os.O_RDONLY, dir_fd=inner)
            os.close(outer)
        os.close(inner)
        self.remove()

    def test_kinds(self) -> None:
        """Links are not followed, pipes not opened, and folders that nobody may enter are no obstacle."""
        (self.folder / "link").symlink_to(self.other)
        closed = self.folder / "closed"
        (closed / "more").mkdir(parents=True)
        (closed / "more" / "file").write_text("")
        (closed / "link").symlink_to(self.other)
        os.mkfifo(closed / "pipe")
        (closed / "more").chmod(0)
        closed.chmod(0)
        self.remove()

    def test_none(self) -> None:
        """One that is not there is gone; a link is no folder."""
        self.folder.rmdir()
        remove_folder(Stop(), str(self.folder))
        self.folder.symlink_to(self.other)
        self.assertRaises(OSError, remove_folder, Stop(), str(self.folder))
        self.assertEqual("other", (self.other / "file").read_text())

    def test_stopped(self) -> None:
        """Who waits no more is heard between files."""
        (self.folder / "file").write_text("")
        stop = Stop()
        stop.set()
        self.assertRaises(Stopped, remove_folder, stop, str(self.folder))
        self.assertTrue(self.folder.exists())
