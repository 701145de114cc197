"""Hypervisor drivers, and the seam at which they are plugged in."""

from remotevirt.drivers.base import ClientInfo, DriverConnection, DriverURI, IDriver
from remotevirt.drivers.events import Event, EventHub
from remotevirt.drivers.raw import RawReply
from remotevirt.drivers.registry import DriverRegistry, load_driver
from remotevirt.drivers.service import DriverService
from remotevirt.drivers.streams import DriverStream, Hole
from remotevirt.procedures import FilesResult, StreamResult

__all__ = [
    "ClientInfo",
    "DriverConnection",
    "DriverRegistry",
    "DriverService",
    "DriverStream",
    "DriverURI",
    "Event",
    "EventHub",
    "FilesResult",
    "Hole",
    "IDriver",
    "RawReply",
    "StreamResult",
    "load_driver",
]
