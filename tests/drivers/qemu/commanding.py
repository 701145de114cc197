"""Guests whose command lines the tests build: documents that libvirt's driver completed, and emulators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from remotevirt.drivers.qemu.command import Setting, Surroundings
from remotevirt.drivers.qemu.emulator import Emulator, Machine
from remotevirt.xml.domain import DomainDefaults, DomainModel, parse_domain

COMMANDS = Path(__file__).with_name("commands")
"""Live documents, each beside the arguments with which libvirt 9.0.0 started that guest."""

NAMES = sorted(path.stem for path in COMMANDS.glob("*.xml"))

X86 = Emulator(
    "/usr/bin/qemu-system-x86_64",
    "x86_64",
    (7, 2, 0),
    machines={
        one.name: one
        for one in (
            Machine("pc-i440fx-7.2", "pc", 255, default_memory="pc.ram"),
            Machine("pc-q35-7.2", "q35", 288, default_memory="pc.ram"),
        )
    },
)
ARM = Emulator(
    "/usr/bin/qemu-system-aarch64",
    "aarch64",
    (7, 2, 0),
    machines={"virt-7.2": Machine("virt-7.2", "virt", 512, default_memory="mach-virt.ram")},
)

SMALL = """
<domain type='qemu'>
  <name>small</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  {more}
  <os><type arch='x86_64' machine='q35'>hvm</type>{os}</os>
  <features><acpi/>{features}</features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>
    <controller type='usb' index='0' model='qemu-xhci'>
      <alias name='usb'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0'/>
    </controller>
    <controller type='sata' index='0'>
      <alias name='ide'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x1f' function='0x2'/>
    </controller>
    {devices}
    <memballoon model='none'/>
  </devices>
</domain>
"""


def read(text: str) -> DomainModel:
    """The configuration of a running guest."""
    return parse_domain(text, defaults=DomainDefaults(virt_type="qemu", arch="x86_64"), live=True)


def document(name: str, folder: str) -> str:
    """One of the documents, with its files in a folder."""
    return (COMMANDS / f"{name}.xml").read_text().replace("@FOLDER@", folder)


def small(devices: str = "", *, os: str = "", features: str = "", more: str = "") -> DomainModel:
    """A guest that has next to nothing but these."""
    return read(SMALL.format(devices=devices, os=os, features=features, more=more))


def emulator_for(model: DomainModel) -> Emulator:
    """What runs it."""
    assert model.os.kind is not None
    return ARM if model.os.kind.arch == "aarch64" else X86


def setting(model: DomainModel, folder: str = "/guest", **more: Any) -> Setting:
    """A guest in its surroundings."""
    return Setting(model, emulator_for(model), Surroundings(folder, **more))
