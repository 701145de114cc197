"""The domain capabilities document: what a guest of an emulator and a machine type can have.

Only what this driver can give a guest is offered, which is less than libvirt's driver offers: no screens but
VNC's, no devices of the host, no file systems, no TPM, no USB redirection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from remotevirt.drivers.cpu.x86_models import X86_MODELS
from remotevirt.drivers.qemu.emulator import CpuModel, Emulator, Machine
from remotevirt.drivers.qemu.firmware import Firmware, firmware_for
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["HostModel", "domain_capabilities_xml"]

X86: Final = frozenset({"i686", "x86_64"})

VIDEO: Final = (
    ("vga", ("VGA",)),
    ("cirrus", ("cirrus-vga",)),
    ("vmvga", ("vmware-svga",)),
    ("qxl", ("qxl-vga", "qxl")),
    ("virtio", ("virtio-vga", "virtio-gpu-pci", "virtio-gpu-device")),
    ("none", ()),
    ("bochs", ("bochs-display",)),
    ("ramfb", ("ramfb",)),
)
"""Video cards, and the devices any of which makes one."""

VARIANTS: Final = ("", "-transitional", "-non-transitional")
"""What the names of virtio devices on PCI end in, and libvirt's words for the variants too."""


@attrs.frozen
class HostModel:
    """A CPU model that is nearest to the host's, and the features in which they differ: (name, policy)."""

    name: str
    vendor: str | None = None
    policies: Sequence[tuple[str, str]] = ()


def domain_capabilities_xml(
    emulator: Emulator,
    machine: Machine,
    virttype: str,
    firmware: Sequence[Firmware] = (),
    *,
    native: bool = True,
    host_model: HostModel | None = None,
) -> str:
    """Return the document.

    Args:
        emulator: which one.
        machine: one of its machine types.
        virttype: ``kvm`` or ``qemu``.
        firmware: all that this host has.
        native: the guest's architecture is the host's.
        host_model: what a guest with ``host-model`` gets; None if that is not known.
    """
    root = Tag("domainCapabilities")
    root.add(leaf("path", emulator.path))
    root.add(leaf("domain", virttype))
    root.add(leaf("machine", machine.name))
    root.add(leaf("arch", emulator.arch))
    root.add(Tag("vcpu").set("max", machine.max_cpus))
    root.add(_supported("iothreads", "iothread" in emulator.objects))
    root.add(_os(firmware_for(firmware, emulator.arch, machine.name)))
    root.add(_cpu(emulator, virttype, native=native, host_model=host_model))
    backing = _supported("memoryBacking", supported=True)
    kinds = [kind for kind in ("file", "memfd") if f"memory-backend-{kind}" in emulator.objects]
    backing.add(_enum("sourceType", [*kinds[:1], "anonymous", *kinds[1:]]))
    root.add(backing)
    root.add(_devices(emulator, machine))
    root.add(_features(emulator))
    return render(root)


def _supported(name: str, supported: bool) -> Tag:
    return Tag(name).set("supported", "yes" if supported else "no")


def _enum(name: str, values: Iterable[str]) -> Tag:
    tag = Tag("enum").set("name", name)
    tag.children.extend(leaf("value", value) for value in values)
    return tag


def _os(firmware: Sequence[Firmware]) -> Tag:
    """Return what a guest can start from."""
    tag = _supported("os", supported=True)
    kinds = (("bios", "bios"), ("efi", "uefi"))
    words = [word for word, kind in kinds if any(kind in one.interfaces for one in firmware)]
    tag.add(_enum("firmware", words))
    loader = _supported("loader", supported=True)
    loader.children.extend(leaf("value", path) for path in dict.fromkeys(one.path for one in firmware))
    loader.add(_enum("type", ["rom", "pflash"]))
    loader.add(_enum("readonly", ["yes", "no"]))
    secure = any({"secure-boot", "requires-smm"} <= one.features for one in firmware)
    loader.add(_enum("secure", ["yes", "no"] if secure else ["no"]))
    tag.add(loader)
    return tag


def _cpu(emulator: Emulator, virttype: str, *, native: bool, host_model: HostModel | None) -> Tag:
    """Return the ways to choose a CPU."""
    tag = Tag("cpu")
    switch = ("on", "off")
    passthrough = _mode("host-passthrough", supported=virttype == "kvm" and native)
    if virttype == "kvm" and native:
        passthrough.add(_enum("hostPassthroughMigratable", switch))
    tag.add(passthrough)
    models = emulator.kvm_cpus if virttype == "kvm" else emulator.cpus
    maximum = _mode("maximum", supported="max" in models)
    if "max" in models:
        maximum.add(_enum("maximumMigratable", switch))
    tag.add(maximum)
    tag.add(_host_mode(host_model))
    custom = _mode("custom", supported=bool(models))
    for model in models.values():
        entry = _model(emulator.arch, model)
        if entry is not None:
            custom.add(entry)
    tag.add(custom)
    return tag


