"""Documents with libvirt's answers, and the emulators that its daemon had when it gave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from remotevirt.drivers.qemu.emulator import Emulator, Machine

__all__ = ["DOCUMENTS", "recorded_documents", "recorded_emulators"]

DOCUMENTS = Path(__file__).with_name("documents.json")
EMULATORS = Path(__file__).with_name("emulators.json")


def recorded_emulators() -> list[Emulator]:
    """QEMU 7.2, with the machines and devices that documents ask for."""
    return [
        Emulator(
            path=one["path"],
            arch=one["arch"],
            version=tuple(one["version"]),
            machines={
                name: Machine(name, alias=alias, max_cpus=cpus, default_cpu=cpu)
                for name, alias, cpus, cpu in one["machines"]
            },
            default_machine=one["default_machine"],
            devices=frozenset(one["devices"]),
            kvm=one["kvm"],
        )
        for one in json.loads(EMULATORS.read_text())
    ]


def recorded_documents() -> list[tuple[str, str, str | list[Any]]]:
    """What each is about, the document, and what it comes to: a document, or code, domain and text."""
    return [tuple(one) for one in json.loads(DOCUMENTS.read_text())]
