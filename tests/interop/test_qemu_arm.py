"""A guest with an ARM processor, emulated: booted by QEMU itself and by UEFI firmware, by the real virsh.

A boot takes three seconds without firmware, six with it.
"""

from __future__ import annotations

from pathlib import Path

from tests.interop.peers import require
from tests.interop.qemu_session import GuestTestCase, uuid_of
from tests.qemu_guests import ARM_KERNEL_ARGS, Console, guest_initrd, guest_kernel

MIB = 1 << 20

MAC = "52:54:00:01:02:03"

PORTS = "".join(f"<controller type='pci' index='{n}' model='pcie-root-port'/>" for n in range(1, 9))
"""Root ports: each takes one device."""

GUEST = """
<domain type='qemu'>
  <name>guest</name><uuid>{uuid}</uuid>
  <memory unit='MiB'>256</memory><vcpu>2</vcpu>
  <os{attributes}>{firmware}
    <type arch='aarch64' machine='virt'>hvm</type>
    <kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{cmdline}</cmdline>
  </os>
  <features>{features}<gic version='{gic}'/></features>
  <cpu mode='custom' match='exact'><model>{cpu}</model></cpu>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{folder}/one.raw'/><target dev='vda' bus='virtio'/>
      <serial>one</serial>
    </disk>
    <interface type='user'><mac address='{mac}'/><model type='virtio'/></interface>
    <controller type='pci' index='0' model='pcie-root'/>{ports}
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <serial type='pty'/>
  </devices>
</domain>
"""


class ArmTests(GuestTestCase):
    """The machine ``virt``."""

    def setUp(self) -> None:
        require("qemu-system-aarch64", "aavmf")
        super().setUp()
        for name, size in (("one.raw", MIB), ("two.raw", 2 * MIB)):
            with (self.daemon.directory / name).open("wb") as image:
                image.truncate(size)

    def machine(
        self, *, firmware: str = "", features: str = "", cpu: str = "cortex-a57", gic: int = 2
    ) -> Path:
        """The document of the guest, in a file."""
        text = GUEST.format(
            uuid=uuid_of("guest"),
            attributes=" firmware='efi'" if firmware else "",
            firmware=firmware,
            features=features,
            cpu=cpu,
            gic=gic,
            kernel=guest_kernel("aarch64"),
            initrd=guest_initrd("aarch64"),
            cmdline=ARM_KERNEL_ARGS,
            folder=self.daemon.directory,
            mac=MAC,
            ports=PORTS,
        )
        return self.document("guest", text)

    def check_report(self, report: str) -> None:
        """What the guest has seen."""
        for line in ("cpus 2", f"block vda {MIB} one", f"net eth0 {MAC}"):
            self.assertRegex(report, rf"(?m)^{line}$")
        self.assertNotIn("no-module", report)
        self.assertRegex(report, r"(?m)^memory 2[23]\d{4}$")

    async def check_disks(self, console: Console) -> None:
        """Disks are plugged in on both buses, and the SCSI one goes."""
        path = str(self.daemon.directory / "two.raw")
        await self.virsh("attach-disk", "guest", path, "vdb", "--serial", "two")
        await console.wait_for(rf"^block\+ vdb {2 * MIB} two$")
        await console.command("disk-write /dev/vdb 3 'written on ARM'")
        self.assertEqual(b"written on ARM", Path(path).read_bytes()[3 * 512 :][:14])
        extra = self.daemon.directory / "three.raw"
        extra.write_bytes(bytes(3 * MIB))
        await self.virsh("attach-disk", "guest", str(extra), "sdb", "--targetbus", "scsi")
        name = (await console.wait_for(rf"^block\+ (sd\w+) {3 * MIB} -$"))[1]
        await self.virsh("detach-disk", "guest", "sdb")
        await console.wait_for(f"^block- {name}$")

    async def test_direct(self) -> None:
        """QEMU starts the kernel; the guest sees what it was given, and ends by itself."""
        await self.begin()
        await self.virsh("create", str(self.machine(cpu="max", gic=3)))
        console = await self.console()
        self.check_report(await console.boot())
        # version 3 of the interrupt controller, as the device tree tells it
        self.assertIn("gic-v3", await console.command("cat /proc/device-tree/intc*/compatible; echo"))
        console.send_line("poweroff -f")
        await console.wait_for("reboot: Power down$")
        await self.is_gone()
        await self.nothing_left()

    async def test_firmware(self) -> None:
        """UEFI starts it, its variables stay; disks come and go; it is saved; its power button works."""
        await self.begin()
        # the kernel is Debian's, which the keys that firmware comes with by default do not know
        firmware = "<firmware><feature enabled='no' name='secure-boot'/></firmware>"
        efi = self.machine(firmware=firmware, features="<acpi/>")
        await self.virsh("define", str(efi))
        await self.virsh("start", "guest")
        console = await self.console()
        report = await console.boot()
        self.check_report(report)
        self.assertEqual("64", await console.command("cat /sys/firmware/efi/fw_platform_size"))
        variables = self.daemon.state / "qemu" / "nvram" / "guest_VARS.fd"
        self.assertEqual(64 * MIB, variables.stat().st_size)
        template = Path("/usr/share/AAVMF/AAVMF_VARS.fd").read_bytes()
        self.assertNotEqual(template, variables.read_bytes())

        await self.check_disks(console)
        await console.command("echo kept >/run/note")
        saved = str(self.daemon.directory / "saved")
        await self.virsh("save", "guest", saved)
        await self.virsh("restore", saved)
        await console.close()
        console = await self.console()
        self.assertEqual("kept", await console.command("cat /run/note"))
        await self.virsh("detach-disk", "guest", "vdb")
        await console.wait_for("^block- vdb$")

        await self.virsh("shutdown", "guest")
        await console.wait_for("^power-button$")
        await self.state_is("shut off (shutdown)")
        self.assertIn("cannot undefine domain with nvram", await self.refused("undefine", "guest"))
        await self.virsh("undefine", "guest", "--nvram")
        self.assertFalse(variables.exists())
        await self.nothing_left()
