"""Starting, pausing, resetting and stopping guests.

::

              create                        suspend, STOP
    SHUTOFF ----------> RUNNING/BOOTED  ------------------> PAUSED/USER, IOERROR, WATCHDOG
       ^                  |   ^    ^                             |    |
       |  destroy,        |   |    +-----------------------------+    |
       |  SHUTDOWN,       |   |        resume, RESUME (UNPAUSED)      |
       |  QEMU's end      |   +--- reboot: powered down, reset, on    |
       +------------------+--------------------------------------------+

What the guest does by itself is in :mod:`remotevirt.drivers.qemu.watching`, how it ends in
:mod:`remotevirt.drivers.qemu.stopping`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.faults import not_running
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.running import run_cpus, stop_cpus
from remotevirt.drivers.qemu.saving import restore_managed
from remotevirt.drivers.qemu.starting import BOOT, start
from remotevirt.drivers.qemu.stopping import DESTROYED, end, wait_over
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import (
    AgentUnresponsive,
    ArgumentUnsupported,
    ConfigUnsupported,
    OperationInvalid,
)
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["LifecycleCalls"]

CREATE_FLAGS: Final[int] = (
    c.VIR_DOMAIN_START_PAUSED
    | c.VIR_DOMAIN_START_AUTODESTROY
    | c.VIR_DOMAIN_START_BYPASS_CACHE
    | c.VIR_DOMAIN_START_FORCE_BOOT
    | c.VIR_DOMAIN_START_RESET_NVRAM
)
"""What create knows in libvirt 9.0.0's QEMU driver."""

SHUTDOWN_FLAGS: Final[int] = c.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN | c.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT
REBOOT_FLAGS: Final[int] = c.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN | c.VIR_DOMAIN_REBOOT_GUEST_AGENT
RESTARTS: Final = ("restart", "rename-restart")


AGENT: Final = "org.qemu.guest_agent.0"
"""What the channel is called that an agent listens to."""


def no_agent(record: QemuRecord) -> VirError:
    """Return the error for a call that needs the guest's agent, with which nobody here talks."""
    if record.state != c.VIR_DOMAIN_RUNNING:
        return not_running(c.VIR_FROM_QEMU)
    if any(one.target is not None and one.target.name == AGENT for one in record.live.model.devices.channels):
        return AgentUnresponsive("QEMU guest agent is not connected", domain=c.VIR_FROM_QEMU)
    return ArgumentUnsupported("QEMU guest agent is not configured", domain=c.VIR_FROM_QEMU)


