"""The guest's clock and timers, and what it may do with its power."""

from __future__ import annotations

import time
from typing import Final

from remotevirt.drivers.qemu.command.parts import Part, comma_list, option
from remotevirt.drivers.qemu.command.setting import Setting, unsupported
from remotevirt.xml.domain.clock import Timer

__all__ = ["clock_options", "power_options"]

_TRACKS: Final = {"guest": "vm", "wall": "host", "realtime": "rt"}
"""What the real-time clock follows, in QEMU's words."""

_ELSEWHERE: Final = frozenset(("kvmclock", "hypervclock", "tsc"))
"""Timers that are features of the virtual CPUs."""


def clock_options(setting: Setting) -> list[Part]:
    """Return ``-rtc`` and the timers. Raises VirError for those that QEMU has not."""
    clock = setting.model.clock
    timers = {timer.name: timer for timer in clock.timers}
    values: dict[str, object] = {"base": _base(setting)}
    rtc = timers.get("rtc")
    if rtc is not None:
        if rtc.track is not None:
            if rtc.track not in _TRACKS:
                raise unsupported(f"unsupported rtc timer track '{rtc.track}'")
            values["clock"] = _TRACKS[rtc.track]
        if rtc.tickpolicy == "catchup":
            values["driftfix"] = "slew"
        elif rtc.tickpolicy not in {None, "delay"}:
            raise unsupported(f"unsupported rtc timer tickpolicy '{rtc.tickpolicy}'")
    parts = [option("-rtc", comma_list(**values))]
    for timer in clock.timers:
        parts += _timer(setting, timer)
    return parts


def _base(setting: Setting) -> str:
    clock = setting.model.clock
    if clock.offset in {"utc", "localtime"}:
        if clock.adjustment not in {None, "reset", "0"}:
            raise unsupported(f"unsupported clock adjustment '{clock.adjustment}'")
        return clock.offset
    if clock.offset == "absolute":
        return _date(clock.start or 0)
    if clock.offset == "variable":
        now = time.time()
        if clock.basis == "localtime":
            now += time.localtime(now).tm_gmtoff
        return _date(int(now) + int(clock.adjustment or 0))
    raise unsupported(f"unsupported clock offset '{clock.offset}'")


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _timer(setting: Setting, timer: Timer) -> list[Part]:
    if timer.catchup is not None:
        raise unsupported("setting of timer catchup policies is not supported with this QEMU")
    if timer.name in _ELSEWHERE:
        if timer.name != "hypervclock" and timer.tickpolicy is not None:
            raise unsupported(f"timer {timer.name} doesn't support setting of timer tickpolicy")
        if timer.mode not in {None, "auto"}:
            raise unsupported(f"timer {timer.name} doesn't support setting of timer mode")
        return []
    if timer.name == "rtc":
        return []
    if timer.name == "pit":
        if timer.tickpolicy is None:
            return []
        if timer.tickpolicy == "delay":
            return [option("-global", "kvm-pit.lost_tick_policy=delay")]
        if timer.tickpolicy == "discard":
            return [option("-global", "kvm-pit.lost_tick_policy=discard")]
        if timer.tickpolicy == "catchup":
            return []
        raise unsupported(f"unsupported pit tickpolicy '{timer.tickpolicy}'")
    if timer.name == "hpet":
        if timer.tickpolicy is not None:
            raise unsupported("hpet timer tickpolicy is not supported")
        if timer.present is False and setting.is_x86:
            return [option("-no-hpet")]
        if timer.present and not setting.is_x86:
            raise unsupported("hpet timer is not supported")
        return []
    raise unsupported(f"unsupported timer type (name) '{timer.name}'")


def power_options(setting: Setting) -> list[Part]:
    """Return whether the guest may power off, and how it sleeps."""
    model = setting.model
    # What a reset or a shutdown leads to is told over the monitor (``set-action``), where it can change.
    parts = [option("-no-shutdown")]
    if (setting.is_x86 or setting.is_virt) and (model.features is None or not model.features.acpi):
        parts.append(option("-no-acpi"))
    if model.pm is not None:
        chip = "ICH9-LPC" if setting.is_q35 else "PIIX4_PM"
        for name, allowed in (("disable_s3", model.pm.mem), ("disable_s4", model.pm.disk)):
            if allowed is None:
                continue
            if not setting.is_x86:
                raise unsupported(f"setting ACPI {'S3' if name == 'disable_s3' else 'S4'} not supported")
            parts.append(option("-global", f"{chip}.{name}={int(not allowed)}"))
    return parts