def _mode(name: str, *, supported: bool) -> Tag:
    return Tag("mode").set("name", name).set("supported", "yes" if supported else "no")


def _host_mode(model: HostModel | None) -> Tag:
    tag = _mode("host-model", supported=model is not None)
    if model is not None:
        tag.add(leaf("model", model.name).set("fallback", "forbid"))
        if model.vendor is not None:
            tag.add(leaf("vendor", model.vendor))
        for name, policy in model.policies:
            tag.add(Tag("feature").set("policy", policy).set("name", name))
    return tag


def _model(arch: str, model: CpuModel) -> Tag | None:
    """Return a model; None for one of x86 that libvirt has no name for, as it shows none either."""
    known = X86_MODELS.get(model.name) if arch in X86 else None
    if known is None and arch in X86:
        return None
    usable = "unknown" if model.blockers is None else "no" if model.blockers else "yes"
    tag = leaf("model", model.name).set("usable", usable)
    vendor = known.vendor if known is not None else None
    return tag.set("deprecated", "yes" if model.deprecated else None).set("vendor", vendor or "unknown")


def _variants(emulator: Emulator, device: str) -> list[str]:
    """Return libvirt's words for the variants of a virtio device."""
    found = []
    for suffix in VARIANTS:
        names = {f"{device}-pci{suffix}"}
        if not suffix:
            names |= {f"{device}-device", f"{device}-ccw"}
        if not emulator.devices.isdisjoint(names):
            found.append(f"virtio{suffix}")
    return found


def _devices(emulator: Emulator, machine: Machine) -> Tag:
    """Return the devices that a guest can have."""
    tag, has = Tag("devices"), emulator.devices
    disk = _supported("disk", supported=True)
    disk.add(_enum("diskDevice", ["disk", "cdrom", "floppy", "lun"]))
    disk.add(_enum("bus", _buses(emulator, machine)))
    disk.add(_enum("model", _variants(emulator, "virtio-blk")))
    tag.add(disk)
    graphics = _supported("graphics", supported=True)
    graphics.add(_enum("type", ["vnc"]))
    tag.add(graphics)
    video = _supported("video", supported=True)
    words = [word for word, names in VIDEO if not names or not has.isdisjoint(names)]
    video.add(_enum("modelType", words))
    tag.add(video)
    tag.add(_supported("hostdev", supported=False))
    models = _variants(emulator, "virtio-rng")
    rng = _supported("rng", bool(models))
    if models:
        rng.add(_enum("model", models))
        sources = (("random", "rng-random"), ("builtin", "rng-builtin"))
        rng.add(_enum("backendModel", [word for word, kind in sources if kind in emulator.objects]))
    tag.add(rng)
    for name in ("filesystem", "tpm", "redirdev"):
        tag.add(_supported(name, supported=False))
    channel = _supported("channel", supported=True)
    channel.add(_enum("type", ["pty", "unix"]))
    tag.add(channel)
    return tag


def _buses(emulator: Emulator, machine: Machine) -> list[str]:
    """Return where disks can sit."""
    pc = machine.name.startswith(("pc-i440fx", "pc-q35", "pc-", "isapc"))
    has = emulator.devices
    buses = (
        ("ide", machine.name.startswith(("pc-i440fx", "isapc", "pc-0", "pc-1"))),
        ("fdc", pc or "floppy" in has),
        ("scsi", "scsi-hd" in has),
        ("virtio", any(name.startswith("virtio-blk") for name in has)),
        ("usb", "usb-storage" in has),
        ("sata", "ich9-ahci" in has),
    )
    return [word for word, there in buses if there]


def _features(emulator: Emulator) -> Tag:
    """Return what else there is."""
    tag = Tag("features")
    arm = emulator.arch in ("aarch64", "armv7l")
    gic = _supported("gic", arm)
    if arm:
        gic.add(_enum("version", ["2", "3"]))
    tag.add(gic)
    tag.add(_supported("vmcoreinfo", "vmcoreinfo" in emulator.devices))
    tag.add(_supported("genid", "vmgenid" in emulator.devices))
    for name, supported in (("backingStoreInput", True), ("backup", False), ("sev", False), ("sgx", False)):
        tag.add(_supported(name, supported))
    if emulator.arch in X86:
        hyperv = _supported("hyperv", supported=True)
        hyperv.add(_enum("features", ["spinlocks", "vendor_id"]))
        tag.add(hyperv)
    return tag
