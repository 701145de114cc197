"""From a guest's completed configuration to its QEMU process, and to what is plugged into it while it runs.

:func:`build_command` gives the command line, the environment, what must be opened for the process, what it
opens itself, and which secrets it needs. Each device is described once, as :class:`Part` objects, which
:func:`to_arguments` renders for the command line and :func:`to_commands` for QMP.

What the builders do not express is refused, never dropped: :mod:`remotevirt.drivers.qemu.command.expressed`.
"""

from __future__ import annotations

from remotevirt.drivers.qemu.command.build import (
    Command,
    build_command,
    cpu_words,
    format_command,
    order_for_ends,
    orders_before_run,
    parts_of_device,
)
from remotevirt.drivers.qemu.command.cpu import (
    hotpluggable_vcpus,
    orders_for_vcpus,
    parts_of_vcpu,
    vcpu_slots,
)
from remotevirt.drivers.qemu.command.disk import block_id, parts_of_disk, throttle_of
from remotevirt.drivers.qemu.command.network import link_of, parts_of_interface
from remotevirt.drivers.qemu.command.parts import (
    Descriptor,
    Fd,
    FdSet,
    GuestFile,
    NeededSecret,
    Order,
    Part,
    Tap,
    to_arguments,
    to_commands,
)
from remotevirt.drivers.qemu.command.passthrough import Passthrough, read_passthrough
from remotevirt.drivers.qemu.command.setting import Setting, Surroundings
from remotevirt.drivers.qemu.command.storage import (
    Image,
    block_parts,
    images_of,
    node_of,
    number_disk,
    number_images,
)

__all__ = [
    "Command",
    "Descriptor",
    "Fd",
    "FdSet",
    "GuestFile",
    "Image",
    "NeededSecret",
    "Order",
    "Part",
    "Passthrough",
    "Setting",
    "Surroundings",
    "Tap",
    "block_id",
    "block_parts",
    "build_command",
    "cpu_words",
    "format_command",
    "hotpluggable_vcpus",
    "images_of",
    "link_of",
    "node_of",
    "number_disk",
    "number_images",
    "order_for_ends",
    "orders_before_run",
    "orders_for_vcpus",
    "parts_of_device",
    "parts_of_disk",
    "parts_of_interface",
    "parts_of_vcpu",
    "read_passthrough",
    "throttle_of",
    "to_arguments",
    "to_commands",
    "vcpu_slots",
]
