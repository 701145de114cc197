"""A disk that a guest boots from by itself, as ``virt-install --import`` expects."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.interop.peers import require
from tests.qemu_guests.initrd import KERNEL_ARGS, guest_initrd, guest_kernel, stored

__all__ = ["boot_disk"]

SECTORS = 16 * 2048
"""The disk's size: 16 MiB, of which kernel and initrd take 12."""

HEADS, TRACK = 16, 63
"""A geometry for firmware that asks; it addresses blocks."""

SERIAL_NUMBER = "52565254"
"""Of the file system; a fixed one, so that the same content is the same disk."""

SYSLINUX = f"""\
serial 0 115200
prompt 0
default guest
label guest
kernel vmlinuz.efi
initrd initrd
append {KERNEL_ARGS}
"""
"""What the boot loader does under SeaBIOS."""

STARTUP = f"fs0:\\vmlinuz.efi initrd=\\initrd {KERNEL_ARGS}\r\n"
"""What EFI's shell does: the kernel is a program for EFI too."""

TIMEOUT = 60
"""Seconds that a tool may take."""


def boot_disk(folder: str | Path) -> Path:
    """Put a bootable raw disk of 16 MiB into a folder; it boots the same guest, under SeaBIOS and OVMF.

    It is a copy of one that is made once; its last MiB is unused, for tests to write to.
    """
    require("syslinux", "mtools")
    kernel, initrd = guest_kernel(packed=True).read_bytes(), guest_initrd().read_bytes()
    key = b"\0".join((kernel, initrd, SYSLINUX.encode(), STARTUP.encode(), b"%d" % SECTORS))
    path = Path(folder) / "boot.img"
    shutil.copyfile(stored("boot", ".img", key, lambda: _build(kernel, initrd)), path)
    return path


def _build(kernel: bytes, initrd: bytes) -> bytes:
    """A FAT file system that fills the disk, with syslinux in its boot sector."""
    contents = {
        "vmlinuz.efi": kernel,
        "initrd": gzip.compress(initrd, mtime=0),
        "syslinux.cfg": SYSLINUX.encode(),
        "startup.nsh": STARTUP.encode(),
    }
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "disk"
        with disk.open("wb") as image:
            image.truncate(SECTORS * 512)
        geometry = ("-T", f"{SECTORS}", "-h", f"{HEADS}", "-s", f"{TRACK}", "-N", SERIAL_NUMBER)
        _run("mformat", "-i", str(disk), *geometry, "::")
        for name, content in contents.items():
            (Path(folder) / name).write_bytes(content)
            _run("mcopy", "-i", str(disk), str(Path(folder) / name), f"::{name}")
        _run("syslinux", "--install", str(disk))
        return disk.read_bytes()


def _run(*command: str) -> None:
    environment = {**os.environ, "MTOOLSRC": os.devnull}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