class LifecycleCalls(QemuCalls):
    """Calls that change a guest's state."""

    async def domain_create(self, dom: NonnullDomain) -> None:
        """Start an inactive domain."""
        await self.domain_create_with_flags(dom, 0)

    async def domain_create_with_flags(self, dom: NonnullDomain, flags: int) -> NonnullDomain:
        """Start an inactive domain, from its managed save if it has one."""
        self.check_flags(flags, CREATE_FLAGS, "DomainCreateWithFlags")
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainCreateWithFlags"):
            if record.active:
                raise OperationInvalid("domain is already running", domain=c.VIR_FROM_QEMU)
            self.still(record)
            await self._start(record, flags)
        return record.ref

    async def domain_create_with_files(
        self, dom: NonnullDomain, flags: int, files: Sequence[int]
    ) -> NonnullDomain:
        """As domain_create_with_flags; descriptors are for containers, QEMU takes none."""
        if files:
            text = "passing descriptors to a new domain is not supported by QEMU"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
        return await self.domain_create_with_flags(dom, flags)

    async def _start(self, record: QemuRecord, flags: int) -> None:
        world = self.world
        paused = bool(flags & c.VIR_DOMAIN_START_PAUSED)
        autodestroy = bool(flags & c.VIR_DOMAIN_START_AUTODESTROY)
        reset_nvram = bool(flags & c.VIR_DOMAIN_START_RESET_NVRAM)
        if record.managed_save and not flags & c.VIR_DOMAIN_START_FORCE_BOOT:
            await restore_managed(
                world, record, paused=paused, autodestroy=autodestroy, reset_nvram=reset_nvram
            )
        else:
            await start(world, record, BOOT, paused=paused, autodestroy=autodestroy, reset_nvram=reset_nvram)
        if autodestroy:
            self.destroy_at_close(record)

    def destroy_at_close(self, record: QemuRecord) -> None:
        """End a guest when this client goes."""
        guest = record.guest
        if guest is None:
            return  # it has ended already

        async def destroy() -> None:
            if record.guest is guest:
                await end(guest, DESTROYED)

        forget = self.client.at_close(destroy)
        wait_over(guest).addCallback(lambda _: forget())

    async def domain_suspend(self, dom: NonnullDomain) -> None:
        """Pause a guest; one that is paused stays so."""
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainSuspend"):
            guest = self.guest(record)
            if record.state == c.VIR_DOMAIN_PMSUSPENDED:
                raise OperationInvalid("domain is pmsuspended", domain=c.VIR_FROM_QEMU)
            if record.state != c.VIR_DOMAIN_PAUSED:
                why = (c.VIR_DOMAIN_PAUSED_USER, c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
                await stop_cpus(guest, *why)

    async def domain_resume(self, dom: NonnullDomain) -> None:
        """Let a paused guest run again."""
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainResume"):
            guest = self.guest(record)
            if record.state == c.VIR_DOMAIN_PMSUSPENDED:
                raise OperationInvalid("domain is pmsuspended", domain=c.VIR_FROM_QEMU)
            if record.state == c.VIR_DOMAIN_RUNNING:
                raise OperationInvalid("domain is already running", domain=c.VIR_FROM_QEMU)
            await run_cpus(guest, c.VIR_DOMAIN_RUNNING_UNPAUSED, c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)

    async def domain_shutdown(self, dom: NonnullDomain) -> None:
        """Press the power button."""
        await self.domain_shutdown_flags(dom, 0)

    async def domain_shutdown_flags(self, dom: NonnullDomain, flags: int) -> None:
        """Press the power button; what comes of it is up to the guest, and then to ``on_poweroff``."""
        self.check_flags(flags, SHUTDOWN_FLAGS, "DomainShutdownFlags")
        await self._press(dom, flags, "on_poweroff", "remoteDispatchDomainShutdownFlags", runs=True)

    async def domain_reboot(self, dom: NonnullDomain, flags: int) -> None:
        """Press the power button; when the guest is off, let it boot again, unless ``on_reboot`` says no."""
        self.check_flags(flags, REBOOT_FLAGS, "DomainReboot")
        by_agent = flags == c.VIR_DOMAIN_REBOOT_GUEST_AGENT
        await self._press(dom, flags, "on_reboot", "remoteDispatchDomainReboot", runs=by_agent)

    async def _press(self, dom: NonnullDomain, flags: int, action: str, name: str, *, runs: bool) -> None:
        record = self.record(dom)
        if flags == c.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT:
            raise no_agent(record)
        self.guest(record)
        async with self.turn(record, name):
            guest = self.guest(record)
            if runs and record.state != c.VIR_DOMAIN_RUNNING:
                raise OperationInvalid("domain is not running", domain=c.VIR_FROM_QEMU)
            reboot = getattr(record.live.model, action) in RESTARTS
            if guest.details.reboot != reboot:
                self.world.commit(_remember_reboot, guest, reboot)
            await guest.execute("system_powerdown")

    async def domain_reset(self, dom: NonnullDomain, flags: int) -> None:
        """Reset a guest, as by its reset button."""
        self.check_flags(flags, 0, "DomainReset")
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainReset"):
            guest = self.guest(record)
            await guest.execute("system_reset")
            if record.state == c.VIR_DOMAIN_CRASHED:
                self.world.commit(
                    self.world.set_state, record, c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_CRASHED
                )

    async def domain_destroy(self, dom: NonnullDomain) -> None:
        """End a guest's QEMU."""
        await self.domain_destroy_flags(dom, 0)

    async def domain_destroy_flags(self, dom: NonnullDomain, flags: int) -> None:
        """End a guest's QEMU, whatever a call is doing; with VIR_DOMAIN_DESTROY_GRACEFUL not by force."""
        self.check_flags(flags, c.VIR_DOMAIN_DESTROY_GRACEFUL, "DomainDestroyFlags")
        guest = self.guest(self.record(dom))
        await end(guest, DESTROYED, graceful=bool(flags & c.VIR_DOMAIN_DESTROY_GRACEFUL))

    async def domain_inject_nmi(self, dom: NonnullDomain, flags: int) -> None:
        """Give a guest a non-maskable interrupt."""
        self.check_flags(flags, 0, "DomainInjectNMI")
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainInjectNMI"):
            await self.guest(record).execute("inject-nmi")

    async def domain_pm_wakeup(self, dom: NonnullDomain, flags: int) -> None:
        """Wake a guest that sleeps."""
        self.check_flags(flags, 0, "DomainPMWakeup")
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainPMWakeup"):
            await self.guest(record).execute("system_wakeup")


def _remember_reboot(guest: Guest, reboot: bool) -> None:
    guest.details.reboot = reboot
    guest.remember()
