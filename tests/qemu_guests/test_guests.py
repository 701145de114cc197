"""The guests that other tests boot do what they are said to, in an emulator run by hand."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

from tests.daemons import Process, ProcessTestCase
from tests.interop.peers import require
from tests.qemu_guests import KERNEL_ARGS, Console, boot_disk, guest_initrd, guest_kernel
from tests.qemu_guests.initrd import DEBIAN, module_names, provided

SERIAL_FD = 3
"""The emulator's end of the serial line."""

OVMF = Path("/usr/share/OVMF")
"""Where Debian has the EFI firmware."""

MIB = 1 << 20


class Guest:
    """A running emulator: its serial console, and its monitor on its standard input and output."""

    def __init__(self, process: Process, console: Console) -> None:
        self.process = process
        self.console = console

    async def execute(self, command: str, arguments: str = "{}", answer: str = r'"return"') -> None:
        """Give the monitor a command and wait for something that it prints."""
        self.process.out = b""
        assert self.process.transport is not None
        self.process.transport.write(f'{{"execute": "{command}", "arguments": {arguments}}}\n'.encode())
        await self.process.line(answer)


class GuestTestCase(ProcessTestCase):
    """Starts emulators."""

    timeout = 240

    async def start(
        self, *options: str, direct: bool = True, append: str = "", machine: str = "q35"
    ) -> Guest:
        """Start a guest with options of QEMU's own."""
        require("qemu-system-x86_64")
        program = shutil.which("qemu-system-x86_64")
        assert program is not None
        ours, theirs = socket.socketpair()
        with ours, theirs:
            boot = ["-kernel", str(guest_kernel()), "-initrd", str(guest_initrd())] if direct else []
            append_to = ["-append", f"{KERNEL_ARGS} {append}"] if direct else []
            process = self.spawn(
                program,
                *("-accel", "tcg", "-machine", machine, "-nodefaults", "-no-user-config", "-display", "none"),
                *("-chardev", "stdio,id=monitor", "-mon", "chardev=monitor,mode=control"),
                *("-chardev", f"socket,id=serial,fd={SERIAL_FD}", "-device", "isa-serial,chardev=serial"),
                *("-m", "256M", "-no-reboot"),
                *boot,
                *append_to,
                *options,
                descriptors={SERIAL_FD: theirs.fileno()},
            )
            console = Console.adopt(ours)
        self.addCleanup(console.close)
        await process.line('"QMP"')
        guest = Guest(process, console)
        await guest.execute("qmp_capabilities")
        return guest

    def disk(self) -> Path:
        """An empty disk of one MiB."""
        path = Path(self.mktemp())
        path.write_bytes(bytes(MIB))
        return path


class Report(GuestTestCase):
    """What a guest prints when it has booted, and the commands that it takes."""

    async def test_report_and_commands(self) -> None:
        """It names what it was given; sectors written are in the image; it counts while it runs."""
        disk = self.disk()
        guest = await self.start(
            *("-smp", "2"),
            *("-drive", f"if=none,id=disk,format=raw,file={disk}"),
            *("-device", "virtio-blk-pci,drive=disk,serial=first"),
            *("-device", "virtio-net-pci,mac=52:54:00:01:02:03"),
            append="one=two",
        )
        report = await guest.console.boot()
        self.assertRegex(report, r"(?m)^cmdline .*\bone=two$")
        self.assertRegex(report, r"(?m)^cpus 2$")
        self.assertRegex(report, rf"(?m)^block vda {MIB} first$")
        self.assertRegex(report, r"(?m)^net eth0 52:54:00:01:02:03$")
        self.assertNotIn("no-module", report)
        memory = re.search(r"(?m)^memory (\d+)$", report)
        assert memory is not None
        self.assertTrue(150 << 10 < int(memory[1]) < 256 << 10, memory[0])

        self.assertEqual(await guest.console.command("echo hello"), "hello")
        await guest.console.command("disk-write 5 'some text'")
        self.assertEqual(disk.read_bytes()[5 * 512 :].rstrip(b"\0"), b"some text")
        self.assertEqual(await guest.console.command("disk-read 5"), "some text")
        with self.assertRaisesRegex(AssertionError, "ended with 3"):
            await guest.console.command("exit 3")

        before = int(await guest.console.command("counter"))
        await guest.console.command(f"until [ $(counter) -gt {before} ]; do sleep 0.1; done")

    async def test_panic(self) -> None:
        """A guest that crashes says so."""
        guest = await self.start("-device", "pvpanic", "-action", "panic=pause")
        await guest.console.boot()
        guest.console.send_line("echo c >/proc/sysrq-trigger")
        await guest.process.line("GUEST_PANICKED")


