"""Stand-in."""

from __future__ import annotations

from remotevirt.xml.domain import DomainModel

__all__ = ["assign_aliases"]


def assign_aliases(model: DomainModel) -> None:
    """Name the devices of a guest that is about to run."""
    devices = model.devices
    for number, disk in enumerate(devices.disks):
        disk.info.alias = f"{disk.bus}-disk{number}"
    for controller in devices.controllers:
        index = controller.index or 0
        if controller.type == "pci" and controller.model == "pcie-root":
            controller.info.alias = "pcie.0"
        elif controller.type == "pci":
            controller.info.alias = f"pci.{index}"
        elif controller.type == "usb":
            controller.info.alias = "usb" if index == 0 else f"usb{index}"
        elif controller.type in ("sata", "ide"):
            controller.info.alias = "ide"
        else:
            controller.info.alias = f"{controller.type}{index}"
    for name, things in (
        ("net", devices.interfaces), ("serial", devices.serials), ("channel", devices.channels),
        ("input", devices.inputs), ("video", devices.videos), ("sound", devices.sounds), ("rng", devices.rngs),
        ("watchdog", devices.watchdogs), ("panic", devices.panics), ("dimm", devices.memories), ("console", devices.consoles),
    ):
        for number, one in enumerate(things):
            one.info.alias = f"{name}{number}"
    if devices.consoles and devices.serials:
        devices.consoles[0].info.alias = devices.serials[0].info.alias
    if devices.memballoon is not None:
        devices.memballoon.info.alias = "balloon0"
