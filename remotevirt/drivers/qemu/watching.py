"""What QEMU tells by itself, and what follows: states, events of libvirt's, the end of a guest.

====================  ===================================================================================
STOP, RESUME          paused, running; why is what was noted when it was asked for, or the event before
SHUTDOWN              the guest is off: end it, or start it anew, as ``on_poweroff`` and ``reboot`` say
RESET                 it has rebooted
GUEST_PANICKED        ``on_crash``
WATCHDOG              what the device's action says
BLOCK_IO_ERROR        an event, and paused where the disk's policy is to stop
VSERPORT_CHANGE       the state of a channel, and an event if it is the agent's
DEVICE_DELETED        an unplugged device is gone: whoever waits goes on; if nobody does, it is taken in here
====================  ===================================================================================

Events come from a process that a guest may have taken over: fields are checked before they are used, and what
makes no sense is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotevirt.drivers.domains.events import device_removal_failed
from remotevirt.drivers.events import Event
from remotevirt.drivers.qemu.characters import opened
from remotevirt.drivers.qemu.command import images_of
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.stopping import DESTROYED, OFF, PANICKED, end
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import event as messages

__all__ = ["heard", "panicked", "pause", "resume", "shut_down"]

log = Logger()


def heard(guest: Guest, name: str, data: dict[str, Any]) -> None:
    """Take in an event.

    Args:
        guest: whose QEMU speaks.
        name: of the event.
        data: what it says; anything may be missing.
    """
    react = REACTIONS.get(name)
    if react is None or guest.record.guest is not guest:
        return
    react(guest, data)


def later(guest: Guest, work: Callable[[], Any], what: str) -> None:
    """Do something that takes time because of an event; what fails is logged."""

    async def run() -> None:
        try:
            await work()
        except VirError as error:
            log.error("domain {name!r}: {what}: {error}", name=guest.record.name, what=what, error=error)
        except Exception:
            log.failure("domain {name!r}: {what}", name=guest.record.name, what=what)

    Deferred.fromCoroutine(run())


def _tell(guest: Guest, id: int, msg: Any) -> None:
    """Publish an event of a guest."""
    guest.world.hub.publish(Event("domain", id, guest.record.uuid, msg))


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    return value[:1024] if isinstance(value, str) else ""


def _number(data: dict[str, Any], key: str) -> int:
    value = data.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else 0


def pause(guest: Guest, reason: int, detail: int) -> None:
    """Note that a guest is paused, and tell it; nothing if it was already."""
    record, world = guest.record, guest.world
    if record.state == c.VIR_DOMAIN_PAUSED and record.reason == reason:
        return

    def change() -> None:
        world.set_state(record, c.VIR_DOMAIN_PAUSED, reason)
        world.publish(record, c.VIR_DOMAIN_EVENT_SUSPENDED, detail)

    world.apply(change)


def resume(guest: Guest, reason: int, detail: int) -> None:
    """Note that a guest runs, and tell it; nothing if it did already."""
    record, world = guest.record, guest.world
    if record.state == c.VIR_DOMAIN_RUNNING:
        return

    def change() -> None:
        world.set_state(record, c.VIR_DOMAIN_RUNNING, reason)
        world.publish(record, c.VIR_DOMAIN_EVENT_RESUMED, detail)

    world.apply(change)


def _stop(guest: Guest, data: dict[str, Any]) -> None:
    if guest.powered_off or guest.restarting or guest.ending is not None:
        return
    if guest.record.state != c.VIR_DOMAIN_RUNNING:
        return
    reason, detail = guest.pausing or (c.VIR_DOMAIN_PAUSED_UNKNOWN, c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
    guest.pausing = None
    pause(guest, reason, detail)


def _resume(guest: Guest, data: dict[str, Any]) -> None:
    if guest.record.state not in (c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PMSUSPENDED):
        return
    reason, detail = guest.resuming or (
        c.VIR_DOMAIN_RUNNING_UNPAUSED,
        c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED,
    )
    guest.resuming = None
    resume(guest, reason, detail)


def shut_down(guest: Guest, data: dict[str, Any]) -> None:
    """The guest is off, and QEMU waits."""
    record, world = guest.record, guest.world
    if guest.ending == DESTROYED and not guest.powered_off:
        guest.powered_off = True
        world.publish(record, c.VIR_DOMAIN_EVENT_SHUTDOWN, c.VIR_DOMAIN_EVENT_SHUTDOWN_HOST)
    if guest.powered_off or guest.ending is not None:
        return
    model = record.live.model
    restarts = ("restart", "rename-restart")
    if _text(data, "reason") in ("guest-reset", "host-qmp-system-reset"):
        again = False  # a reset that comes as an end: on_reboot says so
    else:
        again = guest.details.reboot or model.on_poweroff in restarts
    if again:
        guest.restarting = True
        why = c.VIR_DOMAIN_RUNNING_BOOTED
        later(guest, lambda: _start_anew(guest, why), "the guest does not start anew")
        return
    guest.powered_off = True
    by_guest = data.get("guest")
    detail = c.VIR_DOMAIN_EVENT_SHUTDOWN_FINISHED
    if isinstance(by_guest, bool):
        detail = c.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST if by_guest else c.VIR_DOMAIN_EVENT_SHUTDOWN_HOST

    def change() -> None:
        world.set_state(record, c.VIR_DOMAIN_SHUTDOWN, c.VIR_DOMAIN_SHUTDOWN_UNKNOWN)
        world.publish(record, c.VIR_DOMAIN_EVENT_SHUTDOWN, detail)

    world.apply(change)
    later(guest, lambda: end(guest, OFF), "its QEMU does not end")


async def _start_anew(guest: Guest, reason: int) -> None:
    """Reset a guest that is off or has panicked, and let it run, for a virDomainRunningReason."""
    record, world = guest.record, guest.world
    try:
        await guest.execute("system_reset")
        await guest.execute("cont")
        guest.check_alive()
    finally:
        guest.restarting = False

    def change() -> None:
        guest.details.reboot = False
        guest.remember()
        ran = record.state == c.VIR_DOMAIN_RUNNING
        world.set_state(record, c.VIR_DOMAIN_RUNNING, reason)
        if not ran:
            world.publish(record, c.VIR_DOMAIN_EVENT_RESUMED, c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)

    world.apply(change)


def _reset(guest: Guest, data: dict[str, Any]) -> None:
    _tell(guest, c.VIR_DOMAIN_EVENT_ID_REBOOT, messages.DomainEventRebootMsg(guest.record.ref))


def _panic(guest: Guest, data: dict[str, Any]) -> None:
    if guest.record.state == c.VIR_DOMAIN_CRASHED or guest.restarting:
        return  # it stands still: a QEMU that says so again would have it dumped without end
    panicked(guest)


def panicked(guest: Guest) -> None:
    """The guest's kernel has given up; QEMU has stopped it."""
    record, world = guest.record, guest.world
    action = record.live.model.on_crash
    detail = c.VIR_DOMAIN_EVENT_CRASHED_PANICKED

    def change() -> None:
        world.set_state(record, c.VIR_DOMAIN_CRASHED, c.VIR_DOMAIN_CRASHED_PANICKED)
        world.publish(record, c.VIR_DOMAIN_EVENT_CRASHED, detail)

    world.apply(change)
    if action.startswith("coredump"):
        later(guest, lambda: _dump_then(guest, action), "no dump after its panic")
    elif action in ("restart", "rename-restart"):
        why = c.VIR_DOMAIN_RUNNING_CRASHED
        guest.restarting = True
        later(guest, lambda: _start_anew(guest, why), "the guest does not start anew")
    elif action == "destroy":
        later(guest, lambda: end(guest, PANICKED), "its QEMU does not end")


