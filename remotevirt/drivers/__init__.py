"""Hypervisor drivers, and the seam at which they are plugged in."""

from remotevirt.drivers.base import ClientInfo, DriverConnection, DriverURI, IDriver
from remotevirt.drivers.events import Event, EventHub
from remotevirt.drivers.registry import DriverRegistry, load_driver

__all__ = [
    "ClientInfo",
    "DriverConnection",
    "DriverRegistry",
    "DriverURI",
    "Event",
    "EventHub",
    "IDriver",
    "load_driver",
]
