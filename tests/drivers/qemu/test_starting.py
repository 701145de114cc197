"""What a guest gets when it starts, and what a device gets that is added: names, firmware, addresses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu import displays
from remotevirt.drivers.qemu.complete.aliases import assign_alias, assign_aliases
from remotevirt.drivers.qemu.complete.choice import choose_firmware
from remotevirt.drivers.qemu.complete.places import assign_address
from remotevirt.drivers.qemu.documents import NVRAM_DIRECTORY, QemuDefaults, QemuDefinition, definitions_for
from remotevirt.drivers.qemu.firmware import Firmware
from remotevirt.drivers.qemu.guest import Details
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, OperationFailed, XmlError
from remotevirt.xml.domain.address import DriveAddress
from remotevirt.xml.domain.disk import Disk, DiskTarget
from remotevirt.xml.domain.interface import Interface
from remotevirt.xml.domain.media import Input
from remotevirt.xml.fields import Printing
from remotevirt.xml.write import render
from tests.drivers.qemu.recorded import recorded_emulators

STARTED = Path(__file__).with_name("started.json")
Definition = definitions_for(recorded_emulators(), arch="x86_64")
DEFAULTS = Definition.DEFAULTS
assert isinstance(DEFAULTS, QemuDefaults)


def firmware(name: str, *features: str, arch: str = "x86_64", machine: str = "pc-q35-*") -> Firmware:
    """UEFI firmware like that of Debian."""
    folder, size = ("OVMF", "_4M") if arch == "x86_64" else ("AAVMF", "")
    keys = ".ms" if "enrolled-keys" in features else ""
    return Firmware(
        f"/usr/share/{folder}/{folder}_CODE{size}{name}.fd",
        f"/usr/share/{folder}/{folder}_VARS{size}{keys}.fd",
        frozenset({"uefi"}),
        ((arch, (machine,) if features else (machine, "pc-i440fx-*")),),
        frozenset(features),
    )


KNOWN = [
    firmware(".ms", "enrolled-keys", "secure-boot", arch="aarch64", machine="virt-*"),
    firmware(".ms", "acpi-s3", "enrolled-keys", "requires-smm", "secure-boot"),
    firmware(".secboot", "acpi-s3", "requires-smm", "secure-boot"),
    firmware(""),
]


def guest(devices: str = "", machine: str = "q35") -> QemuDefinition:
    """A guest."""
    return Definition.parse(
        "<domain type='qemu'><name>g</name><uuid>8a9b6c1e-0000-4000-8000-000000000000</uuid>"
        f"<memory>65536</memory><os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
        f"<devices>{devices}</devices></domain>"
    )


def new_disk(name: str, bus: str = "virtio") -> Disk:
    """A disk that is about to be added."""
    disk = Disk()
    disk.target = DiskTarget()
    disk.target.dev, disk.target.bus = name, bus
    return disk


def place_of(device: Any) -> tuple[int, ...]:
    """Bus, slot and function of a device."""
    place = device.info.address.place
    return (place.bus, place.slot, place.function)


class PortTests(TestCase):
    """The port of a display."""

    def chosen(self, taken: set[int], busy: set[int]) -> tuple[int, int]:
        """Return which port a guest gets, and how many were tried."""
        tried: list[int] = []

        def is_free(port: int) -> bool:
            tried.append(port)
            return port not in busy

        self.patch(displays, "_is_free", is_free)
        other: Any = SimpleNamespace(details=Details(ports=sorted(taken)))
        world: Any = SimpleNamespace(guests=lambda: [other])
        mine: Any = SimpleNamespace(details=Details(), world=world)
        port = displays._choose(mine, displays.FIRST_PORT, "vnc")
        self.assertEqual([port], mine.details.ports)
        return port, len(tried)

    def test_choice(self) -> None:
        """It is the first that no guest has and that is free; only some are tried, then QEMU looks on."""
        self.assertEqual((5900, 1), self.chosen(set(), set()))
        self.assertEqual((5903, 2), self.chosen({5900, 5901}, {5902}))
        many = displays.FIRST_PORT + displays.PROBES
        self.assertEqual((many, displays.PROBES), self.chosen(set(), set(range(5900, 65536))))
        everything = set(range(5900, 65536))
        self.assertRaises(InternalError, self.chosen, everything, set())


class StartedTests(TestCase):
    """Guests that libvirt started, recorded."""

    def test_names_and_firmware(self) -> None:
        """Devices are called as libvirt calls them, and firmware is chosen as it chooses."""
        for about, text, names, system in json.loads(STARTED.read_text()):
            model = Definition.parse(text).model
            if system is None:
                error = self.assertRaises(OperationFailed, choose_firmware, model, KNOWN, NVRAM_DIRECTORY)
                self.assertEqual([int(error.code), int(error.domain), error.message], names, about)
                continue
            choose_firmware(model, KNOWN, NVRAM_DIRECTORY)
            assign_aliases(model)
            how = Printing(secure=False, inactive=False, migratable=False)
            devices = model.devices.element(how)
            mine = []
            for tag in devices.children[1:]:
                alias = [dict(one.attributes)["name"] for one in tag.children if one.name == "alias"]
                mine.append([tag.name, alias[0] if alias else None])
            self.assertEqual(mine, names, about)
            printed = render(model.os.element(how))
            self.assertEqual(printed.split(), system.split(), about)


class PlugTests(TestCase):
    """Devices that are added to a guest."""

    def test_root_port(self) -> None:
        """The first free root port is taken, then the next, until there is none."""
        model = guest().model
        disk = new_disk("vda")
        assign_address(model, disk)
        self.assertEqual(place_of(disk), (3, 0, 0))
        model.devices.disks.append(disk)
        error = self.assertRaises(InternalError, assign_address, model, new_disk("vdb"))
        self.assertEqual(error.message, "internal error: No more available PCI slots")

    def test_old_slot(self) -> None:
        """On the old PC any slot will do."""
        model = guest(machine="pc").model
        interface = Interface()
        interface.model = "virtio"
        assign_address(model, interface)
        self.assertEqual(place_of(interface), (0, 3, 0))

    def test_taken(self) -> None:
        """A place that a device asks for has to be free."""
        model = guest("<memballoon model='virtio'><address type='pci' slot='7'/></memballoon>", "pc").model
        disk = new_disk("vda")
        disk.info.address = model.devices.memballoon.info.address
        error = self.assertRaises(XmlError, assign_address, model, disk)
        self.assertEqual(error.message, "XML error: Attempted double use of PCI Address 0000:00:07.0")

    def test_usb(self) -> None:
        """Ports of USB are given in turn."""
        model = guest("<input type='tablet' bus='usb'/>").model
        keyboard = Input()
        keyboard.type, keyboard.bus = "keyboard", "usb"
        assign_address(model, keyboard)
        self.assertEqual(keyboard.info.address.port, "2")

    def test_fit(self) -> None:
        """A device is completed, placed and checked at once."""
        model = guest("<controller type='scsi' model='virtio-scsi'/>").model
        disk = new_disk("sdb", "scsi")
        DEFAULTS.fit(model, disk)
        address = disk.info.address
        self.assertIsInstance(address, DriveAddress)
        self.assertEqual((disk.driver and disk.driver.type, address and address.unit), ("raw", 1))
        disk = new_disk("vda")
        disk.device = "cdrom"
        error = self.assertRaises(ConfigUnsupported, DEFAULTS.fit, model, disk)
        self.assertIn("does not support ejectable media", error.message)

    def test_names(self) -> None:
        """Names of added devices follow the highest that is there, and users' own names stay."""
        model = guest(
            "<interface type='user'/><interface type='user'><alias name='ua-x'/></interface>"
            "<interface type='user'/>"
        ).model
        assign_aliases(model)
        self.assertEqual([one.info.alias for one in model.devices.interfaces], ["net0", "ua-x", "net1"])
        del model.devices.interfaces[0]
        interface = Interface()
        assign_alias(model, interface)
        self.assertEqual(interface.info.alias, "net2")
        disk = new_disk("vdc")
        assign_alias(model, disk)
        self.assertEqual(disk.info.alias, "virtio-disk2")