async def _dump_then(guest: Guest, action: str) -> None:
    """Keep the guest's memory, then do what else is wanted after a panic."""
    if guest.world.dump_panicked is not None:
        await guest.world.dump_panicked(guest)
    if action == "coredump-restart":
        await _start_anew(guest, c.VIR_DOMAIN_RUNNING_CRASHED)
    else:
        await end(guest, PANICKED)


WATCHDOG_ACTIONS: Final = {
    "none": c.VIR_DOMAIN_EVENT_WATCHDOG_NONE,
    "pause": c.VIR_DOMAIN_EVENT_WATCHDOG_PAUSE,
    "reset": c.VIR_DOMAIN_EVENT_WATCHDOG_RESET,
    "poweroff": c.VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF,
    "shutdown": c.VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN,
    "debug": c.VIR_DOMAIN_EVENT_WATCHDOG_DEBUG,
    "inject-nmi": c.VIR_DOMAIN_EVENT_WATCHDOG_INJECTNMI,
}
"""QEMU's words for what it does when the watchdog bites."""


def _watchdog(guest: Guest, data: dict[str, Any]) -> None:
    action = WATCHDOG_ACTIONS.get(_text(data, "action"))
    if action is None:
        return
    record = guest.record
    if action == c.VIR_DOMAIN_EVENT_WATCHDOG_PAUSE:
        guest.pausing = (c.VIR_DOMAIN_PAUSED_WATCHDOG, c.VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG)
        if any(one.action == "dump" for one in record.live.model.devices.watchdogs) and not guest.dumping:
            guest.dumping = True
            later(guest, lambda: _dump_and_go_on(guest), "no dump after its watchdog")
    msg = messages.DomainEventWatchdogMsg(record.ref, action)
    _tell(guest, c.VIR_DOMAIN_EVENT_ID_WATCHDOG, msg)