class Power(GuestTestCase):
    """The power button."""

    async def test_powers_off(self) -> None:
        """A guest obeys the power button, and its emulator ends."""
        guest = await self.start()
        await guest.console.boot()
        await guest.execute("system_powerdown")
        await guest.console.wait_for("power-button")
        self.assertEqual(await self.ended(guest.process), 0)

    async def test_ignores(self) -> None:
        """A guest that was told so ignores the power button; its shell still powers off."""
        guest = await self.start(append="ignore-acpi")
        await guest.console.boot()
        await guest.execute("system_powerdown")
        await guest.console.wait_for("key 116$")
        self.assertEqual(await guest.console.command("echo still here"), "still here")
        guest.console.send_line("poweroff -f")
        self.assertEqual(await self.ended(guest.process), 0)


class HotPlug(GuestTestCase):
    """What is plugged in while a guest runs, and keys pressed."""

    async def test_devices(self) -> None:
        """Disks, interfaces, memory and keys are noticed; disks and interfaces also when they are removed."""
        disk = self.disk()
        guest = await self.start(
            *("-m", "256M,slots=2,maxmem=1G"),
            *("-device", "pcie-root-port,id=port1,chassis=1"),
            *("-device", "pcie-root-port,id=port2,chassis=2"),
            *("-blockdev", f"driver=file,node-name=disk,filename={disk}"),
        )
        await guest.console.boot()

        disk_device = (
            '{"driver": "virtio-blk-pci", "id": "d", "drive": "disk", "bus": "port1", "serial": "late"}'
        )
        await guest.execute("device_add", disk_device)
        await guest.console.wait_for(rf"block\+ vda {MIB} late$")
        net_device = '{"driver": "virtio-net-pci", "id": "n", "bus": "port2", "mac": "52:54:00:0a:0b:0c"}'
        await guest.execute("device_add", net_device)
        await guest.console.wait_for(r"net\+ eth0 52:54:00:0a:0b:0c$")
        for device, line in (("d", "block- vda$"), ("n", "net- eth0$")):
            await guest.execute("device_del", f'{{"id": "{device}"}}', "DEVICE_DELETED")
            await guest.console.wait_for(line)

        await guest.execute(
            "object-add", f'{{"qom-type": "memory-backend-ram", "id": "m", "size": {128 * MIB}}}'
        )
        await guest.execute("device_add", '{"driver": "pc-dimm", "id": "dimm", "memdev": "m"}')
        memory = await guest.console.wait_for(r"memory\+ (\d+)$")
        self.assertGreater(int(memory[1]), 256 << 10)

        await guest.execute("send-key", '{"keys": [{"type": "qcode", "data": "b"}]}')
        await guest.console.wait_for(r"key 48$")

    async def test_cpu(self) -> None:
        """A CPU plugged in is put to work."""
        # It stays: when a CPU is removed, QEMU 7.2 without KVM corrupts its memory and dies soon after.
        guest = await self.start("-smp", "1,sockets=2,maxcpus=2")
        await guest.console.boot()
        cpu = '{"driver": "qemu64-x86_64-cpu", "id": "c", "socket-id": 1, "core-id": 0, "thread-id": 0}'
        await guest.execute("device_add", cpu)
        await guest.console.wait_for(r"cpu\+ 1$")
        self.assertEqual(await guest.console.command("nproc"), "2")


class BootDisk(GuestTestCase):
    """The disk that boots by itself."""

    async def boot_from(self, *options: str) -> str:
        """Boot a guest from it; its report."""
        folder = Path(self.mktemp())
        folder.mkdir()
        disk = boot_disk(folder)
        guest = await self.start(
            *("-drive", f"if=none,id=disk,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=disk"),
            *options,
            direct=False,
        )
        return await guest.console.boot()

    async def test_bios(self) -> None:
        """SeaBIOS starts its boot loader."""
        report = await self.boot_from()
        self.assertRegex(report, r"(?m)^cmdline BOOT_IMAGE=vmlinuz.efi .*console=ttyS0")
        self.assertRegex(report, r"(?m)^block vda 16777216 -$")

    async def test_efi(self) -> None:
        """OVMF's shell starts the kernel."""
        require("ovmf")
        variables = Path(self.mktemp())
        shutil.copyfile(OVMF / "OVMF_VARS_4M.fd", variables)
        report = await self.boot_from(
            *("-drive", f"if=pflash,format=raw,readonly=on,file={OVMF / 'OVMF_CODE_4M.fd'}"),
            *("-drive", f"if=pflash,format=raw,file={variables}"),
        )
        self.assertRegex(report, r"(?m)^cmdline fs0:\\vmlinuz.efi .*console=ttyS0")


class Modules(ProcessTestCase):
    """The kernel modules."""

    def test_order(self) -> None:
        """Each module comes after those that it needs, so that the guest need not sort them."""
        for arch in DEBIAN:
            folder = provided(arch) / "modules"
            earlier: set[str] = set()
            for name in module_names(arch):
                needs = re.search(rb"\0depends=([^\0]*)\0", (folder / f"{name}.ko").read_bytes())
                assert needs is not None, name
                missing = set(filter(None, needs[1].decode().replace("-", "_").split(","))) - earlier
                self.assertEqual(missing, set(), f"{name} comes before what it needs")
                earlier.add(name.replace("-", "_"))
