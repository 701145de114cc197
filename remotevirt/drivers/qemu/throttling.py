"""Block I/O tune of QEMU's disks: asked of QEMU while the guest runs, and of the definition otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from remotevirt.drivers.domains.calls import CONFIG, IMPACT, LIVE
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.disk_tuning import (
    ALLOWED,
    AVERAGES,
    GROUP,
    LENGTHS,
    MAXIMA,
    ORDER,
    SIZE,
    check_asked,
    check_given,
    check_totals,
    take_limit,
    tune_param,
)
from remotevirt.drivers.domains.parameters import STRINGS, cut
from remotevirt.drivers.events import Event
from remotevirt.drivers.qemu.calls import QemuCalls, to_the_end
from remotevirt.drivers.qemu.command import block_id
from remotevirt.drivers.qemu.disks import device_of, disk_named
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError
from remotevirt.stubs.remote import NonnullDomain, TypedParam, event
from remotevirt.stubs.remote.domain import DomainGetBlockIoTuneRet
from remotevirt.typed_params import check_params, string
from remotevirt.xml.domain.disk import Disk, IoTune

__all__ = ["ThrottlingCalls"]

WORDS: Final[Mapping[str, str]] = {
    f"{way}_{kind}_sec{end}": f"{word}{suffix}{end}"
    for kind, word in (("bytes", "bps"), ("iops", "iops"))
    for way, suffix in (("total", ""), ("read", "_rd"), ("write", "_wr"))
    for end in ("", "_max", "_max_length")
} | {SIZE: "iops_size", GROUP: "group"}
"""QEMU's word for each of libvirt's."""

TOGETHER: Final = tuple(
    tuple(f"{way}_{kind}{end}" for way in ("total", "read", "write"))
    for kind in ("bytes_sec", "iops_sec")
    for end in ("", "_max")
)
"""Limits of which a call that says one says all; those it leaves out are none."""


class ThrottlingCalls(QemuCalls):
    """``<iotune>``."""

    async def domain_get_block_io_tune(
        self, dom: NonnullDomain, disk: str | None, nparams: int, flags: int
    ) -> DomainGetBlockIoTuneRet:
        """Return the limits of a disk, 0 where there is none; without parameters no disk is needed."""
        check_asked(disk, nparams, flags)
        self.check_flags(flags, IMPACT | STRINGS, "DomainGetBlockIoTune")
        record = self.record(dom)
        impact = self.impact(record, flags & IMPACT)
        if nparams == 0:
            return DomainGetBlockIoTuneRet((), len(ORDER))
        definition = record.live if impact & LIVE else record.persistent_definition
        found = _find(definition, disk or "", live=bool(impact & LIVE))
        tune = found.iotune
        if impact & LIVE:
            tune = await _ask(self.guest(record), found)
        params = [tune_param(tune, name) for name in ORDER]
        return DomainGetBlockIoTuneRet(cut(params, nparams, flags), 0)

    @to_the_end
    async def domain_set_block_io_tune(
        self, dom: NonnullDomain, disk: str, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change limits of a disk, of the running guest or of the definition or of both.

        Raises:
            ArgumentUnsupported: a limit is too large.
            ConfigUnsupported, InvalidArg: there is no such disk, or the limits contradict each other.
        """
        check_given(params)
        self.check_flags(flags, IMPACT, "DomainSetBlockIoTune")
        check_params(params, ALLOWED)
        record, world = self.record(dom), self.world
        self.impact(record, flags)
        async with self.turn(record, "remoteDispatchDomainSetBlockIoTune"):
            impact = self.impact(record, flags)
            given = IoTune()
            for param in params:
                take_limit(given, param, c.VIR_FROM_QEMU)
            check_totals(given, c.VIR_FROM_QEMU)
            live = config = None
            if impact & LIVE:
                found = _find(record.live, disk, live=True)
                live = _merged(found.iotune, given, params)
                _check(live)
            if impact & CONFIG:
                kept = _find(record.persistent_definition, disk, live=False)
                config = _merged(kept.iotune, given, params)
                _check(config)
            if live is not None and not found.source_is_empty():
                await self.guest(record).execute("block_set_io_throttle", _arguments(found, live))

            def change() -> None:
                world.touch(record)
                for definition, tune in ((record.live, live), (record.persistent_definition, config)):
                    there = definition.disk(disk)
                    if tune is not None and there is not None:
                        definition.changing()
                        there.iotune = None if tune == IoTune() else tune
                world.redefined(record)
                if live is not None:
                    told = [string("blkdeviotune.disk", found.dev)]
                    told += [param._replace(field=f"blkdeviotune.{param.field}") for param in params]
                    msg = event.DomainEventCallbackTunableMsg(0, record.ref, told)
                    world.hub.publish(Event("domain", c.VIR_DOMAIN_EVENT_ID_TUNABLE, record.uuid, msg))

            world.commit(change)


def _find(definition: Definition, name: str, *, live: bool) -> Disk:
    where = "not found in domain" if live else "was not found in the domain config"
    return disk_named(definition, name, f"disk '{name}' {where}")


def _merged(old: IoTune | None, given: IoTune, params: Sequence[TypedParam]) -> IoTune:
    """Return limits after a call: what it says, and of the rest what was."""
    tune = old.copy() if old is not None else IoTune()
    said = {param.field for param in params}
    for names in TOGETHER:
        if said & set(names):
            for name in names:
                setattr(tune, name, getattr(given, name))
    for name in (SIZE, GROUP, *LENGTHS):
        if name in said:
            setattr(tune, name, getattr(given, name))
    return tune


def _check(tune: IoTune) -> None:
    """Refuse bursts that go not together with what they are bursts of; raises ConfigUnsupported."""
    for average, maximum in zip(AVERAGES, MAXIMA, strict=True):
        usual, most = getattr(tune, average) or 0, getattr(tune, maximum) or 0
        if most and not usual:
            text = f"cannot reset '{average}' when '{maximum}' is set"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
        if most and most < usual:
            text = f"value '{maximum}' cannot be smaller than '{average}'"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)


def _arguments(disk: Disk, tune: IoTune) -> dict[str, Any]:
    """Return the arguments of QEMU's command."""
    arguments: dict[str, Any] = {"id": block_id(disk)}
    arguments |= {WORDS[name]: getattr(tune, name) or 0 for name in (*AVERAGES, *MAXIMA, SIZE)}
    for name in (*LENGTHS, GROUP):
        value = getattr(tune, name)
        if value is not None:
            arguments[WORDS[name]] = value
    return arguments


async def _ask(guest: Guest, disk: Disk) -> IoTune:
    """Ask QEMU for the limits of a disk. Raises InternalError for an empty drive."""
    inserted = (await device_of(guest, disk)).get("inserted")
    if not isinstance(inserted, dict):
        text = "block_io_throttle inserted entry was not in expected format"
        raise InternalError(text, domain=c.VIR_FROM_QEMU)
    tune = IoTune()
    for name, word in WORDS.items():
        value = inserted.get(word)
        if name == GROUP:
            tune.group_name = value[:1024] if isinstance(value, str) else None
        elif isinstance(value, int) and 0 <= value < 2**63:
            setattr(tune, name, value)
    return tune