async def _dump_and_go_on(guest: Guest) -> None:
    """Keep the memory of a guest that its watchdog has paused, and let it run again in any case."""
    try:
        if guest.world.dump_panicked is not None:
            await guest.world.dump_panicked(guest)
    finally:
        guest.dumping = False
        record = guest.record
        if record.guest is guest and record.reason == c.VIR_DOMAIN_PAUSED_WATCHDOG:
            await guest.execute("cont")


IO_ERROR_ACTIONS: Final = {
    "ignore": c.VIR_DOMAIN_EVENT_IO_ERROR_NONE,
    "stop": c.VIR_DOMAIN_EVENT_IO_ERROR_PAUSE,
    "report": c.VIR_DOMAIN_EVENT_IO_ERROR_REPORT,
}
"""QEMU's words for what it does about an error of a disk."""


def _io_error(guest: Guest, data: dict[str, Any]) -> None:
    action = IO_ERROR_ACTIONS.get(_text(data, "action"))
    if action is None:
        return
    record = guest.record
    if action == c.VIR_DOMAIN_EVENT_IO_ERROR_PAUSE:
        guest.pausing = (c.VIR_DOMAIN_PAUSED_IOERROR, c.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR)
    alias, path = "", ""
    wanted = _text(data, "qom-path") or _text(data, "device")
    for disk in record.live.model.devices.disks:
        name = disk.info.alias or ""
        if name and name in wanted.split("/"):
            alias, path = name, (disk.source.place() if disk.source else None) or ""
    reason = "enospc" if data.get("nospace") is True else ""
    msg = messages.DomainEventIoErrorMsg(record.ref, path, alias, action)
    _tell(guest, c.VIR_DOMAIN_EVENT_ID_IO_ERROR, msg)
    why = messages.DomainEventIoErrorReasonMsg(record.ref, path, alias, action, reason)
    _tell(guest, c.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, why)


def _balloon(guest: Guest, data: dict[str, Any]) -> None:
    actual = _number(data, "actual") // 1024
    if actual <= 0:
        return
    record, world = guest.record, guest.world

    def change() -> None:
        world.touch(record)
        record.live.memory = min(actual, record.live.max_memory)
        record.refresh()

    world.apply(change)
    msg = messages.DomainEventBalloonChangeMsg(record.ref, actual)
    _tell(guest, c.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, msg)


def _rtc(guest: Guest, data: dict[str, Any]) -> None:
    msg = messages.DomainEventRtcChangeMsg(guest.record.ref, _number(data, "offset"))
    _tell(guest, c.VIR_DOMAIN_EVENT_ID_RTC_CHANGE, msg)


def _tray(guest: Guest, data: dict[str, Any]) -> None:
    record = guest.record
    opened = data.get("tray-open") is True
    reason = c.VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN if opened else c.VIR_DOMAIN_EVENT_TRAY_CHANGE_CLOSE
    alias = _text(data, "id").rsplit("/", 1)[-1]

    def change() -> None:
        guest.world.touch(record)
        for disk in record.live.changing().devices.disks:
            if disk.info.alias == alias and disk.target is not None:
                disk.target.tray = "open" if opened else "closed"

    guest.world.apply(change)
    guest.happened("TRAY_OPEN" if opened else "TRAY_CLOSED", alias)
    for disk in record.live.model.devices.disks:
        if disk.info.alias == alias:
            msg = messages.DomainEventTrayChangeMsg(record.ref, alias, reason)
            _tell(guest, c.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, msg)


