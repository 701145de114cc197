"""The firmware that a guest starts from: a BIOS image, or flash with UEFI's code and variables."""

from __future__ import annotations

from remotevirt.drivers.qemu.command.machine import FIRMWARE_NODES
from remotevirt.drivers.qemu.command.parts import GuestFile, Part, option
from remotevirt.drivers.qemu.command.setting import Setting, unsupported

__all__ = ["bios_options", "flash_parts"]


def flash_parts(setting: Setting) -> list[Part]:
    """Return the block nodes of flash.

    The path of a loader that was to be chosen by its features must have been filled in.

    Raises:
        VirError: no loader was chosen, or one that cannot be.
    """
    os = setting.model.os
    loader = os.loader
    if loader is None or loader.path is None:
        if os.firmware is not None:
            raise unsupported(f"Unable to find any firmware to satisfy '{os.firmware}'")
        return []
    if loader.type != "pflash":
        if os.nvram is not None:
            raise unsupported("NVRAM is not available with this loader")
        return []
    if loader.secure and not (setting.is_q35 and _has_smm(setting)):
        raise unsupported("Secure boot requires SMM feature enabled")
    parts = _flash(0, loader.path, writable=loader.readonly is False)
    if os.nvram is not None:
        if os.nvram.path is None:
            raise unsupported("the NVRAM of the domain lacks a path")
        parts += _flash(1, os.nvram.path, writable=True)
    return parts


def bios_options(setting: Setting) -> list[Part]:
    """Return an image for the BIOS, or that flash only yields to code that firmware trusts."""
    loader = setting.model.os.loader
    if loader is None or loader.path is None:
        return []
    if loader.type != "pflash":
        return [option("-bios", loader.path, files=[GuestFile(loader.path, shared=True)])]
    return [option("-global", "driver=cfi.pflash01,property=secure,value=on")] if loader.secure else []


def _has_smm(setting: Setting) -> bool:
    features = setting.model.features
    return features is not None and features.smm is not None and features.smm.state


def _flash(number: int, path: str, *, writable: bool) -> list[Part]:
    node = FIRMWARE_NODES[number]
    storage = node.replace("-format", "-storage")
    file = {
        "driver": "file",
        "filename": path,
        "node-name": storage,
        "auto-read-only": True,
        "discard": "unmap",
    }
    layer = {"node-name": node, "read-only": not writable, "driver": "raw", "file": storage}
    opened = GuestFile(path, writable=writable, shared=not writable)
    return [Part("blockdev", file, files=(opened,)), Part("blockdev", layer)]
