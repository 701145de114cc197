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
from remotevirt.xml.bitmap import parse_bitmap
from remotevirt.xml.domain.complete_devices import (
    add_controllers,
    address_disks,
    address_smartcards,
    complete_characters,
    complete_inputs,
    complete_videos,
    index_controllers,
    sorted_disks,
)
from remotevirt.xml.domain.document import DomainModel
from remotevirt.xml.domain.interface import Interface, InterfaceTarget, MacAddress
from remotevirt.xml.domain.os import BootDevice, OsType
from remotevirt.xml.domain.switch import PortParameters
from remotevirt.xml.domain.tuning import HugePage, NumaMemory, NumaTune
from remotevirt.xml.domain.validate import check_once, validate_domain

__all__ = ["DomainDefaults", "complete_devices", "complete_domain"]


@attrs.frozen
class DomainDefaults:
    """What a driver adds to the documents of its guests: values here, steps in the methods of subclasses.

    Args:
        virt_type: the type of its guests, ``test`` for the test driver.
        arch: of guests that do not say.
        interface_prefix: names of network cards on the host are this and a number; None gives no names.
        mac_prefix: the first three bytes of made-up MAC addresses.
        emulator: the emulator of guests that do not say; None adds none.
        random: gives so many random bytes.
        reads_command_line: whether ``<qemu:commandline>`` means something to it.
    """

    virt_type: str = "test"
    arch: str = "i686"
    interface_prefix: str | None = "testnet"
    mac_prefix: bytes = b"\x52\x54\x00"
    emulator: str | None = None
    random: Callable[[int], bytes] = os.urandom
    reads_command_line: bool = False

    def identify(self, model: DomainModel) -> None:
        """Say which emulator runs the guest, before anything is counted. Raises VirError."""

    def prepare(self, model: DomainModel) -> None:
        """Add what every guest of the driver has, once its numbers are known. Raises VirError."""

    def complete_devices(self, model: DomainModel) -> None:
        """Fill in what devices leave out and only the driver knows. Raises VirError."""

    def video_type(self, model: DomainModel) -> str:
        """Return the kind of a graphics card that does not say."""
        return "cirrus"

    def place(self, model: DomainModel) -> None:
        """Give addresses to devices that have none, and add the buses they need. Raises VirError."""

    def check(self, model: DomainModel) -> None:
        """Refuse what the driver cannot run. Raises VirError."""

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
    check_once(model.devices)
    _complete_uuid(model, defaults)
    if genid and model.genid is None:
        model.genid = defaults.new_uuid()
    _complete_os(model, defaults)
    defaults.identify(model)
    if model.maxvcpus == 0:
        raise InternalError("CPU IDs in <numa> exceed the <vcpu> count", domain=VIR_FROM_DOMAIN)
    _complete_numa(model)
    _complete_memory(model)
    if "/" in model.name:
        raise XmlError(f"name {model.name} cannot contain '/'", domain=VIR_FROM_DOMAIN)
    complete_devices(model, defaults)


def complete_devices(model: DomainModel, defaults: DomainDefaults) -> None:
    """Fill in what devices lack, those too that were put into a completed guest; see the module's text."""
    devices = model.devices
    if devices.emulator is None:
        devices.emulator = defaults.emulator
    index_controllers(devices)
    defaults.prepare(model)
    devices.disks = sorted_disks(devices.disks)
    for disk in devices.disks:
        disk.choose_bus()
    complete_characters(model)
    complete_inputs(model)
    defaults.complete_devices(model)
    complete_videos(model, defaults.video_type(model))
    address_disks(devices)
    add_controllers(devices)
    address_smartcards(devices)
    _complete_interfaces(model, defaults)
    _complete_boot(model)
    defaults.place(model)
    defaults.check(model)
    validate_domain(model)


def _complete_os(model: DomainModel, defaults: DomainDefaults) -> None:
    if model.os.kind is None:
        model.os.kind = OsType()
        model.os.kind.name = "xen"
        model.os.boot = []
    kind = model.os.kind
    if not kind.arch:
        kind.arch = defaults.arch


def _complete_uuid(model: DomainModel, defaults: DomainDefaults) -> None:
    """A guest without a UUID gets the one that it shall find in its firmware's tables, which is the same."""
    for table in model.sysinfo:
        told = table.uuid()
        if told is None:
            continue
        if model.uuid and told != model.uuid:
            raise XmlDetail("UUID mismatch between <uuid> and <sysinfo>", domain=VIR_FROM_DOMAIN)
        model.uuid = told
    if not model.uuid:
        model.uuid = defaults.new_uuid()


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
    if not static and (tune is None or tune.memory is None or tune.memory.placement is None):
        model.numatune = tune = tune or NumaTune()
        tune.memory = NumaMemory()
        tune.memory.mode, tune.memory.placement = "strict", "auto"
    pinned = model.cputune is not None and (
        model.cputune.vcpupin or model.cputune.emulatorpin or model.cputune.iothreadpin
    )
    auto = tune is not None and tune.memory is not None and tune.memory.placement == "auto"
    if auto and not model.vcpu.cpuset and not pinned:
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
    if bool(model.max_memory) != bool(model.memory_slots):
        raise XmlError(
            "both maximum memory size and memory slot count must be specified", domain=VIR_FROM_DOMAIN
        )
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
    bootable: tuple[Any, ...] = (
        *devices.disks,
        *devices.interfaces,
        *devices.hostdevs,
        *devices.redirdevs,
        *devices.filesystems,
    )
    for device in bootable:
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
