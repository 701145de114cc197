"""What libvirt adds to devices: numbers, addresses, and controllers to plug them into."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.domain.address import CcidAddress, DriveAddress, VirtioSerialAddress
from remotevirt.xml.domain.chardev import (
    Console,
    ConsoleTarget,
    ParallelTarget,
    Serial,
    SerialTarget,
)
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.disk import Disk, disk_index
from remotevirt.xml.domain.document import Devices, DomainModel
from remotevirt.xml.domain.media import Video, VideoModel

__all__ = [
    "add_controllers",
    "address_disks",
    "address_smartcards",
    "complete_characters",
    "complete_inputs",
    "complete_videos",
    "index_controllers",
    "insert_controller",
    "mirror_console",
    "sorted_controllers",
    "sorted_disks",
]


def sorted_disks(disks: list[Disk]) -> list[Disk]:
    """Disks with those of one bus beside each other and in the order of their names."""
    placed: list[Disk] = []
    indexes: list[int] = []
    for disk in disks:
        mine = disk_index(disk.dev)
        if placed and placed[-1].bus == disk.bus and indexes[-1] <= mine:
            # the usual case: those of a bus stand in order, so it comes last
            placed.append(disk)
            indexes.append(mine)
            continue
        position: int | None = None
        for number in range(len(placed) - 1, -1, -1):
            if placed[number].bus != disk.bus:
                continue
            if indexes[number] > mine:
                position = number
            elif position is None:
                position = number + 1
        position = len(placed) if position is None else position
        placed.insert(position, disk)
        indexes.insert(position, mine)
    return placed


def insert_controller(controllers: list[Controller], controller: Controller) -> None:
    """Put a controller beside those of its type, in the order of their numbers."""
    position: int | None = None
    for number in range(len(controllers) - 1, -1, -1):
        other = controllers[number]
        if other.type != controller.type:
            continue
        if controller.index is None:
            position = number + 1
            break
        if other.index is not None and other.index > controller.index:
            position = number
        elif position is None:
            position = number + 1
    controllers.insert(len(controllers) if position is None else position, controller)


USB2_MODELS = frozenset({"ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3"})
"""Controllers that together are one, with one index."""


def sorted_controllers(controllers: list[Controller]) -> list[Controller]:
    """Controllers with those of one type beside each other and in the order of their indexes."""
    placed: list[Controller] = []
    for controller in controllers:
        insert_controller(placed, controller)
    return placed


def index_controllers(devices: Devices) -> None:
    """Number controllers that have no number, and put those of a type beside each other.

    Raises:
        VirError: two have the same number.
    """
    placed = devices.controllers = sorted_controllers(devices.controllers)
    for number, controller in enumerate(placed):
        if controller.index is None:
            controller.index = _companion_index(controller, placed[:number])
        if controller.index is None:
            taken = {other.index for other in placed if other.type == controller.type}
            index = 0
            while index in taken:
                index += 1
            controller.index = index
    seen: set[tuple[str, int | None]] = set()
    for controller in placed:
        key = (controller.type, controller.index)
        if key in seen and controller.type != "usb":
            text = f"Multiple '{controller.type}' controllers with index '{controller.index}'"
            raise XmlError(text, domain=VIR_FROM_DOMAIN)
        seen.add(key)


def _companion_index(controller: Controller, earlier: list[Controller]) -> int | None:
    """Return the index of the USB 2 controllers just before that a controller belongs to, None for none."""
    usb = [other for other in earlier if other.type == "usb"]
    if controller.type != "usb" or not usb or not {controller.model, usb[-1].model} <= USB2_MODELS:
        return None
    index = usb[-1].index
    alike = any(other.index == index and other.model == controller.model for other in usb)
    return None if alike else index


def _port_of(device: Any) -> int:
    port = device.target.port if device.target is not None else None
    return -1 if port is None else int(port)


def _number_ports(devices: list[Any], target: type[Any], *, earlier: bool) -> None:
    """Give a port to those that have none: one more than the highest (of the earlier ones, or of all)."""
    highest = -1 if earlier else max(map(_port_of, devices), default=-1)
    for device in devices:
        if device.target is None:
            device.target = target()
        if device.target.port is None:
            device.target.port = highest + 1
        highest = max(highest, _port_of(device))


def complete_characters(model: DomainModel) -> None:
    """Give consoles, serial and parallel ports what they leave out, and a full machine its first console.

    Raises:
        VirError: a console is a serial port, and not the first one.
    """
    devices = model.devices
    full = model.os.kind is not None and model.os.kind.name == "hvm"
    for number, console in enumerate(devices.consoles):
        assert console.target is not None
        console.target.port = number
        if console.target.type is None:
            console.target.type = "serial"
        if number and console.target.type == "serial":
            raise ConfigUnsupported("Only the first console can be a serial port", domain=VIR_FROM_DOMAIN)
    mirrored = full and _serial_of_console(devices)
    _number_ports(devices.serials, SerialTarget, earlier=False)
    _number_ports(devices.parallels, ParallelTarget, earlier=True)
    if mirrored:
        mirror_console(devices)


def _serial_of_console(devices: Devices) -> bool:
    """Whether the first console of a full machine is its first serial port, whichever of them was given."""
    first = devices.consoles[0] if devices.consoles else None
    if first is not None and first.target is not None and first.target.type == "serial":
        if not devices.serials:
            serial = Serial()
            serial.backend = first.backend
            serial.info = first.info
            serial.target = SerialTarget()
            serial.target.port = 0
            devices.serials.append(serial)
        return True
    if not devices.serials:
        return False
    target = devices.serials[0].target
    if target is not None and target.type not in {None, "isa-serial", "system-serial", "sclp-serial"}:
        return False
    devices.consoles.insert(0, Console())
    return True


def mirror_console(devices: Devices) -> None:
    """Make the first console the image of the first serial port."""
    serial = devices.serials[0]
    mirror = Console()
    mirror.backend = serial.backend.copy()
    if mirror.backend.type == "pty" and mirror.backend.sources:
        mirror.backend.tty = mirror.backend.sources[0].path
    mirror.info = serial.info.copy()
    mirror.target = ConsoleTarget()
    mirror.target.type = "serial"
    mirror.target.port = _port_of(serial)
    devices.consoles[0] = mirror


def complete_inputs(model: DomainModel) -> None:
    """Give keyboards, mice and tablets the bus that is usual on their machine."""
    arch = model.os.kind.arch if model.os.kind else ""
    kind = model.os.kind.name if model.os.kind else ""
    for device in model.devices.inputs:
        if device.bus is not None or device.type == "evdev":
            continue
        if device.type == "passthrough":
            device.bus = "virtio"
        elif kind == "hvm":
            ps2 = device.type in {"mouse", "keyboard"} and arch in {"i686", "x86_64"}
            device.bus = "ps2" if ps2 else "usb"
        elif kind in {"xen", "xenpvh", "linux"}:
            device.bus = "xen"


_VRAM = {"vga": 16384, "cirrus": 16384, "vmvga": 16384, "bochs": 16384, "xen": 4096, "qxl": 65536}
_VRAM_OF_GUEST = {"vbox": 8192, "vmware": 4096}


def complete_videos(model: DomainModel, usual: str) -> None:
    """Add a graphics card where there is something to see, and fill in what cards leave out."""
    devices = model.devices
    if devices.graphics and not devices.videos:
        video = Video()
        video.model = VideoModel()
        devices.videos.append(video)
    primary = [video for video in devices.videos if video.model and video.model.primary]
    if len(primary) > 1:
        raise ConfigUnsupported("Only one primary video device is supported", domain=VIR_FROM_DOMAIN)
    for number, video in enumerate(devices.videos):
        card = video.model
        if card is None:
            continue
        if card.type is None:
            kind = model.os.kind.name if model.os.kind else ""
            card.type = "xen" if kind in {"xen", "linux"} else usual
        if card.type == "none":
            if len(devices.videos) > 1:
                raise ConfigUnsupported(
                    "a 'none' video type must be the only video device defined for the domain",
                    domain=VIR_FROM_DOMAIN,
                )
            video.info.address = card.vram = None
            continue
        if card.vram is None:
            card.vram = _VRAM.get(card.type)
            if card.type in {"vga", "cirrus", "vmvga"}:
                card.vram = _VRAM_OF_GUEST.get(model.type, card.vram)
        if card.type == "qxl" and card.ram is None:
            card.ram = 65536
        for name in ("ram", "vram"):
            size = getattr(card, name)
            if size:
                setattr(card, name, 1 << (size - 1).bit_length())
        if card.heads is None:
            card.heads = 1
        card.heads = card.heads or None
        if not primary and number == 0:
            card.primary = True
    if primary and devices.videos[0] not in primary:
        devices.videos.remove(primary[0])
        devices.videos.insert(0, primary[0])


_DISK_PLACES = {"ide": (4, 2), "fdc": (2, 2), "scsi": (7, 7), "sata": (6, 6)}


def address_disks(devices: Devices) -> None:
    """Give disks their places on controllers.

    Raises:
        VirError: a disk's name says no place.
    """
    for disk in devices.disks:
        bus = disk.bus
        if disk.info.address is not None:
            continue
        index = disk_index(disk.dev)
        if index < 0:
            raise XmlError(f"Unknown disk name '{disk.dev}' and no address specified", domain=VIR_FROM_DOMAIN)
        if bus not in _DISK_PLACES:
            continue
        address = DriveAddress()
        units, of_bus = _DISK_PLACES[bus]
        address.controller, rest = divmod(index, units)
        address.bus, address.unit = divmod(rest, of_bus)
        disk.info.address = address


def add_controllers(devices: Devices) -> None:
    """Add the controllers that addresses of devices need.

    Raises:
        VirError: there would be too many.
    """
    highest: dict[str, int] = {}

    def need(kind: str, controller: int) -> None:
        highest[kind] = max(highest.get(kind, -1), controller)

    for kind in ("scsi", "fdc", "ide", "sata"):
        for disk in devices.disks:
            if disk.bus == kind and isinstance(disk.info.address, DriveAddress):
                need(kind, disk.info.address.controller)
    places = _free_scsi_places(devices)
    for hostdev in devices.hostdevs:
        if hostdev.mode == "subsystem" and hostdev.type == "scsi":
            if hostdev.info.address is None:
                hostdev.info.address = next(places)
            if isinstance(hostdev.info.address, DriveAddress):
                need("scsi", hostdev.info.address.controller)
    cards: set[int] = set()
    for smartcard in devices.smartcards:
        address = smartcard.info.address
        cards.add(address.controller if isinstance(address, CcidAddress) else 0)
    for number in cards:
        need("ccid", number)
    for kind in ("scsi", "fdc", "ide", "sata", "ccid"):
        last = highest.get(kind, -1)
        if last >= MAX_CONTROLLERS:
            raise XmlError(f"controller index {last} is too large", domain=VIR_FROM_DOMAIN)
        taken = {controller.index for controller in devices.controllers if controller.type == kind}
        # Of drives there are all controllers up to the last, of cards only those that are named.
        for index in sorted(cards) if kind == "ccid" else range(last + 1):
            if index not in taken:
                controller = Controller()
                controller.type, controller.index = kind, index
                devices.controllers.append(controller)
        if kind == "sata":
            _add_virtio_serial(devices)


def _free_scsi_places(devices: Devices) -> Iterator[DriveAddress]:
    """The places on SCSI buses that neither a disk nor a host device has, from the first on."""
    taken = {
        (address.controller, address.unit)
        for address in (
            *(disk.info.address for disk in devices.disks if disk.bus == "scsi"),
            *(hostdev.info.address for hostdev in devices.hostdevs),
        )
        if isinstance(address, DriveAddress)
    }
    for controller in count():
        for unit in range(SCSI_UNITS):
            if (controller, unit) not in taken:
                place = DriveAddress()
                place.controller, place.unit = controller, unit
                yield place


SCSI_UNITS = 7


def _add_virtio_serial(devices: Devices) -> None:
    """Virtio channels and consoles need the controller they name, or the first if they name none."""
    users: tuple[Any, ...] = (*devices.channels, *devices.consoles)
    for device in users:
        if device.target is None or device.target.type != "virtio":
            continue
        taken = {controller.index for controller in devices.controllers if controller.type == "virtio-serial"}
        address = device.info.address
        index = address.controller if isinstance(address, VirtioSerialAddress) else 0
        if index not in taken:
            controller = Controller()
            controller.type, controller.index = "virtio-serial", index
            devices.controllers.append(controller)


MAX_CONTROLLERS = 1024
"""Controllers of a type that a device's address may call into being."""


def address_smartcards(devices: Devices) -> None:
    """Give smart cards their slots in readers."""
    highest = max(
        (
            card.info.address.slot
            for card in devices.smartcards
            if isinstance(card.info.address, CcidAddress) and card.info.address.controller == 0
        ),
        default=-1,
    )
    for card in devices.smartcards:
        if card.info.address is None:
            highest += 1
            card.info.address = CcidAddress()
            card.info.address.slot = highest
