"""What KVM says of the host's time stamp counter.

libvirt lists the counter among the properties of the host's CPU, because a guest that knows its frequency can
only move to a host with the same one, or one that scales it.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

__all__ = ["tsc_counter"]

DEVICE: Final = "/dev/kvm"

# From Linux's <linux/kvm.h>: ioctls without arguments of type 0xae.
CREATE_VM: Final = 0xAE01
CHECK_EXTENSION: Final = 0xAE03
CREATE_VCPU: Final = 0xAE41
GET_TSC_KHZ: Final = 0xAEA3

CAP_TSC_CONTROL: Final = 60
CAP_GET_TSC_KHZ: Final = 61


def tsc_counter() -> tuple[int, bool] | None:
    """Return the counter's frequency in Hz, and whether it scales for guests; None if KVM cannot say.

    It takes a virtual machine with one CPU, which is gone when this returns.
    """
    descriptors: list[int] = []

    def ask(descriptor: int, request: int, argument: int = 0) -> int:
        return fcntl.ioctl(descriptor, request, argument)

    try:
        descriptors.append(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
        if ask(descriptors[0], CHECK_EXTENSION, CAP_GET_TSC_KHZ) <= 0:
            return None
        descriptors.append(ask(descriptors[0], CREATE_VM))
        descriptors.append(ask(descriptors[1], CREATE_VCPU))
        frequency = ask(descriptors[2], GET_TSC_KHZ) * 1000
        return frequency, ask(descriptors[0], CHECK_EXTENSION, CAP_TSC_CONTROL) > 0
    except OSError:
        return None
    finally:
        for descriptor in reversed(descriptors):
            os.close(descriptor)
