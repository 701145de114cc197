"""Headers of images: what they say, and what a guest may write there."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.storage.aside import find_program
from remotevirt.drivers.storage.images import HEADER_BYTES, ImageFacts, probe

MIB = 1024**2
MARKS = [b"QFI\xfb", b"QED\0", b"KDMV", b"conectix", b"LUKS\xba\xbe"]


def qcow2(
    *, version: int = 3, capacity: int = MIB, name: bytes = b"", features: int = 0, extension: bytes = b""
) -> bytes:
    """Return the header of a qcow2 image."""
    place = 104 + len(extension) if name else 0
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", version, place, len(name), 16, capacity, 0)
    head += bytes(36) + struct.pack(">QQQII", features, 0, 0, 4, 104)
    return head + extension + name + bytes(512)


class ProbeTests(SynchronousTestCase):
    """What headers say."""

    def test_nothing(self) -> None:
        for data in (b"", b"x", bytes(HEADER_BYTES), b"QFI", b"QFI\xfb", b"QFI\xfb\0\0\0\x03"):
            self.assertEqual(ImageFacts(), probe(data, len(data)))

    def test_qcow2(self) -> None:
        extension = struct.pack(">II", 0xE2792ACA, 3) + b"raw" + bytes(5) + bytes(8)
        found = probe(qcow2(name=b"/base", extension=extension), 1000)
        self.assertEqual(("qcow2", MIB, "/base", "raw"), _short(found))
        self.assertEqual(("1.1", (), 65536), (found.compat, found.features, found.cluster_size))
        found = probe(qcow2(version=2), 1000)
        self.assertEqual((None, None), (found.compat, found.features))

    def test_others(self) -> None:
        vdi = bytearray(400)
        vdi[64:72] = struct.pack("<II", 0xBEDA107F, 0x00010001)
        vdi[368:376] = struct.pack("<Q", 5)
        vpc = b"conectix" + bytes(4) + struct.pack(">I", 0x10000) + bytes(32) + struct.pack(">Q", 7)
        luks = b"LUKS\xba\xbe\0\x01" + bytes(96) + struct.pack(">I", 4)
        iso = bytes(32769) + b"CD001"
        qed = b"QED\0" + bytes(12) + struct.pack("<Q", 5) + bytes(24)
        qed += struct.pack("<QII", 9, 64, 4) + b"base"
        vmdk = b"KDMV" + struct.pack("<IIQ", 1, 3, 6) + bytes(600)
        for data, facts in (
            (bytes(vdi), ("vdi", 5, None, None)),
            (vpc, ("vpc", 7, None, None)),
            (luks, ("raw", 10000 - 2048, None, None)),
            (iso, ("iso", None, None, None)),
            (qed, ("qed", 9, "base", "raw")),
            (vmdk, ("vmdk", 3072, None, None)),
        ):
            self.assertEqual(facts, _short(probe(data, 10000)))
        self.assertEqual("luks", probe(luks, 10000).encryption)

    def test_names_that_cannot_be_shown(self) -> None:
        for name in (b"a\nb", b"\xff", b"\x1b[1m", bytes(4)):
            self.assertIsNone(probe(qcow2(name=name), 1000).backing)

    def test_numbers_that_make_no_sense(self) -> None:
        self.assertEqual(2**63 - 1, probe(qcow2(capacity=2**64 - 1), 1000).capacity)
        huge = bytearray(qcow2(name=b"x"))
        huge[16:20] = b"\xff\xff\xff\xff"
        self.assertIsNone(probe(bytes(huge), 1000).backing)
        endless = struct.pack(">II", 1, 0xFFFFFFF0)
        self.assertIsNone(probe(qcow2(name=b"x", extension=endless), 1000).backing_format)

    def test_data_in_another_file(self) -> None:
        self.assertTrue(probe(qcow2(features=4), 1000).external)

    def test_vmdk_that_only_names_files(self) -> None:
        self.assertEqual("raw", probe(b"KDMV" + struct.pack("<IIQ", 1, 3, 0) + bytes(600), 1000).format)

    @given(
        st.binary(max_size=600),
        st.sampled_from(MARKS),
    )
    def test_anything(self, data: bytes, mark: bytes) -> None:
        found = probe(mark + data, 1000)
        self.assertTrue(found.capacity is None or 0 <= found.capacity < 2**63)
        self.assertTrue(found.backing is None or found.backing.isprintable())

    def test_what_qemu_makes(self) -> None:
        """Broken headers of real images are read without complaint."""
        program = find_program("qemu-img")
        self.assertIsNotNone(program)
        path = Path(self.mktemp())
        for kind in ("qcow2", "qcow", "qed", "vmdk", "vdi", "vpc"):
            command = [str(program), "create", "-q", "-f", kind, str(path), "8M"]
            subprocess.run(command, check=True)
            data = path.read_bytes()[:HEADER_BYTES]
            self.assertEqual(kind, probe(data, len(data)).format)
            chance = random.Random(kind)
            for _ in range(300):
                broken = bytearray(data)
                for _ in range(chance.randrange(1, 20)):
                    broken[chance.randrange(min(600, len(broken)))] = chance.randrange(256)
                probe(bytes(broken[: chance.randrange(len(broken))]), len(data))


def _short(found: ImageFacts) -> tuple[str, int | None, str | None, str | None]:
    return found.format, found.capacity, found.backing, found.backing_format
