"""The machine that the daemon runs on: what any hypervisor on it says of its host, devices and interfaces."""

from __future__ import annotations

from remotevirt.drivers.host.capabilities import host_xml
from remotevirt.drivers.host.devices import HostDevices
from remotevirt.drivers.host.host import Host
from remotevirt.drivers.host.interfaces import HostInterfaces
from remotevirt.drivers.host.node import HostNodeCalls

__all__ = ["Host", "HostDevices", "HostInterfaces", "HostNodeCalls", "host_xml"]