def _suspended(guest: Guest, data: dict[str, Any]) -> None:
    record, world = guest.record, guest.world

    def change() -> None:
        world.set_state(record, c.VIR_DOMAIN_PMSUSPENDED, c.VIR_DOMAIN_PMSUSPENDED_UNKNOWN)
        detail = c.VIR_DOMAIN_EVENT_PMSUSPENDED_MEMORY
        world.publish(record, c.VIR_DOMAIN_EVENT_PMSUSPENDED, detail)

    if record.state == c.VIR_DOMAIN_RUNNING:
        world.apply(change)


def _wakeup(guest: Guest, data: dict[str, Any]) -> None:
    record, world = guest.record, guest.world

    def change() -> None:
        world.set_state(record, c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_WAKEUP)
        world.publish(record, c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_WAKEUP)

    if record.state == c.VIR_DOMAIN_PMSUSPENDED:
        world.apply(change)


def _deleted(guest: Guest, data: dict[str, Any]) -> None:
    alias, take_in = _text(data, "device"), guest.world.device_gone
    if not guest.happened("DEVICE_DELETED", alias) and alias and take_in is not None:
        later(guest, lambda: take_in(guest, alias), f"its device {alias} has gone")


def _unplug_refused(guest: Guest, data: dict[str, Any]) -> None:
    alias, details = _text(data, "device"), guest.details
    if alias in details.unplugging:

        def change() -> None:
            details.unplugging = [one for one in details.unplugging if one != alias]
            guest.remember()
            guest.world.hub.publish(device_removal_failed(guest.record.ref, alias))

        guest.world.apply(change)
    guest.happened("DEVICE_UNPLUG_GUEST_ERROR", alias)


def _threshold(guest: Guest, data: dict[str, Any]) -> None:
    node = _text(data, "node-name")
    for disk in guest.record.live.model.devices.disks:
        with suppress(VirError):
            for image in images_of(disk):
                if node in (image.storage, image.node):
                    names = [disk.dev] if image.top else []
                    names += [f"{disk.dev}[{image.index}]"] if image.index else []
                    limit, excess = _number(data, "write-threshold"), _number(data, "amount-exceeded")
                    path = image.source.place()
                    for name in names:
                        msg = messages.DomainEventBlockThresholdMsg(
                            0, guest.record.ref, name, path, limit, excess
                        )
                        _tell(guest, c.VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD, msg)


def _passed(guest: Guest, data: dict[str, Any]) -> None:
    count = _number(data, "pass")
    if guest.progress is not None and 0 < count < 2**31:
        msg = messages.DomainEventCallbackMigrationIterationMsg(0, guest.record.ref, count)
        _tell(guest, c.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, msg)


def _dumped(guest: Guest, data: dict[str, Any]) -> None:
    if guest.progress is not None:
        guest.progress.error = _text(data, "error")


def _port(guest: Guest, data: dict[str, Any]) -> None:
    is_open = data.get("open")
    if isinstance(is_open, bool):
        opened(guest, _text(data, "id"), is_open)


REACTIONS: Final[dict[str, Callable[[Guest, dict[str, Any]], None]]] = {
    "STOP": _stop,
    "RESUME": _resume,
    "SHUTDOWN": shut_down,
    "RESET": _reset,
    "GUEST_PANICKED": _panic,
    "WATCHDOG": _watchdog,
    "BLOCK_IO_ERROR": _io_error,
    "BALLOON_CHANGE": _balloon,
    "RTC_CHANGE": _rtc,
    "DEVICE_TRAY_MOVED": _tray,
    "SUSPEND": _suspended,
    "WAKEUP": _wakeup,
    "DEVICE_DELETED": _deleted,
    "DUMP_COMPLETED": _dumped,
    "MIGRATION_PASS": _passed,
    "DEVICE_UNPLUG_GUEST_ERROR": _unplug_refused,
    "BLOCK_WRITE_THRESHOLD": _threshold,
    "VSERPORT_CHANGE": _port,
}
"""What is done about which event; others are of no interest here."""
