"""Guests for tests to boot: Debian's kernel, an initrd of a few MiB with busybox, and their consoles.

They need no disk, no network and no KVM, and are ready after about five seconds on an emulated CPU. In a test::

    kernel, initrd = guest_kernel(), guest_initrd()      # <kernel>, <initrd>; <cmdline> is KERNEL_ARGS
    console = Console.device("/dev/pts/7")               # or Console.unix, .adopt, .file, .spawn(["virsh", ...])
    self.addCleanup(console.close)
    report = await console.boot()                        # the report below
    assert await console.command("echo hello") == "hello"
    await console.wait_for(r"block\\+ vdb (\\d+) (\\S+)")   # after a disk was plugged in

A guest prints lines on its console, which is the first serial port. When it has booted, its report, and its last
line is ``guest-ready``::

    cmdline console=ttyS0 quiet ...      cpus 1                  memory 210740          (KiB in /proc/meminfo)
    block vda 1048576 abc                net eth0 52:54:00:...   (bytes and serial, - for none; the address)
    guest-ready

From then on, what happens::

    block+ vdb 1048576 abc    block- vdb    block= sr0 ...       a disk, its removal, another medium or size
    net+ eth1 52:54:00:...    net- eth1     cpu+ 1    cpu- 1     plugged in (and made use of), removed
    memory+ 734000            memory- 210740                     plugged in (a line for each block of it), removed
    key 30                                                       a key pressed, by its number for Linux
    power-button                                                 and the guest powers off; unless its command
                                                                 line has ``ignore-acpi``: then only ``key 116``

A line typed is run by a shell; then ``done COUNT STATUS`` is printed. Nothing typed is echoed. Beside busybox's
commands (``poweroff -f``, ``reboot -f``, ``echo c >/proc/sysrq-trigger`` for a panic) there are::

    disk-write [/dev/vdb] NUMBER TEXT    put a text into a sector of /dev/vda, or of another disk
    disk-read [/dev/vdb] NUMBER          print it; read from the disk, not from memory
    counter                              a count that goes on ten times a second while the guest runs, and only then
    guest-report                         the report again

Files below /run are in memory. A balloon changes memory without a word: ``guest-report`` tells.
"""

from __future__ import annotations

from tests.qemu_guests.console import BOOT_TIMEOUT, Console
from tests.qemu_guests.initrd import KERNEL_ARGS, guest_initrd, guest_kernel

__all__ = ["BOOT_TIMEOUT", "KERNEL_ARGS", "Console", "guest_initrd", "guest_kernel"]
