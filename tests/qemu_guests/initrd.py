"""The files that a guest boots: the kernel, and an initrd that is written here, archive format included."""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from twisted.trial.unittest import FailTest, SkipTest

from tests.daemons import ROOT

__all__ = ["ARM_KERNEL_ARGS", "KERNEL_ARGS", "guest_initrd", "guest_kernel", "pack", "provided", "stored"]

FETCHED = ROOT / ".peers" / "guest-kernel"
"""Where tools/guest-kernel puts kernels, their modules and busybox: a folder for each architecture."""

DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
"""What Debian calls the architectures of guests."""

MADE = ROOT / ".peers" / "guests"
"""Where what is made of that is kept, under names that depend on the content."""

SOURCES = Path(__file__).parent
"""Where the guests' scripts are."""

KERNEL_ARGS = "console=ttyS0 quiet mitigations=off cryptomgr.notests no_timer_check tsc=reliable"
"""The kernel's command line: what it would spend time on that no test needs is left out."""

ARM_KERNEL_ARGS = "console=ttyAMA0 quiet mitigations=off cryptomgr.notests"
"""The same for a guest with an ARM processor, whose serial port has another name."""

COMMANDS = ("counter", "disk-read", "disk-write", "guest-report", "on-uevent")
"""The names of commands.sh."""

TRAILER = "TRAILER!!!"
"""The name that ends a cpio archive."""

SIGNATURE_END = b"~Module signature appended~\n"
"""What a signed kernel module ends with; before it, in 12 bytes, what it was signed with, and the length."""

SETUP_SECTORS = 0x1F1
"""Where a bzImage tells how many sectors its real mode part has, besides the first."""

PAYLOAD = 0x248
"""Where a bzImage tells where behind that its compressed kernel is, and its length."""


def provided(arch: str = "x86_64") -> Path:
    """The folder with a kernel; skips the test where it is missing, or with ``CI=true`` fails it."""
    folder = FETCHED / DEBIAN[arch]
    if not (folder / "modules.txt").exists():
        text = f"there is no kernel for guests with {arch}: run tools/guest-kernel (Debian on x86-64)"
        raise FailTest(text) if os.environ.get("CI") == "true" else SkipTest(text)
    return folder


def stored(name: str, suffix: str, key: bytes, make: Callable[[], bytes]) -> Path:
    """The file that was made for a key, or is made now; never half of one, whoever else makes it."""
    path = MADE / f"{name}-{hashlib.sha256(key).hexdigest()[:16]}{suffix}"
    if not path.exists():
        MADE.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_bytes(make())
        partial.rename(path)
    return path


def guest_kernel(arch: str = "x86_64", *, packed: bool = False) -> Path:
    """The kernel for ``<kernel>`` or ``-kernel``.

    Args:
        arch: the guest's, in libvirt's words; ARM's kernel is not packed, and EFI firmware takes it as it is.
        packed: the bzImage as Debian ships it, which EFI firmware and boot loaders take; unpacking it costs
            an emulated guest five seconds. By default the ELF file inside it, for QEMU's own loader.
    """
    image = provided(arch) / "vmlinuz"
    if packed or arch != "x86_64":
        return image
    content = image.read_bytes()
    return stored("vmlinux", "", content, lambda: _unpack(content))


def _unpack(image: bytes) -> bytes:
    """The kernel in a bzImage that is compressed with xz, as Debian's is."""
    offset, length = struct.unpack_from("<II", image, PAYLOAD)
    start = (image[SETUP_SECTORS] + 1) * 512 + offset
    # Its size follows the compressed stream.
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(image[start : start + length])


def guest_initrd(
    arch: str = "x86_64",
    *,
    files: Mapping[str, bytes] | None = None,
    modules: Iterable[str] | None = None,
) -> Path:
    """An initrd that reports, obeys and watches as the package's docstring tells.

    Args:
        arch: the guest's, in libvirt's words.
        files: more files, by their paths without the first slash; ``bin/on-ready`` runs after the report.
        modules: which of the architecture's to load, in their order there; all of them by default.
    """
    source = provided(arch)
    wanted = None if modules is None else set(modules)
    names = [name for name in module_names(arch) if wanted is None or name in wanted]
    listed = "".join(f"{name}\n" for name in names)
    contents: dict[str, bytes | str] = {
        "bin/busybox": (source / "busybox").read_bytes(),
        "bin/commands": (SOURCES / "commands.sh").read_bytes(),
        **{f"bin/{name}": "commands" for name in COMMANDS},
        "bin/sh": "busybox",
        "init": (SOURCES / "init.sh").read_bytes(),
        "modules.txt": listed.encode(),
        **{
            f"modules/{name}.ko": _unsigned((source / "modules" / f"{name}.ko").read_bytes())
            for name in names
        },
        **(files or {}),
    }
    archive = pack(contents)
    return stored("initrd", ".cpio", archive, lambda: archive)


def module_names(arch: str = "x86_64") -> list[str]:
    """The modules that guests load, each after those that it needs."""
    return (SOURCES / f"modules-{DEBIAN[arch]}.txt").read_text().split()


def _unsigned(module: bytes) -> bytes:
    """A module without its signature, which an emulated processor would take long to check."""
    if not module.endswith(SIGNATURE_END):
        return module
    end = len(module) - len(SIGNATURE_END)
    (length,) = struct.unpack_from(">I", module, end - 4)
    return module[: end - 12 - length]


def pack(contents: Mapping[str, bytes | str]) -> bytes:
    """A cpio archive in the "newc" format, with the folders and device nodes that a guest needs.

    Args:
        contents: what is in a file (all are executable), or where a symbolic link points, by path.
    """
    folders = {"dev", "proc", "run", "sys"}
    for path in contents:
        folders.update(str(folder) for folder in Path(path).parents)
    folders.discard(".")
    entries = [_entry(path, stat.S_IFDIR | 0o755) for path in sorted(folders)]
    entries.append(_entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    for path, content in contents.items():
        if isinstance(content, str):
            entries.append(_entry(path, stat.S_IFLNK | 0o777, content.encode()))
        else:
            entries.append(_entry(path, stat.S_IFREG | 0o755, content))
    entries.append(_entry(TRAILER, 0))
    return b"".join(entries)


def _entry(path: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """A file in a cpio archive: fields of eight hexadecimal digits and the name, then the content."""
    name = path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device it is on, device it is, length of name, check
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
