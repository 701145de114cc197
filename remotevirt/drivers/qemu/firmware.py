"""Which firmware a guest gets that leaves the choice: what QEMU's descriptors offer, first come first.

Descriptors are JSON files that the firmware's packages install (QEMU's ``docs/interop/firmware.json`` says
what is in them). Files of a later folder replace those of the same name in an earlier one, and an empty file
hides one. Their names give the order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import attrs

from remotevirt.drivers.qemu.complete.additions import add_nvram
from remotevirt.drivers.qemu.complete.board import find_board
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationFailed
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.features import Features, Smm
from remotevirt.xml.domain.os import Loader, Nvram

__all__ = ["DIRECTORIES", "Firmware", "choose_firmware", "read_firmware"]

DIRECTORIES: Final = (Path("/usr/share/qemu/firmware"), Path("/etc/qemu/firmware"))
"""Where distributions and administrators keep descriptors."""

MAX_DESCRIPTOR: Final = 65536
"""Bytes of a descriptor; those of distributions have about a thousand."""

_INTERFACES = {"efi": "uefi", "bios": "bios"}


@attrs.frozen
class Firmware:
    """One firmware.

    Args:
        interfaces: what guests see: ``uefi``, ``bios``.
        targets: pairs of an architecture (QEMU's word) and a pattern of machine types.
        features: what it can do and wants, as the descriptor names it.
        device: how it is mapped: ``flash`` or ``memory``.
        mode: of flash: ``split`` into code and variables, or ``combined`` or ``stateless``.
        path: the file of the code.
        template: of the variables, None for none.
    """

    interfaces: frozenset[str]
    targets: tuple[tuple[str, str], ...]
    features: frozenset[str]
    device: str
    mode: str
    path: str
    template: str | None

    @classmethod
    def of(cls, descriptor: Any) -> Firmware:
        """Read a descriptor; raises KeyError, TypeError or AttributeError where it is not one."""
        mapping = descriptor["mapping"]
        device = mapping["device"]
        code = mapping["executable"] if device == "flash" else mapping
        template = mapping.get("nvram-template") if device == "flash" else None
        return cls(
            interfaces=frozenset(map(str, descriptor["interface-types"])),
            targets=tuple(
                (str(target["architecture"]), str(machine))
                for target in descriptor["targets"]
                for machine in target["machines"]
            ),
            features=frozenset(map(str, descriptor["features"])),
            device=str(device),
            mode=str(mapping.get("mode", "split")),
            path=str(code["filename"]),
            template=str(template["filename"]) if template else None,
        )


def read_firmware(directories: Sequence[Path] = DIRECTORIES) -> list[Firmware]:
    """Read all descriptors; this reads files, and belongs into a thread.

    Raises:
        InternalError: one of them is wrong.
    """
    found: dict[str, Path] = {}
    for directory in directories:
        found.update((path.name, path) for path in directory.glob("*.json"))
    known = []
    for _, path in sorted(found.items()):
        with path.open("rb") as file:
            text = file.read(MAX_DESCRIPTOR + 1)
        if not text:
            continue
        try:
            if len(text) > MAX_DESCRIPTOR:
                raise ValueError("it is too long")
            known.append(Firmware.of(json.loads(text)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            text_of_error = f"cannot read the firmware descriptor {path}: {error}"
            raise InternalError(text_of_error, domain=c.VIR_FROM_QEMU) from error
    return known


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
    if not any(
        arch == {"i686": "i386"}.get(board.arch, board.arch) and fnmatchcase(board.machine, pattern)
        for arch, pattern in firmware.targets
    ):
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
