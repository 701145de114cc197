"""Definitions of QEMU's domains: what libvirt's driver adds to a document, and what it turns down."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any, ClassVar

import attrs

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.qemu.complete import additions
from remotevirt.drivers.qemu.complete.board import choose_machine, find_board, find_emulator
from remotevirt.drivers.qemu.complete.device_refusals import check_device
from remotevirt.drivers.qemu.complete.devices import complete_device, complete_devices, video_type
from remotevirt.drivers.qemu.complete.places import assign_address, place_devices
from remotevirt.drivers.qemu.complete.refusals import check_early, check_guest
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.stubs import constants as c
from remotevirt.xml.domain import Devices, DomainDefaults, DomainModel
from remotevirt.xml.domain.complete_devices import address_disks
from remotevirt.xml.domain.disk import Disk

__all__ = ["NVRAM_DIRECTORY", "QemuDefaults", "QemuDefinition", "definitions_for", "movable_document"]

NVRAM_DIRECTORY = "/var/lib/libvirt/qemu/nvram"
"""Where libvirt's system daemon keeps what the guests' firmware remembers."""


@attrs.frozen
class QemuDefaults(DomainDefaults):
    """What this driver adds.

    Args:
        emulators: the binaries it can start; of several for an architecture the first is taken.
        nvram_directory: the folder for variables of guests' firmware.
    """

    virt_type: str = "qemu"
    arch: str = attrs.field(factory=platform.machine)
    interface_prefix: str | None = None
    reads_command_line: bool = True
    emulators: Sequence[Emulator] = ()
    nvram_directory: str = NVRAM_DIRECTORY

    def identify(self, model: DomainModel) -> None:
        """Find the emulator."""
        find_emulator(model, self.emulators)

    def prepare(self, model: DomainModel) -> None:
        """Add what every guest has."""
        emulator = find_emulator(model, self.emulators)
        machine = choose_machine(model, emulator)
        board = find_board(model)
        additions.name_security(model)
        additions.add_nvram(model, self.nvram_directory)
        additions.add_devices(model, board)
        additions.add_cpu(model, board, machine)
        additions.add_features(model, board)

    def complete_devices(self, model: DomainModel) -> None:
        """Fill in models, targets and sizes."""
        check_early(model)
        complete_devices(model, find_board(model))

    def video_type(self, model: DomainModel) -> str:
        """Return what the machine's firmware can draw on."""
        return video_type(find_board(model))

    def place(self, model: DomainModel) -> None:
        """Complete the controllers that were added, and give addresses."""
        complete_devices(model, find_board(model))
        place_devices(model)

    def check(self, model: DomainModel) -> None:
        """Refuse what this driver cannot run."""
        check_guest(model, find_emulator(model, self.emulators))

    def fit(self, model: DomainModel, device: Any) -> None:
        """Complete a device that is about to be added to a running guest, on the buses that it has.

        In a guest that does not run it is enough to add the device and to read the whole document again.

        Args:
            model: the guest, without the device; it is not changed.
            device: of any family.

        Raises:
            VirError: there is no place for it, or the emulator has no such device.
        """
        board = find_board(model)
        complete_device(device, board)
        if isinstance(device, Disk):
            device.choose_bus()
            only = Devices()
            only.disks = [device]
            address_disks(only)
        assign_address(model, device)
        check_device(device, model, find_emulator(model, self.emulators), board)


class QemuDefinition(Definition):
    """A definition to which this driver adds what libvirt's adds; see :func:`definitions_for`."""

    __slots__ = ()

    DEFAULTS: ClassVar[DomainDefaults] = QemuDefaults()
    ERRORS = c.VIR_FROM_QEMU


def movable_document(definition: Definition, flags: int) -> str:
    """Return a document for another host, or for later: without what only a running guest has.

    libvirt leaves out what old versions of it do not know and new ones add themselves.

    Args:
        definition: of a guest that runs, or that does not.
        flags: virDomainXMLFlags; whether passwords are shown counts.
    """
    copy = definition.copy()
    model = copy.changing()
    devices = model.devices
    board = find_board(model)
    if board.is_i440fx:
        for kind, models in (("usb", {None, "piix3-uhci"}), ("pci", {"pci-root"})):
            those = [one for one in devices.controllers if one.type == kind]
            if len(those) == 1 and those[0].index == 0 and those[0].model in models:
                devices.controllers.remove(those[0])
    for disk in devices.disks:
        complete_device(disk, board)  # a drive that is empty while the guest runs has no format
    lines: list[Any] = [*devices.serials, *devices.parallels, *devices.consoles, *devices.channels]
    for line in lines:
        if line.backend.type == "pty":
            line.backend.sources, line.backend.tty = [], None
    for channel in devices.channels:
        name = channel.target.name if channel.target is not None else None
        place = f"/channel/{definition.uuid.hex()}/{name}"
        if any((source.path or "").endswith(place) for source in channel.backend.sources):
            channel.backend.sources = []
    devices.inputs = [one for one in devices.inputs if (one.type, one.bus) != ("keyboard", "ps2")]
    devices.audios = [one for one in devices.audios if one.type != "none"]
    wanted = flags & c.VIR_DOMAIN_XML_SECURE
    return copy.format(wanted | c.VIR_DOMAIN_XML_INACTIVE | c.VIR_DOMAIN_XML_MIGRATABLE, -1)


def definitions_for(
    emulators: Sequence[Emulator], *, arch: str | None = None, nvram_directory: str = NVRAM_DIRECTORY
) -> type[QemuDefinition]:
    """Return the class of definitions of a driver.

    Args:
        emulators: the binaries that the driver can start.
        arch: of guests that do not say; None for the host's.
        nvram_directory: the folder for variables of guests' firmware.
    """
    made = QemuDefaults(
        arch=arch or platform.machine(), emulators=tuple(emulators), nvram_directory=nvram_directory
    )

    class KnownDefinition(QemuDefinition):
        """A definition for the emulators that a driver has found."""

        __slots__ = ()
        DEFAULTS: ClassVar[DomainDefaults] = made

    return KnownDefinition
