"""Attaching, changing and detaching devices of a definition, by libvirt's rules and in its words.

:class:`DeviceEditor` works on a model, and knows nothing of running guests: a driver that has plugged a
device into its hypervisor puts it into the live definition by the same methods. A definition hands out
editors by :meth:`~remotevirt.drivers.domains.definition.Definition.with_devices`, and
:meth:`~remotevirt.drivers.domains.table.DomainTable.change_devices` gives a domain its changed definitions,
all of them or none::

    changed, _ = definition.with_devices(lambda editor: editor.attach(parse_device(xml)))

Which device of a guest a document means differs by family: disks and file systems go by their name in the
guest, network cards by MAC address, others by everything that the document says. Alias and place count where
both sides have them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import (
    ConfigUnsupported,
    DeviceMissing,
    InternalError,
    InvalidArg,
    OperationFailed,
    OperationInvalid,
    OperationUnsupported,
    XmlError,
)
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.address import PciAddress
from remotevirt.xml.domain.device import FAMILIES, Device, devices_of, parse_device, put, take
from remotevirt.xml.domain.document import MAX_DEVICES

__all__ = ["DeviceEditor", "parse_device"]

CHARACTER: Final = frozenset({"serial", "parallel", "console", "channel"})
"""What libvirt calls ``chr`` in its words."""

ATTACHED: Final = CHARACTER | {
    *("disk", "interface", "sound", "hostdev", "lease", "controller", "filesystem", "rng", "memory"),
    *("redirdev", "shmem", "watchdog", "input", "vsock"),
}
"""What can be attached, and detached."""

UPDATED: Final = frozenset({"disk", "interface", "graphics", "memory"})
"""What can be changed."""

ABSENT: Final = {
    "filesystem": "no matching filesystem device was found",
    "rng": "no matching RNG device was found",
    "memory": "matching memory device was not found",
    "redirdev": "no matching redirdev was not found",
    "shmem": "matching shmem device was not found",
    "watchdog": "domain has no watchdog",
    "input": "matching input device not found",
}
"""How libvirt says that there is no such device, where it has words of its own."""


class DeviceEditor:
    """Changes the devices of a model.

    Args:
        model: it is changed in place; after an error it is of no use.
        errors: which part of libvirt complains (virErrorDomain).
    """

    def __init__(self, model: DomainModel, errors: int = c.VIR_FROM_DOMAIN) -> None:
        self.model = model
        self._devices = model.devices
        self._errors = errors

    def attach(self, device: Device) -> None:
        """Add a device.

        Raises:
            VirError: there is one already that is the same, or the guest cannot have it.
        """
        self.check(device)
        if device.TAG == "memory":
            self.model.memory += device.target.size
            self.model.current_memory += device.target.size
        put(self._devices, device)

    def check(self, device: Device) -> None:
        """Check whether a device can be added. Raises VirError as :meth:`attach`."""
        tag = device.TAG
        self._check_compatible(device, None)
        if tag not in ATTACHED:
            raise self._not_supported("attach", tag)
        if sum(len(devices_of(self._devices, one)) for one in FAMILIES) >= MAX_DEVICES:
            raise XmlError(f"more than {MAX_DEVICES} devices", domain=c.VIR_FROM_DOMAIN)
        if tag == "console" and _is_serial_console(device):
            raise OperationUnsupported("attaching serial console is not supported", domain=self._errors)
        refusal = self._taken(device)
        if refusal is not None:
            raise OperationInvalid(refusal, domain=self._errors)
        if tag == "memory" and len(self._devices.memories) >= self.model.memory_slots:
            raise ConfigUnsupported("no free memory device slot available", domain=self._errors)

    def detach(self, wanted: Device) -> Device:
        """Remove the device that a document means, and return it.

        Raises:
            VirError: there is no such device, or more than one where that matters.
        """
        tag = wanted.TAG
        if tag not in ATTACHED:
            raise self._not_supported("detach", tag)
        if tag == "console" and _is_serial_console(wanted):
            raise OperationInvalid("detaching serial console is not supported", domain=self._errors)
        return self.remove(self.find(wanted))

    def remove(self, device: Device) -> Device:
        """Remove one of the devices, and return it."""
        take(self._devices, device)
        if device.TAG == "memory":
            self.model.memory -= device.target.size
            self.model.current_memory -= min(device.target.size, self.model.current_memory)
        consoles = self._devices.consoles
        if (
            device.TAG == "serial"
            and not self._devices.serials
            and consoles
            and _is_serial_console(consoles[0])
        ):
            # the first console of a full machine was this serial port seen again
            del consoles[0]
        return device

    def update(self, device: Device) -> Device:
        """Put a device in the place of the one that has its name, and return that.

        Raises:
            VirError: there is none, or devices of this family cannot be changed.
        """
        tag = device.TAG
        if tag not in UPDATED:
            raise self._not_supported("update", tag)
        old = self._updated(device)
        self._check_compatible(device, old)
        field = FAMILIES[tag]
        kept = [device if one is old else one for one in devices_of(self._devices, tag)]
        setattr(self._devices, field, kept)
        if tag == "memory":
            self.model.memory += device.target.size - old.target.size
        return old

    def insert_medium(self, device: Device) -> bool:
        """Give the drive that a disk's document names its source; return False if there is no such drive."""
        for disk in self._devices.disks:
            if disk.dev == device.dev:
                disk.type, disk.source = device.type, device.source
                return True
        return False

    def find(self, wanted: Device) -> Device:
        """Return the device that a document means.

        Raises:
            VirError: there is none, or more than one where that matters.
        """
        if wanted.TAG == "interface":
            return self._find_interface(wanted)
        for one in devices_of(self._devices, wanted.TAG):
            if _is_meant(one, wanted):
                return one
        raise self._absent(wanted)

    def find_alias(self, alias: str) -> Device:
        """Return the device with an alias.

        Raises:
            VirError: there is none.
        """
        for tag in FAMILIES:
            for one in devices_of(self._devices, tag):
                if alias and getattr(getattr(one, "info", None), "alias", None) == alias:
                    return one
        raise InternalError(f"no device found with alias {alias}", domain=c.VIR_FROM_DOMAIN)

    def _not_supported(self, what: str, tag: str) -> OperationUnsupported:
        name = "chr" if tag in CHARACTER else tag
        text = f"persistent {what} of device '{name}' is not supported"
        return OperationUnsupported(text, domain=self._errors)

    def _updated(self, device: Device) -> Device:
        """Return the device that one shall replace."""
        tag = device.TAG
        if tag == "interface":
            return self._find_interface(device)
        for one in devices_of(self._devices, tag):
            if _is_meant(one, device):
                return one
        if tag == "disk":
            text = f"target {device.dev} doesn't exist."
        elif tag == "graphics":
            text = f"cannot find existing graphics type '{device.type}' device to modify"
        else:
            text = "memory not found"
        raise InvalidArg(text, domain=self._errors)

    def _absent(self, wanted: Device) -> Exception:
        """Return the error that there is no such device."""
        tag = wanted.TAG
        if tag in CHARACTER:
            return InvalidArg("device not present in domain configuration", domain=self._errors)
        if tag == "vsock":
            return OperationFailed("matching vsock device not found", domain=self._errors)
        if tag == "disk":
            text = f"no target device {wanted.dev}"
        elif tag == "lease":
            text = f"Lease {wanted.key} in lockspace {wanted.lockspace} does not exist"
        else:
            text = ABSENT.get(tag, "device not present in domain configuration")
        return DeviceMissing(text, domain=self._errors)

    def _taken(self, device: Device) -> str | None:
        """Return why there is no room for a device beside those that there are, None if there is."""
        tag = device.TAG
        present = devices_of(self._devices, tag)
        if tag in {"watchdog", "vsock"}:
            name = "watchdog" if tag == "watchdog" else "vsock device"
            return f"domain already has a {name}" if present else None
        told = _TAKEN.get("chr" if tag in CHARACTER else tag)
        if told is None or not any(_is_meant(one, device) for one in present):
            return None
        return told(device)

    def _find_interface(self, wanted: Device) -> Device:
        """Return the network card with a MAC address, a place and an alias, as far as they are said."""
        mac = wanted.mac.address if wanted.mac is not None else None
        place = wanted.info.address
        found = [
            one
            for one in self._devices.interfaces
            if (mac is None or (one.mac is not None and one.mac.address == mac))
            and (place is None or place == one.info.address)
            and _same_alias(one, wanted)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            which = (
                f"multiple devices matching MAC address {mac} found"
                if mac
                else "multiple matching devices found"
            )
            raise OperationFailed(which, domain=c.VIR_FROM_DOMAIN)
        text = (
            f"no device found at address '{_shown_place(place)}' matching MAC address '{mac or '(<null>)'}'"
            f" and alias '{wanted.info.alias or '(<null>)'}'"
        )
        raise DeviceMissing(text, domain=c.VIR_FROM_DOMAIN)

    def _check_compatible(self, device: Device, old: Device | None) -> None:
        """Refuse a device that goes not together with the guest; ``old`` is the one it replaces."""
        info = getattr(device, "info", None)
        boot = getattr(info, "boot", None)
        if boot is not None and (old is None or old.info.boot != boot):
            if self.model.os.boot:
                text = "per-device boot elements cannot be used together with os/boot elements"
                raise ConfigUnsupported(text, domain=c.VIR_FROM_DOMAIN)
            if any(
                getattr(one.info, "boot", None) and one.info.boot.order == boot.order
                for one in self._others()
            ):
                text = f"boot order {boot.order} is already used by another device"
                raise ConfigUnsupported(text, domain=c.VIR_FROM_DOMAIN)
        if _on_usb(device) and not any(
            one.type == "usb" and one.model != "none" for one in self._devices.controllers
        ):
            text = "Device configuration is not compatible: Domain has no USB bus support"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_DOMAIN)
        if device.TAG == "memory":
            before = old.target.size if old is not None else 0
            if self.model.memory - before + device.target.size > self.model.max_memory:
                text = (
                    f"Attaching memory device with size '{device.target.size}' would exceed domain's"
                    f" maxMemory config size '{self.model.max_memory}'"
                )
                raise ConfigUnsupported(text, domain=c.VIR_FROM_DOMAIN)

    def _others(self) -> list[Device]:
        """Return all devices that have a place."""
        everything = (one for tag in FAMILIES for one in devices_of(self._devices, tag))
        return [one for one in everything if hasattr(one, "info")]


