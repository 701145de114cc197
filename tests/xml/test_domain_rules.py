"""What devices may be together in a domain, as libvirt 9.0.0 was seen to answer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.xml.domain import DomainDefaults, parse_domain
from tests.xml.record import framed

DEFAULTS = DomainDefaults()
KIND = "<vendor id='0x1234'/><product id='0xbeef'/>"
PLACE = "<address bus='1' device='2'/>"
NO_USB = "<controller type='usb' model='none'/>"


def usb(source: str) -> str:
    """Return a USB device of the host."""
    return f"<hostdev mode='subsystem' type='usb'><source>{source}</source></hostdev>"


def scsi(number: int, unit: int) -> str:
    """Return a SCSI device of the host, at a unit of the guest's first controller."""
    source = f"<source><adapter name='scsi_host0'/><address bus='0' target='0' unit='{number}'/></source>"
    return f"<hostdev mode='subsystem' type='scsi'>{source}{drive(unit)}</hostdev>"


def drive(unit: int) -> str:
    """Return a drive's address."""
    return f"<address type='drive' controller='0' bus='0' target='0' unit='{unit}'/>"


def disk(target: str, source: str = "<source file='/x'/>", *, rest: str = "", kind: str = "file") -> str:
    """Return a disk with the attributes of its target."""
    return f"<disk type='{kind}' {rest}>{source}<target {target}/></disk>"


class Rules(SynchronousTestCase):
    """Each rule, by what it refuses and what it lets pass."""

    def refusals(self, *pairs: tuple[str, str]) -> None:
        """Assert with which words documents with some devices are refused."""
        for devices, words in pairs:
            error = self.assertRaises(VirError, parse_domain, framed("devices", devices), defaults=DEFAULTS)
            self.assertIn(words, error.message, devices)

    def accepted(self, *documents: str) -> None:
        """Assert that documents with some devices are taken."""
        for devices in documents:
            parse_domain(framed("devices", devices), defaults=DEFAULTS)

    def test_hostdev_twice(self) -> None:
        """A device of the host is there once; the earlier of two says whether place or kind is compared."""
        words = "Hostdev already exists in the domain configuration"
        for first, second in ((KIND, KIND), (PLACE, PLACE), (KIND, KIND + PLACE), (KIND + PLACE, PLACE)):
            self.refusals((usb(first) + usb(second), words))
        self.accepted(usb(KIND + PLACE) + usb(KIND), usb(KIND) + usb(KIND.replace("beef", "beee")))
        self.refusals((scsi(0, 1) + scsi(0, 2), words))

    def test_scsi_addresses(self) -> None:
        """A unit is a disk's or a host device's."""
        shown = "SCSI host address controller='0' bus='0' target='0' unit='1' in use by"
        taken = disk("dev='sda' bus='scsi'", f"<source file='/x'/>{drive(1)}")
        self.refusals(
            (taken + scsi(0, 1), f"{shown} a SCSI disk"),
            (scsi(0, 1) + scsi(1, 1), f"{shown} another SCSI host device"),
        )
        self.accepted(taken + scsi(0, 2))

    def test_no_usb(self) -> None:
        """No USB controller, no USB device."""
        self.refusals((usb(KIND) + NO_USB, "Can't add host USB device: USB is disabled in this host"))

    def test_controllers(self) -> None:
        """An index is given once for each type, except to the parts of one USB 2 controller."""
        scsi_at = "<controller type='scsi' index='{}'/>"
        self.refusals((scsi_at.format(1) * 2, "Multiple 'scsi' controllers with index '1'"))
        self.accepted(scsi_at.format(1) + scsi_at.format(2))
        part = "<controller type='usb' index='0' model='ich9-{}'/>"
        self.accepted(part.format("ehci1") + part.format("uhci1") + part.format("uhci2"))

    def test_disk_kinds(self) -> None:
        """Name, bus and source suit the device."""
        lun, floppy = "device='lun'", "device='floppy'"
        self.refusals(
            (disk("dev='sda' bus='fdc'"), "Invalid bus type 'fdc' for disk"),
            (
                disk("dev='vda' bus='virtio'", rest=floppy),
                "Invalid bus type 'virtio' for floppy disk",
            ),
            (disk("dev='fda' bus='virtio'"), "Invalid harddisk device name: fda"),
            (disk("dev='sda'", rest=lun), "disk device='lun' is only valid for block type disk source"),
            (disk("dev='sda'", rest="rawio='yes'"), "rawio can be used only with device='lun'"),
        )
        self.accepted(disk("dev='sda'", "<source dev='/dev/x'/>", rest=lun, kind="block"))
