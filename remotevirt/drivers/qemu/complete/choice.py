"""Which firmware a guest gets that leaves the choice: the first that fits, in the descriptors' order."""

from __future__ import annotations

from collections.abc import Sequence

from remotevirt.drivers.qemu.complete.additions import add_nvram
from remotevirt.drivers.qemu.complete.board import find_board
from remotevirt.drivers.qemu.firmware import Firmware
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.features import Features, Smm
from remotevirt.xml.domain.os import Loader, Nvram

__all__ = ["choose_firmware"]

_INTERFACES = {"efi": "uefi", "bios": "bios"}


def choose_firmware(model: DomainModel, known: Sequence[Firmware], nvram_directory: str) -> None:
    """Put firmware into the document of a guest that starts and leaves the choice; others stay as they are.

    Args:
        model: of the guest that starts, not what is kept of it.
        known: what :func:`read_firmware` found.
        nvram_directory: the folder for the guests' variables.

    Raises:
        OperationFailed: nothing fits.
    """
    wanted = model.os.firmware
    if wanted is None:
        return
    for firmware in known:
        if _fits(model, firmware, _INTERFACES[wanted]):
            _use(model, firmware, nvram_directory)
            return
    raise OperationFailed(f"Unable to find any firmware to satisfy '{wanted}'", domain=c.VIR_FROM_QEMU)


def _fits(model: DomainModel, firmware: Firmware, interface: str) -> bool:
    board, loader = find_board(model), model.os.loader
    if interface not in firmware.interfaces:
        return False
    if not firmware.is_for(board.arch, board.machine):
        return False
    stateless = loader is not None and loader.stateless
    if firmware.device == "flash" and firmware.mode != ("stateless" if stateless else "split"):
        return False
    if loader is not None and loader.secure and not {"secure-boot", "requires-smm"} <= firmware.features:
        return False
    smm = model.features.smm if model.features is not None else None
    if "requires-smm" in firmware.features and smm is not None and not smm.state:
        return False
    asked = model.os.firmware_features.features if model.os.firmware_features is not None else []
    if any(one.enabled != (one.name in firmware.features) for one in asked):
        return False
    sleeps = ((model.pm.mem, "acpi-s3"), (model.pm.disk, "acpi-s4")) if model.pm is not None else ()
    return not any(wanted and name not in firmware.features for wanted, name in sleeps)


def _use(model: DomainModel, firmware: Firmware, nvram_directory: str) -> None:
    model.os.firmware = None
    loader = model.os.loader = model.os.loader or Loader()
    loader.path = firmware.path
    if firmware.device == "flash":
        loader.type, loader.readonly = "pflash", True
        if firmware.template is not None and not loader.stateless:
            nvram = model.os.nvram = model.os.nvram or Nvram()
            nvram.template = firmware.template
        add_nvram(model, nvram_directory)
    else:
        loader.type = "rom"
    if "requires-smm" in firmware.features:
        loader.secure = True
        features = model.features = model.features or Features()
        if features.smm is None:
            features.smm = Smm()
            features.smm.state = True
