"""The images below a guest's disks, and which of them a header may name."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.qemu.chains import Trust, complete_disk
from remotevirt.drivers.qemu.settings import GuestUser
from remotevirt.stubs.errors import OperationDenied, OperationInvalid, VirSystemError
from remotevirt.xml.domain.disk import Disk, DiskDriver
from remotevirt.xml.domain.storage import FileSource

NOBODY = GuestUser(65534, 65534)
EXTENSION = 0xE2792ACA
"""The header extension of qcow2 that names the format of the backing file."""


def qcow2(backing: str | None = None, kind: str | None = "raw") -> bytes:
    """The header of an image, with the backing file that it names."""
    name = (backing or "").encode()
    extension = (
        b"" if kind is None else struct.pack(">II", EXTENSION, len(kind)) + kind.encode().ljust(8, b"\0")
    )
    extensions = extension + bytes(8)
    place = 104 + len(extensions) if name else 0
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, place, len(name), 16, 1 << 20)
    return head.ljust(96, b"\0") + struct.pack(">II", 4, 104) + extensions + name + bytes(65536)


class ChainTests(SynchronousTestCase):
    """Disks whose definitions do not tell what is below."""

    def setUp(self) -> None:
        self.folder = Path(os.path.realpath(self.mktemp()))
        for name in ("vm", "bases", "elsewhere"):
            (self.folder / name).mkdir(parents=True)

    def base(self, folder: str, mode: int = 0o600) -> str:
        """A raw image that nobody but its owner reads, or that everybody does."""
        path = self.folder / folder / "base.img"
        path.write_bytes(bytes(512))
        path.chmod(mode)
        return str(path)

    def complete(self, backing: str | None, trust: Trust | None = None, kind: str | None = "raw") -> Disk:
        """The disk of a guest, whose image names a backing file."""
        image = self.folder / "vm" / "disk.qcow2"
        image.write_bytes(qcow2(backing, kind))
        disk = Disk(driver=DiskDriver(type="qcow2"), source=FileSource(file=str(image)))
        complete_disk(disk, trust or Trust(NOBODY))
        return disk

    def below(self, disk: Disk) -> list[str | None]:
        """The images below a disk."""
        found = []
        store = disk.backing
        while store is not None and store.type is not None:
            assert store.source is not None
            found.append(store.source.place())
            store = store.backing
        self.assertIsNotNone(store, "the chain has no end")
        return found

    def test_ends(self) -> None:
        self.assertEqual([], self.below(self.complete(None)))

    def test_beside(self) -> None:
        """A name may be relative to the image."""
        base = self.base("vm")
        self.assertEqual([base], self.below(self.complete("base.img")))
        self.assertEqual([base], self.below(self.complete(base)))

    def test_elsewhere(self) -> None:
        """Nobody gets a file because a header names it."""
        base = self.base("elsewhere")
        for name in (base, "../elsewhere/base.img"):
            error = self.assertRaises(OperationDenied, self.complete, name)
            self.assertIn("named only by the header", str(error))
        link = self.folder / "vm" / "link"
        link.symlink_to(base)
        self.assertRaises(OperationDenied, self.complete, str(link))

    def test_places(self) -> None:
        """Where pools are, or the operator says, images are known to be."""
        base = self.base("bases")
        trust = Trust(NOBODY, frozenset({str(self.folder / "bases")}))
        self.assertEqual([base], self.below(self.complete(base, trust)))

    def test_open_to_all(self) -> None:
        base = self.base("elsewhere", 0o644)
        self.assertEqual([base], self.below(self.complete(base)))

    def test_nobody_to_give_to(self) -> None:
        """A daemon that runs guests as itself gives nothing."""
        base = self.base("elsewhere")
        self.assertEqual([base], self.below(self.complete(base, Trust())))

    def test_refused(self) -> None:
        """What is not there, has no format, or is no file."""
        self.assertRaises(VirSystemError, self.complete, "missing.img")
        self.base("vm")
        error = self.assertRaises(OperationInvalid, self.complete, "base.img", None, None)
        self.assertIn("was not specified", str(error))
        self.assertRaises(OperationInvalid, self.complete, "nbd:unix:/run/x")
