"""A guest on a PC with UEFI: its firmware's variables, its drives and sticks, its screen, its watchdog.

A boot is what costs time, so one guest serves all checks that need an operating system.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.interop.peers import require, run_virsh
from tests.interop.qemu_session import GuestTestCase, QemuLibvirtd, RemotevirtQemu, until, uuid_of
from tests.interop.rfb import log_in
from tests.qemu_guests import KERNEL_ARGS, Console, guest_initrd, guest_kernel

MIB = 1 << 20

GUEST = """
<domain type='qemu'>
  <name>guest</name><uuid>{uuid}</uuid>
  <memory unit='MiB'>256</memory><vcpu>1</vcpu>
  <os firmware='efi'>
    <type arch='x86_64' machine='q35'>hvm</type>
    <firmware><feature enabled='no' name='secure-boot'/></firmware>
    <kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='scsi'/></disk>
    <disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <controller type='usb' index='0' model='qemu-xhci'/>
    <input type='tablet' bus='usb'/><input type='keyboard' bus='virtio'/>
    <graphics type='vnc' passwd='first'/>
    <watchdog model='i6300esb' action='dump'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <serial type='pty'/>
  </devices>
</domain>
"""

FIRMWARE = """
<domain type='qemu'>
  <name>guest</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os{os}</os><features><acpi/>{features}</features>
  <cpu mode='maximum'/>
  <devices><memballoon model='none'/></devices>
