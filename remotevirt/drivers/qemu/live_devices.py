"""Changes of the devices of a live definition, in libvirt's words for those."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.devices import CHARACTER, DeviceEditor
from remotevirt.drivers.domains.plugging import check_disk_pluggable, check_disk_unpluggable
from remotevirt.drivers.qemu.command import Setting
from remotevirt.drivers.qemu.complete.aliases import assign_alias
from remotevirt.drivers.qemu.complete.board import find_board
from remotevirt.drivers.qemu.complete.device_refusals import check_device
from remotevirt.drivers.qemu.complete.devices import complete_device
from remotevirt.drivers.qemu.complete.places import assign_address
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import (
    ConfigUnsupported,
    DeviceMissing,
    InternalError,
    OperationFailed,
    OperationInvalid,
    OperationUnsupported,
    XmlError,
)
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.address import DriveAddress
from remotevirt.xml.domain.complete_devices import address_disks, insert_controller
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.device import Device, devices_of, put
from remotevirt.xml.domain.disk import Disk

__all__ = ["LiveEditor"]

REFUSED: Final = frozenset(
    {"sound", "video", "hub", "graphics", "memballoon", "smartcard", "panic", "audio", "tpm"}
)
"""Families whose devices cannot come and go while a guest runs."""


class LiveEditor(DeviceEditor):
    """Changes the devices of a live definition, beside what is done to QEMU."""

    def __init__(self, model: DomainModel) -> None:
        super().__init__(model, c.VIR_FROM_QEMU)

    def plug(self, device: Device, setting: Setting) -> list[Device]:
        """Add a device, with its name, its address, and the controllers that it needs.

        Args:
            device: it is completed in place.
            setting: of the guest.

        Returns:
            What is to be plugged in, in this order.

        Raises:
            VirError: the guest cannot have it, or has no room.
        """
        model, board = self.model, find_board(self.model)
        self._check_pluggable(device)
        complete_device(device, board)
        if isinstance(device, Disk):
            check_device(device, model, setting.emulator, board)
            check_disk_pluggable(device, self._errors)
        self.check(device)
        check_device(device, model, setting.emulator, board)
        controllers: list[Device] = []
        if isinstance(device, Disk) and device.bus == "scsi":
            controllers = self._controllers_for(device)
        assign_address(model, device)
        if hasattr(device, "info"):
            assign_alias(model, device)
        put(model.devices, device)
        if device.TAG == "memory":
            model.memory += device.target.size
            model.current_memory += device.target.size
        return [*controllers, device]

    def find_unpluggable(self, wanted: Device) -> Device:
        """Return the device that a document means, if it can be taken out.

        Raises:
            VirError: there is none, or it cannot.
        """
        tag = wanted.TAG
        if tag in REFUSED:
            raise self._not_supported("detach", tag)
        if tag == "controller" and wanted.type != "scsi":
            text = f"'{wanted.type}' controller cannot be hot unplugged."
            raise OperationUnsupported(text, domain=self._errors)
        if tag == "input":
            self._check_input(wanted)
        device = self.find(wanted)
        if tag == "watchdog" and (device.model, device.action) != (wanted.model, wanted.action):
            text = f"model '{device.model}' watchdog device not present in domain configuration"
            raise DeviceMissing(text, domain=self._errors)
        self.check_unpluggable(device)
        return device

    def check_unpluggable(self, device: Device) -> None:
        """Refuse to take out what cannot be taken out. Raises VirError."""
        tag = device.TAG
        if tag in REFUSED:
            raise self._not_supported("detach", tag)
        if tag == "disk":
            check_disk_unpluggable(device, self._errors)
        elif tag == "input":
            self._check_input(device)
        elif tag == "controller":
            if device.type != "scsi":
                text = f"'{device.type}' controller cannot be hot unplugged."
                raise OperationUnsupported(text, domain=self._errors)
            if any(
                disk.bus == "scsi"
                and isinstance(disk.info.address, DriveAddress)
                and disk.info.address.controller == device.index
                for disk in self.model.devices.disks
            ):
                raise OperationFailed("device cannot be detached: device is busy", domain=self._errors)

    def _check_input(self, device: Device) -> None:
        if device.bus not in {"usb", "virtio"}:
            text = f"input device on bus '{device.bus}' cannot be detached"
            raise OperationUnsupported(text, domain=self._errors)

    def _check_pluggable(self, device: Device) -> None:
        """Refuse families and kinds that are there from the start or never."""
        tag = device.TAG
        if tag in REFUSED:
            raise self._not_supported("attach", tag)
        if tag == "controller" and device.type != "scsi":
            text = f"'{device.type}' controller cannot be hot plugged."
            raise OperationUnsupported(text, domain=self._errors)
        if tag == "input" and device.bus not in {"usb", "virtio"}:
            text = f"input device on bus '{device.bus}' cannot be hot plugged."
            raise OperationUnsupported(text, domain=self._errors)
        if tag == "filesystem":
            raise OperationUnsupported("only virtiofs filesystems can be hotplugged", domain=self._errors)
        if tag == "hostdev" and device.mode != "subsystem":
            text = f"hotplug is not supported for hostdev mode '{device.mode}'"
            raise ConfigUnsupported(text, domain=self._errors)
        if tag == "hostdev" and device.type == "pci":
            text = "host doesn't support passthrough of host PCI devices"
            raise ConfigUnsupported(text, domain=self._errors)
        if (
            tag == "channel"
            and device.target is not None
            and device.target.type == "virtio"
            and not any(one.type == "virtio-serial" for one in self.model.devices.controllers)
        ):
            raise InternalError("no virtio-serial controllers are available", domain=self._errors)
        if tag == "disk":
            device.choose_bus()
        elif tag == "controller" and device.index is None:
            taken = {one.index for one in self.model.devices.controllers if one.type == device.type}
            device.index = next(number for number in range(len(taken) + 1) if number not in taken)

    def _controllers_for(self, disk: Disk) -> list[Device]:
        """Give a SCSI disk its place, and add the controller that it needs; raises VirError."""
        devices = self.model.devices
        devices.disks.append(disk)
        address_disks(devices)
        devices.disks = [one for one in devices.disks if one is not disk]
        address = disk.info.address
        if not isinstance(address, DriveAddress):
            return []
        there = [one for one in devices.controllers if one.type == "scsi"]
        if any(one.index == address.controller for one in there):
            return []
        controller = Controller()
        controller.type, controller.index = "scsi", address.controller
        controller.model = there[-1].model if there else None
        complete_device(controller, find_board(self.model))
        assign_address(self.model, controller)
        assign_alias(self.model, controller)
        insert_controller(devices.controllers, controller)
        return [controller]

    def _not_supported(self, what: str, tag: str) -> OperationUnsupported:
        return OperationUnsupported(f"live {what} of device '{tag}' is not supported", domain=self._errors)

    def _taken(self, device: Device) -> str | None:
        if device.TAG == "disk":
            for one in devices_of(self.model.devices, "disk"):
                if one.dev == device.dev:
                    places = [disk.source.place() if disk.source else None for disk in (one, device)]
                    text = (
                        f"target '{device.dev}' duplicated for disk sources '{places[0]}' and '{places[1]}'"
                    )
                    raise XmlError(text, domain=c.VIR_FROM_DOMAIN)
        return super()._taken(device)

    def _absent(self, wanted: Device) -> Exception:
        tag = wanted.TAG
        if tag == "redirdev":
            return OperationInvalid("no matching redirdev was not found", domain=self._errors)
        if tag in CHARACTER:
            text = f"chr type '{tag}' device not present in domain configuration"
        elif tag == "disk":
            text = f"disk {wanted.dev} not found"
        elif tag == "filesystem":
            text = "matching filesystem not found"
        elif tag == "watchdog":
            text = "watchdog device not present in domain configuration"
        elif tag == "shmem":
            text = f"model '{wanted.model or 'ivshmem'}' shmem device not present in domain configuration"
        elif tag == "memory":
            text = f"model '{wanted.model}' memory device not present in the domain configuration"
        elif tag == "vsock":
            text = "matching vsock device not found"
        elif tag == "controller":
            text = f"controller {wanted.type}:{wanted.index} not found"
        elif tag == "rng":
            text = "matching rng device not present in domain configuration"
        elif tag == "input":
            text = "matching input device not found"
        else:
            text = "device not present in domain configuration"
        return DeviceMissing(text, domain=self._errors)
