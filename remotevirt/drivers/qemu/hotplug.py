"""Calls that attach, change and detach devices: of the running guest, of the persistent definition, of both.

What is asked of both is checked for both before anything is done. The running guest comes first; the
definitions and their events follow in one commit when QEMU has done its part. A change is brought to its end
whether its client waits for that or not: QEMU does what it was told all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.domains.calls import CONFIG, IMPACT, LIVE
from remotevirt.drivers.domains.devices import DeviceEditor, parse_device
from remotevirt.drivers.qemu.calls import QemuCalls, to_the_end
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.live_devices import LiveEditor
from remotevirt.drivers.qemu.media import change_medium
from remotevirt.drivers.qemu.plugging import Change, plug
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.unplugging import unplug
from remotevirt.drivers.qemu.updating import update
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.xml.domain.device import Device

__all__ = ["HotplugCalls"]

FORCE: Final[int] = c.VIR_DOMAIN_DEVICE_MODIFY_FORCE
REMOVABLE: Final = frozenset({"cdrom", "floppy"})


@in_steps
def _read(xml: str, live: bool) -> Steps[Device]:
    """Read a device's document, in a thread if it is long."""
    device: Device = yield Work(len(xml), parse_device, xml, live=live)
    return device


class HotplugCalls(QemuCalls):
    """Calls that change a domain's devices."""

    async def domain_attach_device(self, dom: NonnullDomain, xml: str) -> None:
        """Plug a device into a running domain."""
        await self.domain_attach_device_flags(dom, xml, LIVE)

    async def domain_attach_device_flags(self, dom: NonnullDomain, xml: str, flags: int) -> None:
        """Add a device to the running domain, to the persistent definition, or to both."""
        record = self.record(dom)
        self.check_flags(self.impact(record, flags), IMPACT, "DomainAttachDeviceLiveAndConfig")
        device = await self._device(xml, live=False)

        async def live(guest: Guest, config: Change | None) -> None:
            if device.TAG == "disk" and device.device in REMOVABLE and _drive(guest, device) is not None:
                await change_medium(guest, device, config, force=False)
            else:
                await plug(guest, device.copy(), config)

        await self._change(
            record, flags, "AttachDeviceFlags", live, lambda editor: _attach(editor, device.copy())
        )

    async def domain_detach_device(self, dom: NonnullDomain, xml: str) -> None:
        """Ask a running domain to let go of a device."""
        await self.domain_detach_device_flags(dom, xml, LIVE)

    async def domain_detach_device_flags(self, dom: NonnullDomain, xml: str, flags: int) -> None:
        """Remove a device from the running domain, from the persistent definition, or from both."""
        record = self.record(dom)
        self.check_flags(self.impact(record, flags), IMPACT, "DomainDetachDeviceLiveAndConfig")
        wanted = await self._device(xml, live=bool(self.impact(record, flags) & LIVE))

        async def live(guest: Guest, config: Change | None) -> None:
            found = LiveEditor(guest.record.live.model).find_unpluggable(wanted)
            await self._unplug(guest, found, config)

        await self._change(record, flags, "DetachDeviceFlags", live, lambda editor: editor.detach(wanted))

    async def domain_detach_device_alias(self, dom: NonnullDomain, alias: str, flags: int) -> None:
        """Remove the device with an alias; that it has gone is told by an event."""
        record = self.record(dom)
        self.check_flags(self.impact(record, flags), IMPACT, "DomainDetachDeviceAliasLiveAndConfig")

        async def live(guest: Guest, config: Change | None) -> None:
            editor = LiveEditor(guest.record.live.model)
            found = editor.find_alias(alias)
            editor.check_unpluggable(found)
            await self._unplug(guest, found, config, wait=False)

        await self._change(
            record, flags, "DetachDeviceAlias", live, lambda editor: editor.remove(editor.find_alias(alias))
        )

    async def domain_update_device_flags(self, dom: NonnullDomain, xml: str, flags: int) -> None:
        """Change a device in place: another medium, a cable in or out, a password."""
        self.check_flags(flags, IMPACT | FORCE, "DomainUpdateDeviceFlags")
        record, force = self.record(dom), bool(flags & FORCE)
        self.impact(record, flags & IMPACT)
        device = await self._device(xml, live=bool(self.impact(record, flags & IMPACT) & LIVE))
        await self._change(
            record,
            flags & IMPACT,
            "UpdateDeviceFlags",
            lambda guest, config: update(guest, device.copy(), config, force=force),
            lambda editor: editor.update(device.copy()),
        )

    async def _device(self, xml: str, *, live: bool) -> Device:
        reading: Deferred[Any] = maybeDeferred(_read, xml, live)
        return await reading

    @to_the_end
    async def _change(
        self,
        record: QemuRecord,
        flags: int,
        name: str,
        live: Callable[[Guest, Change | None], Any],
        config: Change,
    ) -> None:
        """Change what the flags say.

        Args:
            record: the domain.
            flags: virDomainModificationImpact.
            name: of the procedure.
            live: changes the running guest, and commits that with a change of the persistent definition.
            config: changes the persistent definition.
        """
        world = self.world
        async with self.turn(record, f"remoteDispatchDomain{name}"):
            flags = self.impact(record, flags)
            if flags & CONFIG:
                record.persistent_definition.with_devices(config)
            if flags & LIVE:
                await live(self.guest(record), config if flags & CONFIG else None)
                return

            world.commit(lambda: world.change_devices(record, live=None, config=config))

    async def _unplug(
        self, guest: Guest, device: Device, config: Change | None, *, wait: bool = True
    ) -> None:
        """Ask a guest for a device, and change the persistent definition, which waits for nobody."""
        world, record = self.world, guest.record
        await unplug(guest, device.info.alias, wait=wait)
        if config is not None:
            world.commit(lambda: world.change_devices(record, live=None, config=config))


def _drive(guest: Guest, disk: Device) -> Device | None:
    """Return the drive that a disk's document is a medium for, None if it is a new drive."""
    return next((one for one in guest.record.live.model.devices.disks if one.dev == disk.dev), None)


def _attach(editor: DeviceEditor, device: Device) -> None:
    """Add a device to a persistent definition."""
    editor.attach(device)