_TAKEN: Final[dict[str, Callable[[Any], str]]] = {
    "disk": lambda device: f"target {device.dev} already exists",
    "hostdev": lambda device: "device is already in the domain configuration",
    "lease": lambda device: f"Lease {device.key} in lockspace {device.lockspace} already exists",
    "controller": lambda device: f"controller index='{device.index}' already exists",
    "chr": lambda device: "chardev already exists",
    "filesystem": lambda device: "Target already exists",
    "shmem": lambda device: "device is already in the domain configuration",
}
"""What is said where there is such a device already; of other families several may be alike."""


def _is_meant(one: Device, wanted: Device) -> bool:
    """Whether a device is the one that a document means."""
    tag = wanted.TAG
    if tag == "disk":
        return bool(one.dev == wanted.dev)
    if tag == "filesystem":
        return bool(one.target == wanted.target)
    if tag == "lease":
        return (one.key, one.lockspace) == (wanted.key, wanted.lockspace)
    if tag == "graphics":
        return bool(one.type == wanted.type)
    if tag == "controller":
        return wanted.index is not None and (one.type, one.index) == (wanted.type, wanted.index)
    if tag == "watchdog":
        return True
    if tag in CHARACTER:
        return _same_character(one, wanted)
    if tag == "hostdev":
        return _same_host_device(one, wanted)
    return _same_place(one, wanted) and _same_alias(one, wanted) and _same_facts(one, wanted)


