"""The embedded hypervisor, modelled on libvirt's test driver."""

from remotevirt.drivers.test.driver import TestDriver

__all__ = ["TestDriver"]
