"""``<devices>``: all devices of a guest, by family."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.xml.domain.chardev import Channel, Console, Parallel, Serial
from remotevirt.xml.domain.controller import Controller, check_usb
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.filesystem import Filesystem, Lease, SharedMemory
from remotevirt.xml.domain.graphics import Graphics, choose_graphics
from remotevirt.xml.domain.hostdev import HostDevice
from remotevirt.xml.domain.interface import Interface
from remotevirt.xml.domain.media import Audio, Hub, Input, Sound, Video
from remotevirt.xml.domain.memory_device import MemoryDevice
from remotevirt.xml.domain.redirect import RedirDevice, SmartCard
from remotevirt.xml.domain.small import (
    Iommu,
    MemoryBalloon,
    Nvram,
    Panic,
    RandomSource,
    RedirFilter,
    Tpm,
    Vsock,
    Watchdog,
)
from remotevirt.xml.fields import (
    Model,
    child,
    children,
    hook,
    leaf,
    variant,
)
from remotevirt.xml.values import (
    Refusal,
    internal,
    xml_error,
)

__all__ = ["Devices"]


def one(name: str) -> Refusal:
    """The error for a second device where only one may be."""
    return internal(f"only a single {name} device is supported")


@attrs.define
class Devices(Model):
    """All devices, by family, in the order of printing."""

    TAG: ClassVar[str] = "devices"
    HOLD: ClassVar[bool] = True
    READ_FIRST: ClassVar[tuple[str, ...]] = (
        *("disks", "controllers", "usb", "leases", "filesystems", "interfaces", "smartcards", "serials"),
        *(
            "parallels",
            "consoles",
            "channels",
            "inputs",
            "graphics",
            "sounds",
            "audios",
            "videos",
            "hostdevs",
        ),
        *("watchdogs", "memballoon", "rngs", "tpms", "nvram", "hubs", "redirdevs", "redirfilter", "panics"),
    )
    emulator: str | None = leaf("emulator")
    disks: list[Disk] = children(Disk)
    controllers: list[Controller] = children(Controller)
    usb: None = hook(lambda source, how, model: check_usb(model.controllers), lambda value, how, model: None)
    leases: list[Lease] = children(Lease)
    filesystems: list[Filesystem] = children(Filesystem)
    interfaces: list[Interface] = children(Interface)
    smartcards: list[SmartCard] = children(SmartCard)
    serials: list[Serial] = children(Serial)
    parallels: list[Parallel] = children(Parallel)
    consoles: list[Console] = children(Console)
    channels: list[Channel] = children(Channel)
    inputs: list[Input] = children(Input)
    tpms: list[Tpm] = children(Tpm)
    graphics: list[Graphics] = variant("graphics", choose_graphics, many=True)
    sounds: list[Sound] = children(Sound)
    audios: list[Audio] = children(Audio)
    videos: list[Video] = children(Video)
    hostdevs: list[HostDevice] = children(HostDevice)
    redirdevs: list[RedirDevice] = children(RedirDevice)
    redirfilter: RedirFilter | None = child(
        RedirFilter, too_many=internal("only one set of redirection filter rule is supported")
    )
    hubs: list[Hub] = children(Hub)
    watchdogs: list[Watchdog] = children(Watchdog, too_many=one("watchdog"))
    memballoon: MemoryBalloon | None = child(MemoryBalloon, too_many=one("memory balloon"))
    rngs: list[RandomSource] = children(RandomSource)
    nvram: Nvram | None = child(Nvram, too_many=one("nvram"))
    panics: list[Panic] = children(Panic)
    shmems: list[SharedMemory] = children(SharedMemory)
    memories: list[MemoryDevice] = children(MemoryDevice)
    iommu: Iommu | None = child(Iommu, too_many=xml_error("only a single IOMMU device is supported"))
    vsock: Vsock | None = child(Vsock, too_many=xml_error("only a single vsock device is supported"))
