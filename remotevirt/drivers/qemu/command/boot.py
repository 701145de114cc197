"""How the guest boots: order and menu, a kernel given directly, and the tables that firmware shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from remotevirt.drivers.qemu.command.parts import GuestFile, Part, comma_list, escaped, option
from remotevirt.drivers.qemu.command.setting import Setting, unsupported
from remotevirt.xml.domain.sysinfo import Block, FwCfg, SmBios

__all__ = ["boot_options", "firmware_table_options", "fw_cfg_options", "kernel_options"]

MAX_SPLASH: Final = 65535
"""Milliseconds that firmware may show its menu."""

_BIOS: Final = {"vendor": "vendor", "version": "version", "date": "date", "release": "release"}
_SYSTEM: Final = {
    "manufacturer": "manufacturer",
    "product": "product",
    "version": "version",
    "serial": "serial",
    "uuid": "uuid",
    "sku": "sku",
    "family": "family",
}
_BOARD: Final = {
    "manufacturer": "manufacturer",
    "product": "product",
    "version": "version",
    "serial": "serial",
    "asset": "asset",
    "location": "location",
}
_CHASSIS: Final = {
    "manufacturer": "manufacturer",
    "version": "version",
    "serial": "serial",
    "asset": "asset",
    "sku": "sku",
}


def boot_options(setting: Setting) -> list[Part]:
    """Return ``-boot``."""
    os = setting.model.os
    values: dict[str, object] = {}
    if os.bootmenu is not None and os.bootmenu.enable is not None:
        values["menu"] = os.bootmenu.enable
    if os.bios is not None and os.bios.reboot_timeout is not None:
        values["reboot-timeout"] = os.bios.reboot_timeout
    if os.bootmenu is not None and os.bootmenu.enable and os.bootmenu.timeout is not None:
        if os.bootmenu.timeout > MAX_SPLASH:
            raise unsupported(f"invalid value for boot menu timeout, must be in range [0,{MAX_SPLASH}]")
        values["splash-time"] = os.bootmenu.timeout
    values["strict"] = True
    return [option("-boot", comma_list(**values))]


def kernel_options(setting: Setting) -> list[Part]:
    """Return the kernel that is started without a boot loader, with its initial RAM disk and command line."""
    os = setting.model.os
    parts = []
    for name, path in (("-kernel", os.kernel), ("-initrd", os.initrd)):
        if path is not None:
            parts.append(option(name, path, files=[GuestFile(path, shared=True)]))
    if os.cmdline is not None:
        if os.kernel is None:
            raise unsupported("kernel command line is only supported with a kernel")
        parts.append(option("-append", os.cmdline))
    if os.dtb is not None:
        parts.append(option("-dtb", os.dtb, files=[GuestFile(os.dtb, shared=True)]))
    return parts


def firmware_table_options(setting: Setting) -> list[Part]:
    """Return the SMBIOS tables. Raises VirError where the guest has none, or the host's are asked for."""
    mode = setting.model.os.smbios
    if mode is None or mode == "emulate":
        return []
    if not (setting.is_x86 or setting.is_virt):
        raise unsupported("the QEMU binary does not support smbios settings")
    if mode == "host":
        raise unsupported("Host SMBIOS information is not available")
    info = next((one for one in setting.model.sysinfo if isinstance(one, SmBios)), None)
    if info is None:
        raise unsupported(f"Domain '{setting.model.name}' sysinfo are not available")
    parts: list[Part] = []
    for number, block, names in (
        (0, info.bios, _BIOS),
        (1, info.system, _SYSTEM),
        *((2, board, _BOARD) for board in info.baseboards),
        (3, info.chassis, _CHASSIS),
    ):
        if block is not None:
            parts.append(option("-smbios", ",".join([f"type={number}", *_entries(block, names)])))
    if info.oem is not None and info.oem.entries:
        values = [f"value={escaped(one.value or '')}" for one in info.oem.entries]
        parts.append(option("-smbios", ",".join(["type=11", *values])))
    return parts


def _entries(block: Block, names: dict[str, str]) -> Iterable[str]:
    known = {one.name: one.value for one in block.entries}
    for name in known:
        if name not in names:
            raise unsupported(f"unknown SMBIOS entry '{name}'")
    return [
        f"{word}={escaped(known[name] or '')}" for name, word in names.items() if known.get(name) is not None
    ]


def fw_cfg_options(setting: Setting) -> list[Part]:
    """Return what the guest reads from the firmware configuration device."""
    parts = []
    for info in setting.model.sysinfo:
        if not isinstance(info, FwCfg):
            continue
        for entry in info.entries:
            if entry.file is not None:
                words = comma_list(name=entry.name, file=entry.file)
                parts.append(option("-fw_cfg", words, files=[GuestFile(entry.file, shared=True)]))
            else:
                parts.append(option("-fw_cfg", comma_list(name=entry.name, string=entry.value or "")))
    return parts
