"""Attaching, changing and detaching devices in the test hypervisor, as later libvirts have it.

A running domain takes disks on hot-pluggable buses, network cards, host devices and what else the persistent
definition takes; they get the aliases that libvirt gives them, and events tell of them. Where libvirt 11's
test driver refuses what its QEMU driver does (devices other than disks, cards and host devices; the
persistent definition; detaching by a document), we do it by the QEMU driver's rules, since programs that are
tried out here use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from itertools import count
from typing import Final

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.domains.calls import CONFIG, IMPACT, LIVE, DomainCalls
from remotevirt.drivers.domains.devices import DeviceEditor, parse_device
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.events import device_added, device_removed
from remotevirt.drivers.domains.plugging import PLUGGABLE, check_disk_pluggable, check_disk_unpluggable
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, OperationUnsupported
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.xml.domain.address import DriveAddress
from remotevirt.xml.domain.device import Device, devices_of
from remotevirt.xml.domain.disk import disk_index

__all__ = ["HotplugCalls"]

FORCE: Final[int] = c.VIR_DOMAIN_DEVICE_MODIFY_FORCE
"""Changing a device although the guest has not let go of it; ours never holds on to one."""

ALIASES: Final = {
    "interface": "net",
    "hostdev": "hostdev",
    "filesystem": "fs",
    "redirdev": "redir",
    "memory": "dimm",
}
"""What aliases begin with, where that is not the name of the family."""


class HotplugCalls(DomainCalls):
    """Calls that change a domain's devices."""

    def domain_attach_device(self, dom: NonnullDomain, xml: str) -> Result[None]:
        """Plug a device into a running domain."""
        return self.domain_attach_device_flags(dom, xml, LIVE)

    @in_steps
    def domain_attach_device_flags(self, dom: NonnullDomain, xml: str, flags: int) -> Steps[None]:
        """Add a device to the running domain, to the persistent definition, or to both."""
        self._impact(self.record(dom), flags, "AttachDeviceLiveAndConfig")
        device = yield Work(len(xml), parse_device, xml)
        record = self.record(dom)
        flags = self.impact(record, flags)
        plugged, _ = self.world.change_devices(
            record,
            live=(lambda editor: _plug(editor, device.copy())) if flags & LIVE else None,
            config=(lambda editor: editor.attach(device.copy())) if flags & CONFIG else None,
        )
        if plugged is not None:
            alias = _give_alias(plugged, devices_of(record.live.model.devices, plugged.TAG))
            if alias is not None:
                self.world.hub.publish(device_added(record.ref, alias))
        self._tell(record, flags)

    def domain_detach_device(self, dom: NonnullDomain, xml: str) -> Result[None]:
        """Unplug a device from a running domain."""
        return self.domain_detach_device_flags(dom, xml, LIVE)

    @in_steps
    def domain_detach_device_flags(self, dom: NonnullDomain, xml: str, flags: int) -> Steps[None]:
        """Remove a device from the running domain, from the persistent definition, or from both."""
        self._impact(self.record(dom), flags, "DetachDeviceLiveAndConfig")
        wanted = yield Work(len(xml), parse_device, xml)
        self._detach(dom, flags, lambda editor: editor.detach(wanted))

    def domain_detach_device_alias(self, dom: NonnullDomain, alias: str, flags: int) -> None:
        """Remove the device with an alias."""
        self._impact(self.record(dom), flags, "DetachDeviceAliasLiveAndConfig")
        self._detach(dom, flags, lambda editor: editor.remove(editor.find_alias(alias)))

    @in_steps
    def domain_update_device_flags(self, dom: NonnullDomain, xml: str, flags: int) -> Steps[None]:
        """Change a device in place."""
        self.check_flags(flags, IMPACT | FORCE, "DomainUpdateDeviceFlags")
        self.impact(self.record(dom), flags & IMPACT)
        read = yield Work(len(xml), parse_device, xml)
        record = self.record(dom)
        flags = self.impact(record, flags & IMPACT)

        def change(editor: DeviceEditor) -> None:
            device = read.copy()
            old = editor.update(device)
            if flags & LIVE and getattr(device, "info", None) is not None and device.info.alias is None:
                device.info.alias = old.info.alias

        self.world.change_devices(
            record, live=change if flags & LIVE else None, config=change if flags & CONFIG else None
        )
        self._tell(record, flags)

    def _impact(self, record: DomainRecord, flags: int, function: str) -> None:
        """Check what a call means, in libvirt's order: the domain's state, then the flags."""
        self.check_flags(self.impact(record, flags), IMPACT, f"Domain{function}")

    def _detach(self, dom: NonnullDomain, flags: int, take: Callable[[DeviceEditor], Device]) -> None:
        """Remove the device that ``take`` removes and returns."""
        record = self.record(dom)
        flags = self.impact(record, flags)

        def unplug(editor: DeviceEditor) -> Device:
            device = take(editor)
            if device.TAG == "disk":
                check_disk_unpluggable(device, c.VIR_FROM_TEST)
            return device

        unplugged, _ = self.world.change_devices(
            record, live=unplug if flags & LIVE else None, config=take if flags & CONFIG else None
        )
        alias = getattr(getattr(unplugged, "info", None), "alias", None)
        if alias is not None:
            self.world.hub.publish(device_removed(record.ref, alias))
        self._tell(record, flags)

    def _tell(self, record: DomainRecord, flags: int) -> None:
        """Publish that the persistent definition has changed, if that was meant."""
        if flags & CONFIG:
            self.world.publish(record, c.VIR_DOMAIN_EVENT_DEFINED, c.VIR_DOMAIN_EVENT_DEFINED_UPDATED)


def _plug(editor: DeviceEditor, device: Device) -> Device | None:
    """Add a device to a running domain, or put a medium into a drive that is there.

    Returns:
        The device, None for a medium.

    Raises:
        VirError: the domain cannot take it while it runs.
    """
    if device.TAG == "disk":
        if device.device in {"cdrom", "floppy"} and editor.insert_medium(device):
            return None
        device.choose_bus()
        check_disk_pluggable(device, c.VIR_FROM_TEST)
        if device.bus not in PLUGGABLE:
            text = f"disk bus '{device.bus}' cannot be hotplugged."
            raise OperationUnsupported(text, domain=c.VIR_FROM_TEST)
    if device.TAG == "hostdev" and device.mode != "subsystem":
        text = f"hotplug is not supported for hostdev mode '{device.mode}'"
        raise ConfigUnsupported(text, domain=c.VIR_FROM_TEST)
    editor.attach(device)
    return device


def _give_alias(device: Device, family: Iterable[Device]) -> str | None:
    """Give a device that was plugged in a name, unless its user chose one.

    Args:
        device: the device, at its place.
        family: the devices that names of this kind must tell apart.

    Returns:
        Its name; None for leases, which have none.
    """
    info = getattr(device, "info", None)
    if info is None:
        return None
    if info.alias is None:
        info.alias = _alias(device, {one.info.alias for one in family})
    return str(info.alias)


def _alias(device: Device, taken: Set[str | None]) -> str:
    """Return the name that libvirt gives a device."""
    if device.TAG == "disk":
        address = device.info.address
        if isinstance(address, DriveAddress):
            return f"{device.bus}{address.controller}-{address.bus}-{address.target}-{address.unit}"
        return f"{device.bus}-disk{disk_index(device.dev)}"
    if device.TAG == "controller":
        return f"{device.type}{device.index}"
    prefix = ALIASES.get(device.TAG, device.TAG)
    return next(name for number in count() if (name := f"{prefix}{number}") not in taken)
