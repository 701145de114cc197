"""What libvirt adds to a document after it was read: numbers, names, addresses and devices not spelled out.

The steps run in libvirt's order, as one may depend on what another added. Names, UUIDs and MAC addresses that
must be made up come from :class:`DomainDefaults`, so that a test can choose them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlDetail, XmlError
from remotevirt.xml.bitmap import MAX_CPUS, parse_bitmap
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
from remotevirt.xml.domain.interface import Interface, InterfaceTarget, MacAddress, PortParameters
from remotevirt.xml.domain.media import Video, VideoModel
from remotevirt.xml.domain.os import ARCHITECTURES, BootDevice, OsType
from remotevirt.xml.domain.tuning import (
    HugePage,
    IoThread,
    IoThreadIds,
    NumaMemory,
    NumaTune,
    SingleVcpu,
    VcpuList,
)
from remotevirt.xml.domain.validate import validate_domain

__all__ = ["DomainDefaults", "complete_domain"]


@attrs.frozen
class DomainDefaults:
    """What a driver adds to the documents of its guests.

    Args:
        virt_type: the type of its guests, ``test`` for the test driver.
        arch: of guests that do not say.
        interface_prefix: names of network cards on the host are this and a number; None gives no names.
        mac_prefix: the first three bytes of made-up MAC addresses.
        emulator: the emulator of guests that do not say; None adds none.
        random: gives so many random bytes.
    """

    virt_type: str = "test"
    arch: str = "i686"
    interface_prefix: str | None = "testnet"
    mac_prefix: bytes = b"\x52\x54\x00"
    emulator: str | None = None
    random: Callable[[int], bytes] = os.urandom

    def new_uuid(self) -> bytes:
        """A random UUID (version 4)."""
        raw = bytearray(self.random(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        return bytes(raw)

    def new_mac(self) -> str:
        """A random MAC address."""
        return ":".join(f"{byte:02x}" for byte in self.mac_prefix + self.random(3))


def complete_domain(model: DomainModel, defaults: DomainDefaults, *, genid: bool = False) -> None:
    """Fill in what the document left out. Raises VirError where its parts contradict each other."""
    if not model.uuid:
        model.uuid = defaults.new_uuid()
    if genid and model.genid is None:
        model.genid = defaults.new_uuid()
    _complete_os(model, defaults)
    _complete_vcpus(model)
    _complete_numa(model)
    _complete_memory(model)
    _complete_iothreads(model)
    _check_iothreads(model)
    _check_seclabels(model)
    devices = model.devices
    if devices.emulator is None:
        devices.emulator = defaults.emulator
    devices.disks = _sorted_disks(devices.disks)
    for disk in devices.disks:
        disk.choose_bus()
    _index_controllers(devices)
    _complete_characters(model)
    _complete_inputs(model)
    _complete_videos(model)
    _address_disks(devices)
    _add_controllers(devices)
    _address_smartcards(devices)
    _complete_interfaces(model, defaults)
    _complete_boot(model)
    validate_domain(model)


def _complete_os(model: DomainModel, defaults: DomainDefaults) -> None:
    if model.os.kind is None:
        model.os.kind = OsType()
        model.os.kind.name = "xen"
        model.os.boot = []
    kind = model.os.kind
    if not kind.arch:
        kind.arch = defaults.arch
    elif kind.arch not in ARCHITECTURES:
        raise ConfigUnsupported(f"Unknown architecture {kind.arch}", domain=VIR_FROM_DOMAIN)


def _complete_vcpus(model: DomainModel) -> None:
    current = model.vcpu.current
    model.vcpus = model.maxvcpus if current is None else current
    if model.vcpus > model.maxvcpus:
        raise ConfigUnsupported(
            "maximum vCPU count must not be less than current vCPU count", domain=VIR_FROM_DOMAIN
        )
    if model.maxvcpus == 0:
        raise InternalError("CPU IDs in <numa> exceed the <vcpu> count", domain=VIR_FROM_DOMAIN)
    if model.vcpu_list is not None:
        _complete_vcpu_list(model, model.vcpu_list)
    if model.cputune is not None:
        model.cputune.vcpupin = [pin for pin in model.cputune.vcpupin if pin.vcpu < model.maxvcpus]
        for scheduling in model.cputune.vcpusched:
            if int(scheduling.vcpus or 0) >= model.maxvcpus:
                raise ConfigUnsupported(
                    f"vCPU '{scheduling.vcpus}' is not present in domain definition", domain=VIR_FROM_DOMAIN
                )


def _complete_vcpu_list(model: DomainModel, listed: VcpuList) -> None:
    """Where virtual CPUs are listed all of them are, and those that are enabled count."""
    if model.maxvcpus > MAX_CPUS:
        raise XmlError(f"more than {MAX_CPUS} virtual CPUs cannot be listed", domain=VIR_FROM_DOMAIN)
    known = {vcpu.id: vcpu for vcpu in listed.vcpus}
    for number in known:
        if number >= model.maxvcpus:
            raise XmlError(
                f"vcpu id '{number}' is out of range of maximum vcpu count", domain=VIR_FROM_DOMAIN
            )
    listed.vcpus = []
    if not known:
        model.vcpu_list = None
        return
    for number in range(model.maxvcpus):
        vcpu = known.get(number)
        if vcpu is None:
            vcpu = SingleVcpu()
            vcpu.id, vcpu.enabled = number, False
        if vcpu.hotpluggable is None:
            vcpu.hotpluggable = not vcpu.enabled
        listed.vcpus.append(vcpu)
    model.vcpus = sum(vcpu.enabled for vcpu in listed.vcpus)


def _complete_numa(model: DomainModel) -> None:
    numa = model.cpu.numa if model.cpu else None
    if numa is not None:
        cpus = [number for cell in numa.cells if cell.cpus for number in parse_bitmap(cell.cpus)]
        if len(cpus) > model.maxvcpus:
            raise InternalError("Number of CPUs in <numa> exceeds the <vcpu> count", domain=VIR_FROM_DOMAIN)
        if cpus and max(cpus) >= model.maxvcpus:
            raise InternalError("CPU IDs in <numa> exceed the <vcpu> count", domain=VIR_FROM_DOMAIN)
    static = model.vcpu.placement == "static"
    tune = model.numatune
    if tune is not None and tune.memory is not None:
        tune.memory.settle(static=static)
    if tune is not None and tune.memnodes and numa is None:
        raise XmlError("Element 'memnode' is invalid without any guest NUMA cells", domain=VIR_FROM_DOMAIN)
    if not static and (tune is None or tune.memory is None or tune.memory.placement is None):
        model.numatune = tune = tune or NumaTune()
        tune.memory = NumaMemory()
        tune.memory.mode, tune.memory.placement = "strict", "auto"
    pinned = model.cputune is not None and (
        model.cputune.vcpupin or model.cputune.emulatorpin or model.cputune.iothreadpin
    )
    if tune is not None and tune.memory is not None and tune.memory.placement == "auto":
        if not model.vcpu.cpuset and not pinned:
            model.vcpu.placement = "auto"


def _complete_memory(model: DomainModel) -> None:
    numa = model.cpu.numa if model.cpu else None
    plugged = sum(device.target.size for device in model.devices.memories if device.target is not None)
    if not model.memory and numa is not None and numa.memory:
        model.memory = numa.memory + plugged
    elif plugged > model.memory:
        raise XmlError("Total size of memory devices exceeds the total memory size", domain=VIR_FROM_DOMAIN)
    if model.memory == plugged:
        raise XmlError(
            "Memory size must be specified via <memory> or in the <numa> configuration",
            domain=VIR_FROM_DOMAIN,
        )
    pages = model.memory_backing.hugepages if model.memory_backing else None
    if pages is not None:
        _complete_pages(pages.pages, len(numa.cells) if numa is not None else 0)
    if model.max_memory and model.max_memory < model.memory:
        raise XmlError(
            "maximum memory size must be equal or greater than the actual memory size", domain=VIR_FROM_DOMAIN
        )
    if not model.current_memory or model.current_memory > model.memory:
        model.current_memory = model.memory


def _complete_pages(pages: list[HugePage], cells: int) -> None:
    """Huge pages are for all of the guest or for some of its NUMA cells, of which there must be enough."""
    for page in pages:
        if cells == 0 and page.nodeset == "0":
            page.nodeset = None
    general = [page for page in pages if page.nodeset is None]
    if len(general) > 1:
        raise XmlDetail(
            f"two master hugepages detected: {general[1].size} and {general[0].size}", domain=VIR_FROM_DOMAIN
        )
    for page in pages:
        for node in sorted(parse_bitmap(page.nodeset)) if page.nodeset else ():
            if node >= max(cells, 1):
                raise XmlDetail(f"hugepages: node {node} not found", domain=VIR_FROM_DOMAIN)


def _complete_iothreads(model: DomainModel) -> None:
    named = model.iothread_ids.threads if model.iothread_ids else []
    wanted = max(model.iothreads or 0, len(named))
    if not wanted:
        model.iothreads = model.iothread_ids = None
        return
    if named:
        taken = {thread.id for thread in named}
        number = 1
        while len(named) < wanted:
            if number not in taken:
                thread = IoThread()
                thread.id = number
                named.append(thread)
            number += 1
        model.iothread_ids = IoThreadIds(named)
    else:
        model.iothread_ids = None
    model.iothreads = wanted


def _check_iothreads(model: DomainModel) -> None:
    tune = model.cputune
    if tune is None:
        return
    if model.iothread_ids is not None:
        known = {thread.id for thread in model.iothread_ids.threads}
    else:
        known = set(range(1, (model.iothreads or 0) + 1))
    wanted = [pin.iothread for pin in tune.iothreadpin]
    for scheduling in tune.iothreadsched:
        wanted.extend(sorted(parse_bitmap(scheduling.iothreads or "")) if scheduling.iothreads else ())
    for number in wanted:
        if number not in known:
            raise ConfigUnsupported(f"Cannot find 'iothread' : {number}", domain=VIR_FROM_DOMAIN)


def _sorted_disks(disks: list[Disk]) -> list[Disk]:
    """Disks with those of one bus beside each other and in the order of their names."""
    placed: list[Disk] = []
    for disk in disks:
        mine = disk_index(disk.dev)
        position: int | None = None
        for number in range(len(placed) - 1, -1, -1):
            other = placed[number]
            if other.bus != disk.bus:
                continue
            if disk_index(other.dev) > mine:
                position = number
            elif position is None:
                position = number + 1
        placed.insert(len(placed) if position is None else position, disk)
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


def _index_controllers(devices: Devices) -> None:
    placed: list[Controller] = []
    for controller in devices.controllers:
        insert_controller(placed, controller)
    devices.controllers = placed
    for controller in placed:
        if controller.index is None:
            taken = {other.index for other in placed if other.type == controller.type}
            index = 0
            while index in taken:
                index += 1
            controller.index = index


def _check_seclabels(model: DomainModel) -> None:
    models: set[str] = set()
    for label in model.seclabels:
        if label.model is None:
            continue
        if label.model in models:
            raise XmlDetail(f"seclabel for model {label.model} is already provided", domain=VIR_FROM_DOMAIN)
        models.add(label.model)


def _port_of(device: Any) -> int:
    port = device.target.port if device.target is not None else None
    return -1 if port is None else int(port)


def _number_ports(devices: list[Any], target: type[Any], *, earlier: bool) -> None:
    """Give a port to those that have none: one more than the highest (of the earlier ones, or of all)."""
    for number, device in enumerate(devices):
        if device.target is None:
            device.target = target()
        if device.target.port is None:
            others = devices[:number] if earlier else devices
            device.target.port = max((_port_of(other) for other in others), default=-1) + 1


def _complete_characters(model: DomainModel) -> None:
    devices = model.devices
    full = model.os.kind is not None and model.os.kind.name == "hvm"
    for number, console in enumerate(devices.consoles):
        assert console.target is not None
        console.target.port = number
        if full and console.target.type is None:
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
    mirror.info = serial.info.copy()
    mirror.target = ConsoleTarget()
    mirror.target.type = "serial"
    mirror.target.port = _port_of(serial)
    devices.consoles[0] = mirror


def _complete_inputs(model: DomainModel) -> None:
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


_VIDEO_OF_TYPE = {
    "vbox": "vbox",
    "vmware": "vmvga",
    "hyperv": "vga",
    "vz": "vga",
    "parallels": "vga",
    "bhyve": "gop",
}
_VRAM = {"vga": 16384, "cirrus": 16384, "vmvga": 16384, "bochs": 16384, "xen": 4096, "qxl": 65536}


def _complete_videos(model: DomainModel) -> None:
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
            card.type = "xen" if kind in {"xen", "linux"} else _VIDEO_OF_TYPE.get(model.type, "cirrus")
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
        if card.type == "qxl" and card.ram is None:
            card.ram = 65536
        if card.heads is None:
            card.heads = 1
        card.heads = card.heads or None
        if not primary and number == 0:
            card.primary = True
    if primary and devices.videos[0] not in primary:
        devices.videos.remove(primary[0])
        devices.videos.insert(0, primary[0])


_DISK_PLACES = {"ide": (4, 2), "fdc": (2, 2), "scsi": (7, 7), "sata": (6, 6)}


def _address_disks(devices: Devices) -> None:
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


def _add_controllers(devices: Devices) -> None:
    highest: dict[str, int] = {}

    def need(kind: str, controller: int) -> None:
        highest[kind] = max(highest.get(kind, -1), controller)

    for kind in ("scsi", "fdc", "ide", "sata"):
        for disk in devices.disks:
            if disk.bus == kind and isinstance(disk.info.address, DriveAddress):
                need(kind, disk.info.address.controller)
    for hostdev in devices.hostdevs:
        if hostdev.mode == "subsystem" and hostdev.type == "scsi":
            if hostdev.info.address is None:
                hostdev.info.address = _free_scsi_place(devices)
            if isinstance(hostdev.info.address, DriveAddress):
                need("scsi", hostdev.info.address.controller)
    if devices.smartcards:
        need("ccid", 0)
    for smartcard in devices.smartcards:
        if isinstance(smartcard.info.address, CcidAddress):
            need("ccid", smartcard.info.address.controller)
    for kind in ("scsi", "fdc", "ide", "sata", "ccid"):
        last = highest.get(kind, -1)
        if last >= MAX_CONTROLLERS:
            raise XmlError(f"controller index {last} is too large", domain=VIR_FROM_DOMAIN)
        taken = {controller.index for controller in devices.controllers if controller.type == kind}
        for index in range(last + 1):
            if index not in taken:
                controller = Controller()
                controller.type, controller.index = kind, index
                devices.controllers.append(controller)
        if kind == "sata":
            _add_virtio_serial(devices)


def _free_scsi_place(devices: Devices) -> DriveAddress:
    """The first place on a SCSI bus that neither a disk nor a host device has."""
    taken = {
        (address.controller, address.unit)
        for address in (
            *(disk.info.address for disk in devices.disks if disk.bus == "scsi"),
            *(hostdev.info.address for hostdev in devices.hostdevs),
        )
        if isinstance(address, DriveAddress)
    }
    place = DriveAddress()
    while (place.controller, place.unit) in taken:
        place.unit += 1
        if place.unit == SCSI_UNITS:
            place.controller, place.unit = place.controller + 1, 0
    return place


SCSI_UNITS = 7


def _add_virtio_serial(devices: Devices) -> None:
    """Virtio channels and consoles need the controller they name, or the first if they name none."""
    for device in (*devices.channels, *devices.consoles):
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


def _address_smartcards(devices: Devices) -> None:
    highest = max(
        (card.info.address.slot for card in devices.smartcards if isinstance(card.info.address, CcidAddress)),
        default=-1,
    )
    for card in devices.smartcards:
        if card.info.address is None:
            highest += 1
            card.info.address = CcidAddress()
            card.info.address.slot = highest


def _complete_interfaces(model: DomainModel, defaults: DomainDefaults) -> None:
    interfaces = model.devices.interfaces
    taken = {one.target.dev for one in interfaces if one.target is not None}
    number = 0
    for interface in interfaces:
        interface.mac = interface.mac or MacAddress()
        if interface.mac.address is None:
            interface.mac.address = defaults.new_mac()
        _complete_port(interface, defaults)
        if defaults.interface_prefix is None:
            continue
        interface.target = interface.target or InterfaceTarget()
        if interface.target.dev is None:
            while f"{defaults.interface_prefix}{number}" in taken:
                number += 1
            interface.target.dev = f"{defaults.interface_prefix}{number}"
            taken.add(interface.target.dev)


def _complete_port(interface: Interface, defaults: DomainDefaults) -> None:
    """Virtual ports get the ids that their kind of switch needs."""
    port = interface.virtualport
    if port is None:
        return
    parameters = port.parameters or PortParameters()
    if port.type in {None, "802.1Qbg"} and parameters.instanceid is None:
        parameters.instanceid = defaults.new_uuid()
    if port.type in {None, "openvswitch"} and parameters.interfaceid is None:
        parameters.interfaceid = defaults.new_uuid()
    port.parameters = parameters


def _complete_boot(model: DomainModel) -> None:
    kind = model.os.kind
    orders: set[int] = set()
    devices = model.devices
    for device in (
        *devices.disks,
        *devices.interfaces,
        *devices.hostdevs,
        *devices.redirdevs,
        *devices.filesystems,
    ):
        boot = device.info.boot
        if boot is not None:
            if boot.order in orders:
                raise ConfigUnsupported(
                    f"boot order '{boot.order}' used for more than one device", domain=VIR_FROM_DOMAIN
                )
            orders.add(boot.order)
    if kind is None or kind.name != "hvm" or model.bootloader is not None:
        return
    if orders and model.os.boot:
        raise ConfigUnsupported(
            "per-device boot elements cannot be used together with os/boot elements", domain=VIR_FROM_DOMAIN
        )
    if not orders and not model.os.boot:
        device = BootDevice()
        device.dev = "hd"
        model.os.boot.append(device)
