"""Which firmware a guest gets that leaves the choice: the first that fits, in the descriptors' order.

One that names flash with UEFI, and not what its variables are made from, gets what belongs to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from remotevirt.drivers.qemu.complete.additions import add_nvram
from remotevirt.drivers.qemu.complete.board import find_board
from remotevirt.drivers.qemu.firmware import Firmware
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed, OperationInvalid
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.features import Features, Smm
from remotevirt.xml.domain.os import Loader, Nvram

__all__ = ["choose_firmware"]

_INTERFACES = {"efi": "uefi", "bios": "bios"}


def choose_firmware(model: DomainModel, known: Sequence[Firmware], nvram_directory: str) -> None:
    """Put firmware into the document of a guest that starts and leaves the choice, or a part of it.

    Args:
        model: of the guest that starts, not what is kept of it.
        known: what :func:`read_firmware` found.
        nvram_directory: the folder for the guests' variables.

    Raises:
        OperationFailed: nothing fits.
        OperationInvalid: the guest does without what the firmware needs.
    """
    wanted, loader = model.os.firmware, model.os.loader
    if wanted is None and not _lacks_template(model):
        return
    for firmware in known:
        named = wanted is None and loader is not None and firmware.path == loader.path
        if (named or (wanted and _INTERFACES[wanted] in firmware.interfaces)) and _fits(model, firmware):
            _use(model, firmware, nvram_directory)
            return
    if wanted is not None:
        raise OperationFailed(f"Unable to find any firmware to satisfy '{wanted}'", domain=c.VIR_FROM_QEMU)


def _lacks_template(model: DomainModel) -> bool:
    """Return whether a guest names flash, which keeps variables, and not what they are made from."""
    loader, nvram = model.os.loader, model.os.nvram
    if loader is None or loader.type != "pflash" or not loader.readonly or loader.stateless:
        return False
    return nvram is None or nvram.template is None


def _fits(model: DomainModel, firmware: Firmware) -> bool:
    board, loader = find_board(model), model.os.loader
    if not firmware.is_for(board.arch, board.machine):
        return False
    stateless = loader is not None and loader.stateless
    if firmware.device == "flash" and firmware.mode != ("stateless" if stateless else "split"):
        return False
    if loader is not None and loader.secure and not {"secure-boot", "requires-smm"} <= firmware.features:
        return False
    asked = model.os.firmware_features.features if model.os.firmware_features is not None else []
    if any(one.enabled != (one.name in firmware.features) for one in asked):
        return False
    sleeps = ((model.pm.mem, "acpi-s3"), (model.pm.disk, "acpi-s4")) if model.pm is not None else ()
    return not any(wanted and name not in firmware.features for wanted, name in sleeps)


def _use(model: DomainModel, firmware: Firmware, nvram_directory: str) -> None:
    smm = model.features.smm if model.features is not None else None
    if "requires-smm" in firmware.features and smm is not None and not smm.state:
        text = "domain has SMM turned off but chosen firmware requires it"
        raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
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
