"""What there is besides guests: the host, its storage, secrets, devices and interfaces."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from typing import Final

import attrs

from remotevirt.drivers.events import EventHub
from remotevirt.drivers.host import Host, HostDevices, HostInterfaces, host_xml
from remotevirt.drivers.qemu.connect import ConnectHost
from remotevirt.drivers.qemu.cpu import HostCpu
from remotevirt.drivers.qemu.firmware import read_firmware
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.secret import RealSecrets
from remotevirt.drivers.storage import RealStorage
from remotevirt.stubs import constants as c

__all__ = ["Place"]

KVM_CHECK_EXTENSION: Final = 0xAE03
KVM_CAP_MAX_VCPUS: Final = 66
"""Of Linux's ``linux/kvm.h``."""


def kvm_vcpus() -> int | None:
    """Ask KVM how many CPUs it gives a guest at most; None where there is no KVM that we may use."""
    try:
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        most = fcntl.ioctl(device, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS)
    except OSError:
        return None
    finally:
        os.close(device)
    return most or None


@attrs.frozen
class Place:
    """The sub-drivers that every connection shares.

    Attributes:
        host: the machine.
        secret_value: returns the value of a secret, by its UUID, or its usage for volumes.
        storage, secrets, devices, interfaces: of it.
        about: what the calls about the hypervisor itself need to know of it.
    """

    host: Host
    secret_value: Callable[[bytes | str], bytes | None]
    storage: RealStorage
    secrets: RealSecrets
    devices: HostDevices
    interfaces: HostInterfaces
    about: ConnectHost

    @classmethod
    def open(cls, settings: Settings, hub: EventHub) -> Place:
        """Open them, when the daemon starts.

        Args:
            settings: say where what they know is kept, and who guests run as.
            hub: where events go.

        Raises:
            StoreError, OSError: what is kept cannot be read.
        """
        user = settings.user
        host = Host(base_label=None if user is None else f"+{user.uid}:+{user.gid}")
        secrets = RealSecrets.open(str(settings.root), hub)

        def secret_value(which: bytes | str) -> bytes | None:
            key = which if isinstance(which, bytes) else (c.VIR_SECRET_USAGE_TYPE_VOLUME, which)
            return secrets.value_of(key)

        storage = RealStorage.open(str(settings.root / "storage"), hub, secret_value)
        processor = host.processor
        cpu = HostCpu(processor.arch, processor.all_features or None, processor.vendor)
        about = ConnectHost(cpu, lambda: host_xml(host), read_firmware(), kvm_vcpus())
        return cls(host, secret_value, storage, secrets, HostDevices(host), HostInterfaces(host), about)

    def close(self) -> None:
        """Let go of what is kept."""
        self.storage.close()
        self.secrets.close()