</domain>
"""

TYPE = "<type arch='x86_64' machine='q35'>hvm</type>"

CODE = "/usr/share/OVMF/OVMF_CODE_4M"

CHOICES = (
    (f" firmware='efi'>{TYPE}", ""),
    (f" firmware='efi'>{TYPE}<firmware><feature enabled='no' name='secure-boot'/></firmware>", ""),
    (f" firmware='efi'>{TYPE}<firmware><feature enabled='yes' name='enrolled-keys'/></firmware>", ""),
    (f" firmware='efi'>{TYPE}", "<smm state='off'/>"),
    (f">{TYPE}<loader readonly='yes' type='pflash'>{CODE}.ms.fd</loader>", ""),
    (f">{TYPE}<loader readonly='yes' type='pflash'>{CODE}.none.fd</loader>", ""),
)
"""What documents say of the firmware: the content of ``<os`` and more features."""


class MediaTests(GuestTestCase):
    """A guest that UEFI firmware has started."""

    def image(self, name: str, size: int) -> str:
        """An image of so many bytes; its path."""
        path = self.daemon.directory / name
        with path.open("wb") as file:
            file.truncate(size)
        return str(path)

    async def test_guest(self) -> None:
        """What is changed from outside is seen inside, and what happens inside outside."""
        require("ovmf")
        await self.begin()
        text = GUEST.format(
            uuid=uuid_of("guest"),
            kernel=guest_kernel(packed=True),
            initrd=guest_initrd(),
            cmdline=KERNEL_ARGS,
        )
        await self.virsh("define", str(self.document("guest", text)))
        await self.virsh("start", "guest")
        console = await self.console()
        await console.boot()
        self.assertEqual("64", await console.command("cat /sys/firmware/efi/fw_platform_size"))
        await self.check_drives(console)
        await self.check_floppy()
        await self.check_sticks(console)
        await self.check_small(console)
        await self.check_screen()
        await self.check_watchdog(console)
        await self.check_variables()

    async def check_drives(self, console: Console) -> None:
        """Media come, are changed, and go, in drives on both buses."""
        small, large = self.image("small.iso", MIB), self.image("large.iso", 2 * MIB)
        for target in ("sda", "sdb"):
            await self.virsh("change-media", "guest", target, small, "--insert")
            drive = (await console.command(f"{FIND_MEDIUM} {MIB // 512}")).splitlines()[-1]
            self.assertRegex(drive, r"\Asr[01]\Z")
            await self.virsh("change-media", "guest", target, large, "--update")
            await console.command(f"{FIND_MEDIUM} {2 * MIB // 512}")
            await self.virsh("change-media", "guest", target, "--eject")
            await console.command(
                f"until ! blockdev --getsize64 /dev/{drive} 2>/dev/null; do sleep 0.1; done"
            )
            self.assertNotIn(".iso", await self.virsh("dumpxml", "guest"))
            self.assertIn(
                "doesn't have media", await self.refused("change-media", "guest", target, "--eject")
            )

    async def check_floppy(self) -> None:
        """QEMU has the floppy that was put in, and no longer when it was taken out."""
        path = self.image("floppy.img", 1440 * 1024)
        await self.virsh("change-media", "guest", "fda", path, "--insert")
        self.assertIn(path, await self.monitor("query-block"))
        await self.virsh("change-media", "guest", "fda", "--eject")
        self.assertNotIn(path, await self.monitor("query-block"))

    async def monitor(self, command: str) -> str:
        """What QEMU answers."""
        return await self.virsh("qemu-monitor-command", "guest", json.dumps({"execute": command}))

    async def check_sticks(self, console: Console) -> None:
        """Disks come and go on USB."""
        path = self.image("stick.img", 3 * MIB)
        await self.virsh("attach-disk", "guest", path, "sdx", "--targetbus", "usb", "--serial", "stick")
        # it sits behind a controller that Linux waits for
        name = (await console.wait_for(rf"^block[+=] (sd\w+) {3 * MIB} "))[1]
        await console.command(f"disk-write /dev/{name} 2 'by the guest'")
        self.assertEqual(b"by the guest", Path(path).read_bytes()[1024:1036])
        await self.virsh("detach-disk", "guest", "sdx")
        await console.wait_for(f"^block- {name}$")

    async def check_small(self, console: Console) -> None:
        """Random numbers, input devices, keys."""
        self.assertEqual("virtio_rng.0", await console.command("cat /sys/class/misc/hw_random/rng_current"))
        self.assertEqual("16", await console.command("head -c 16 /dev/hwrng | wc -c"))
        names = await console.command("cat /sys/class/input/input*/name")
        self.assertIn("QEMU QEMU USB Tablet", names)
        self.assertIn("QEMU Virtio Keyboard", names)
        await self.virsh("send-key", "guest", "KEY_B")
        await console.wait_for("^key 48$")

    async def check_screen(self) -> None:
        """Who has the password gets in, until it is another one or its time is over."""
        display = await self.virsh("vncdisplay", "guest")
        self.assertRegex(display, r"\A127\.0\.0\.1:\d+\Z")
        port = 5900 + int(display.rpartition(":")[2])

        async def enters(password: str) -> bool:
            return await deferToThread(log_in, port, password)

        async def change(attributes: str) -> None:
            text = f"<graphics type='vnc' autoport='yes' {attributes}/>"
            await self.virsh("update-device", "guest", str(self.document("screen", text)))

        self.assertEqual((True, False), (await enters("first"), await enters("firsT")))
        await change("passwd='second'")
        self.assertEqual((False, True), (await enters("first"), await enters("second")))
        now = datetime.now(UTC)
        for days, open_ in ((-1, False), (2, True)):
            end = (now + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S")
            await change(f"passwd='second' passwdValidTo='{end}'")
            self.assertEqual(open_, await enters("second"), end)
            self.assertIn(f"passwdValidTo='{end}'", await self.virsh("dumpxml", "guest"))
        await change("passwd=''")
        self.assertFalse(await enters(""))
        # the password cannot be taken away, so without one nothing changes
        await change("")
        self.assertFalse(await enters(""))
        long = str(self.document("screen", "<graphics type='vnc' autoport='yes' passwd='ninechars'/>"))
        self.assertIn("only 8 permitted", await self.refused("update-device", "guest", long))

    async def check_watchdog(self, console: Console) -> None:
        """A guest that neglects its watchdog is paused, its memory is kept, and it goes on."""
        watching = await self.watch()
        folder = self.daemon.state / "qemu" / "dump"
        # it bites after a second, and would be fed after a thousand
        console.send_line("watchdog -T 1 -t 1000 /dev/watchdog")
        await until(lambda: "guest lifecycle Resumed Unpaused" in watching.events())
        await console.command("killall watchdog")
        heard = [event for event in watching.events() if re.match("guest (watchdog|lifecycle)", event)]
        bitten = [
            "guest watchdog pause",
            "guest lifecycle Suspended Watchdog",
            "guest lifecycle Resumed Unpaused",
        ]
        self.assertEqual(bitten, heard[:3])
        kept = next(folder.iterdir())
        self.assertGreater(kept.stat().st_size, 256 * MIB)
        self.assertEqual("running (unpaused)", await self.state())

    async def check_variables(self) -> None:
        """The firmware's variables stay from start to start, unless they shall not, and go when told so."""
        path = self.daemon.state / "qemu" / "nvram" / "guest_VARS.fd"
        fresh = Path("/usr/share/OVMF/OVMF_VARS_4M.fd").read_bytes()
        await self.virsh("destroy", "guest")
        used = path.read_bytes()
        self.assertNotEqual(fresh, used)
        await self.virsh("start", "guest", "--paused")
        self.assertEqual(used, path.read_bytes())
        await self.virsh("destroy", "guest")
        await self.virsh("start", "guest", "--paused", "--reset-nvram")
        self.assertEqual(fresh, path.read_bytes())
        await self.virsh("destroy", "guest")
        self.assertIn("cannot undefine domain with nvram", await self.refused("undefine", "guest"))
        await self.virsh("undefine", "guest", "--keep-nvram")
        self.assertTrue(path.exists())
        await self.nothing_left()