_FACTS: Final[dict[str, tuple[str, ...]]] = {
    "sound": ("model", "codecs"),
    "rng": ("model", "backend"),
    "memory": ("model", "access", "discard", "source", "target"),
    "redirdev": ("bus", "backend"),
    "shmem": ("name", "model", "size", "server", "msi"),
    "input": ("type", "bus", "model", "source"),
    "vsock": ("cid",),
}
"""By which fields devices of a family are told apart."""


def _same_facts(one: Device, wanted: Device) -> bool:
    """Whether all that a document says is true of a device; what it leaves out may be anything."""
    for name in _FACTS.get(wanted.TAG, ()):
        value = getattr(wanted, name)
        if value is not None and value != getattr(one, name):
            return False
    return True


def _same_place(one: Device, wanted: Device) -> bool:
    """Whether two devices are in one place, as far as the document says one."""
    return wanted.info.address is None or wanted.info.address == one.info.address


def _same_alias(one: Device, wanted: Device) -> bool:
    """Whether two devices may have one alias: a device that has none is not told apart by it."""
    return None in (one.info.alias, wanted.info.alias) or one.info.alias == wanted.info.alias


def _same_character(one: Device, wanted: Device) -> bool:
    """Whether two character devices are the same: their kind, their port or name, and the host's side."""
    ends, others = wanted.target, one.target
    if wanted.TAG in {"serial", "parallel"}:
        # without a port it would get the next free one, so it is none of these
        if ends is None or ends.port is None or others is None or ends.port != others.port:
            return False
    elif wanted.TAG == "console":
        if ends.port is None or (ends.type, ends.port) != (others.type, others.port):
            return False
    elif (ends.type, ends.name, ends.address, ends.port) != (
        others.type,
        others.name,
        others.address,
        others.port,
    ):
        return False
    return (one.backend.type, one.backend.sources) == (wanted.backend.type, wanted.backend.sources)


def _is_serial_console(device: Device) -> bool:
    """Whether a console is a serial port seen again."""
    return device.target is None or device.target.type in {None, "serial"}


def _same_host_device(one: Device, wanted: Device) -> bool:
    """Whether two entries give the guest the same device of the host."""
    if (one.mode, one.type) != (wanted.mode, wanted.type):
        return False
    mine, other = wanted.source, one.source
    if wanted.mode == "subsystem" and wanted.type == "usb":
        if mine.address is not None and other.address is not None:
            return bool(mine.address == other.address)
        return mine.vendor is not None and (mine.vendor, mine.product) == (other.vendor, other.product)
    if wanted.mode == "subsystem" and wanted.type in {"pci", "mdev"}:
        return bool(mine.address == other.address)
    return bool(mine == other)


def _on_usb(device: Device) -> bool:
    """Whether a device is plugged into a USB bus."""
    tag = device.TAG
    if tag in {"disk", "input"}:
        return bool(device.bus == "usb")
    if tag == "hostdev":
        return bool(device.mode == "subsystem" and device.type == "usb")
    return bool(tag == "hub")


def _shown_place(place: Any) -> str:
    """Return a place as libvirt shows it."""
    if not isinstance(place, PciAddress):
        return "(<null>)"
    at = place.place
    return f"{at.domain:04x}:{at.bus:02x}:{at.slot:02x}.{at.function:x}"
