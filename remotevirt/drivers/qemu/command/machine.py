"""The machine: its type, its accelerator and the switches that belong to the board."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.qemu.command.parts import Part, comma_list, escaped, option
from remotevirt.drivers.qemu.command.setting import Setting, unsupported
from remotevirt.xml.domain.features import Features

__all__ = ["FIRMWARE_NODES", "machine_options", "name_options"]

FIRMWARE_NODES: Final = ("libvirt-pflash0-format", "libvirt-pflash1-format")
"""The block nodes of the firmware's code and of its variables."""

MIB: Final = 1024
"""KiB in a MiB."""


def name_options(setting: Setting) -> list[Part]:
    """Return how the process is called, and that it waits before the guest's first instruction."""
    return [
        option("-name", comma_list(guest=setting.model.name, debug_threads=True)),
        option("-S"),
    ]


def machine_options(setting: Setting, *, memory: str | None) -> list[Part]:
    """Return ``-machine`` and ``-accel``.

    Args:
        setting: the guest.
        memory: the id of the object that backs its memory, None if its NUMA cells have one each.

    Raises:
        VirError: the machine cannot have what is asked of it.
    """
    model = setting.model
    features = model.features or Features()
    values: dict[str, object] = {"usb": False}
    if features.vmport is not None:
        if not setting.is_x86:
            raise unsupported("vmport is not available with this QEMU binary")
        values["vmport"] = features.vmport
    if features.smm is not None:
        if not setting.is_q35:
            raise unsupported("smm is not supported with this machine type")
        values["smm"] = features.smm.state
    if features.gic is not None and features.gic.version is not None:
        if not setting.is_virt:
            raise unsupported("GIC version is only supported with machine type 'virt'")
        values["gic-version"] = features.gic.version
    if features.ioapic is not None:
        if not setting.is_x86:
            raise unsupported("I/O APIC tuning is not supported by this QEMU binary")
        values["kernel_irqchip"] = "on" if features.ioapic == "kvm" else "split"
    values["dump-guest-core"] = bool(model.dump_core)
    if model.memory_backing is not None and model.memory_backing.nosharepages:
        values["mem-merge"] = False
    values["memory-backend"] = memory
    loader = model.os.loader
    if loader is not None and loader.type == "pflash":
        values["pflash0"] = FIRMWARE_NODES[0]
        if model.os.nvram is not None:
            values["pflash1"] = FIRMWARE_NODES[1]
    if model.os.bios is not None and model.os.bios.useserial:
        if not any(serial.backend for serial in model.devices.serials):
            raise unsupported("need at least one serial port to use SGA")
        values["graphics"] = False
    pairs = [f"{key}={_word(value)}" for key, value in values.items() if value is not None]
    parts = [option("-machine", ",".join([setting.machine, *pairs])), _accelerator(setting, features)]
    if features.smm is not None and features.smm.tseg is not None:
        if features.smm.tseg % (MIB * 1024):
            raise unsupported("SMM TSEG size must be divisible by 1 MiB")
        parts.append(option("-global", f"mch.extended-tseg-mbytes={features.smm.tseg // (MIB * 1024)}"))
    return parts


def _word(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else escaped(str(value))


def _accelerator(setting: Setting, features: Features) -> Part:
    kind = setting.model.type
    if kind == "qemu":
        cache = features.tcg.tb_cache if features.tcg is not None else None
        if cache is not None and cache % MIB:
            raise unsupported("TCG cache size has to be in MiB")
        return option("-accel", comma_list("tcg", tb_size=cache // MIB if cache else None))
    if kind != "kvm":
        raise unsupported(f"Emulator '{setting.emulator.path}' does not support virt type '{kind}'")
    if not setting.emulator.kvm:
        raise unsupported(f"Emulator '{setting.emulator.path}' does not support virt type 'kvm'")
    if features.tcg is not None:
        raise unsupported("TCG features are incompatible with domain type 'kvm'")
    ring = features.kvm.dirty_ring if features.kvm is not None else None
    return option("-accel", comma_list("kvm", dirty_ring_size=ring.size if ring is not None else None))
