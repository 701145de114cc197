"""Guests for tests to boot: Debian's kernel, an initrd of a few MiB with busybox, and their consoles.

They need no disk, no network and no KVM, and are ready after about five seconds on an emulated CPU::

    kernel, initrd = guest_kernel(), guest_initrd()     # <kernel>, <initrd>; <cmdline> is KERNEL_ARGS
    console = Console.device("/dev/pts/7")              # or .unix, .adopt, .file, .spawn(["virsh", ...])
    self.addCleanup(console.close)
    report = await console.boot()                       # the report below
    assert await console.command("echo hello") == "hello"
    await console.wait_for(r"block\\+ vdb (\\d+) (\\S+)")  # after a disk was plugged in

For a guest with an ARM processor it is ``guest_kernel("aarch64")``, ``guest_initrd("aarch64")`` and
ARM_KERNEL_ARGS. It is ready after three seconds, has fewer modules, and sees its power button only if
firmware started it.

``boot_disk(folder)`` makes a disk that boots the same by itself, under SeaBIOS (8 seconds) and OVMF (17).
128 MiB of memory are enough; 192 where memory can be plugged in, since Linux then sets 64 aside.

A guest prints lines on its console, which is the first serial port. Its report, when it has booted, ends with
``guest-ready``::

    cmdline console=ttyS0 quiet ...     the kernel's command line
    cpus 1                              CPUs that are on line
    memory 210740                       KiB in /proc/meminfo
    block vda 1048576 abc               bytes and serial, - for none; a line for each disk
    net eth0 52:54:00:01:02:03          a line for each interface
    guest-ready

From then on it tells what happens::

    block+ vdb 1048576 abc              a disk was plugged in
    block= sr0 4096 -                   it has another medium or another size
    block- vdb                          it was removed
    net+ eth1 52:54:00:01:02:03         so for interfaces
    net- eth1
    cpu+ 1                              CPUs, which are put to work
    cpu- 1
    memory+ 341812                      and memory; a line for each block of it, and what there is now
    memory- 210740
    key 30                              a key was pressed: its number for Linux
    power-button                        the power button was pressed: it powers off

With ``ignore-acpi`` on its command line it only prints ``key 116`` for the power button.

A line typed is run by a shell, and then ``done COUNT STATUS`` is printed. What is typed is not echoed. Beside
busybox's commands (``poweroff -f``, ``reboot -f``, ``echo c >/proc/sysrq-trigger`` for a panic) there are::

    disk-write [/dev/vdb] NUMBER TEXT   put a text into a sector of /dev/vda, or of another disk
    disk-read [/dev/vdb] NUMBER         print it; read from the disk, not from memory
    counter                             a count that goes on ten times a second, only while the guest runs
    guest-report                        the report again

Files below /run are in memory. A balloon changes memory without a word: ``guest-report`` tells.
"""

from __future__ import annotations

from tests.qemu_guests.console import BOOT_TIMEOUT, Console
from tests.qemu_guests.disk import boot_disk
from tests.qemu_guests.initrd import ARM_KERNEL_ARGS, KERNEL_ARGS, guest_initrd, guest_kernel

__all__ = [
    "ARM_KERNEL_ARGS",
    "BOOT_TIMEOUT",
    "KERNEL_ARGS",
    "Console",
    "boot_disk",
    "guest_initrd",
    "guest_kernel",
]