FIND_MEDIUM = (
    "find_medium() { while sleep 0.1; do for drive in sr0 sr1; do"
    ' [ "$(blockdev --getsz /dev/$drive 2>/dev/null)" != $1 ] || { echo $drive; return; };'
    " done; done; }; find_medium"
)
"""What waits until a drive has a medium of so many sectors, and prints its name."""


class ChoiceTests(GuestTestCase):
    """Which firmware a guest gets."""

    async def test_choice(self) -> None:
        """The same as from libvirt's own daemon, by the same descriptors, and the same is refused."""
        require("libvirtd", "ovmf")
        await self.begin()
        libvirtd = QemuLibvirtd()
        self.addCleanup(libvirtd.stop)
        await deferToThread(libvirtd.start)
        for os, features in CHOICES:
            text = FIRMWARE.format(uuid=uuid_of("guest"), os=os, features=features)
            ours = await self.chosen(self.daemon, text)
            self.assertEqual(await self.chosen(libvirtd, text), ours, os)
        self.assertIn("unable to find any master var store", ours)

    async def chosen(self, daemon: RemotevirtQemu | QemuLibvirtd, text: str) -> str:
        """What a running guest's document says of its firmware, or why there is none."""
        document = daemon.directory / "guest.xml"
        document.write_text(text)
        document.chmod(0o644)

        async def virsh(*words: str) -> str:
            output = await deferToThread(run_virsh, daemon.guests_uri, *words)
            return output.err.strip() if output.status else output.out

        said = [await virsh("define", str(document)), await virsh("start", "guest", "--paused")]
        printed = await virsh("dumpxml", "guest")
        said += re.findall(r"(?s)<os.*?</os>|<features>.*?</features>", printed)
        said += [await virsh(*words.split()) for words in ENDING]
        return re.sub(r"/[^ <]*(/guest(_VARS.fd|.xml))", r"\1", "\n".join(said))


ENDING = ("destroy guest", "undefine guest", "undefine guest --nvram")
"""How such a guest ends."""
