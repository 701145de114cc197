"""``<os>``: what kind of guest it is and how it boots."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import Any, ClassVar, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported
from remotevirt.xml.domain.storage import STORAGE_TYPES, StorageSource, read_source
from remotevirt.xml.fields import (
    Model,
    Reading,
    Source,
    attribute,
    body,
    child,
    children,
    hook,
    leaf,
    leaves,
    nested_attribute,
    write_element,
)
from remotevirt.xml.model import layout, merged, reading
from remotevirt.xml.parse import Element, text_of
from remotevirt.xml.values import Boolean, Choice, Integer, detail, unsupported, xml_error, yes_no

__all__ = ["ARCHITECTURES", "OS_TYPES", "BootDevice", "Os", "OsType"]

OS_TYPES = frozenset(["hvm", "xen", "linux", "exe", "uml", "xenpvh"])
ARCHITECTURES = frozenset(
    [
        "alpha",
        "armv6l",
        "armv7l",
        "armv7b",
        "aarch64",
        "cris",
        "i686",
        "ia64",
        "lm32",
        "loongarch64",
        "m68k",
        "microblaze",
        "microblazeel",
        "mips",
        "mipsel",
        "mips64",
        "mips64el",
        "or32",
        "parisc",
        "parisc64",
        "ppc",
        "ppc64",
        "ppc64le",
        "ppcemb",
        "riscv32",
        "riscv64",
        "s390",
        "s390x",
        "sh4",
        "sh4eb",
        "sparc",
        "sparc64",
        "unicore32",
        "x86_64",
        "xtensa",
        "xtensaeb",
    ]
)


@attrs.define
class OsType(Model):
    """The kind of guest, its architecture and machine."""

    TAG: ClassVar[str] = "type"
    arch: str = attribute("arch")
    machine: str | None = attribute("machine")
    name: str = body()


@attrs.define
class FirmwareFeature(Model):
    TAG: ClassVar[str] = "feature"
    READ_FIRST: ClassVar[tuple[str, ...]] = ("name",)
    enabled: bool = attribute("enabled", yes_no(), required=True)
    name: str = attribute("name", Choice("enrolled-keys secure-boot"), required=True)


@attrs.define
class Firmware(Model):
    TAG: ClassVar[str] = "firmware"
    features: list[FirmwareFeature] = children(FirmwareFeature)

    def complete(self, source: Source, how: Reading) -> None:
        self.features = [one for _, one in sorted({one.name: one for one in self.features}.items())]


@attrs.define
class Loader(Model):
    """The guest's firmware."""

    TAG: ClassVar[str] = "loader"
    readonly: bool | None = attribute("readonly", yes_no())
    secure: bool | None = attribute("secure", yes_no())
    type: str | None = attribute("type", Choice("rom pflash"))
    stateless: bool | None = attribute("stateless", yes_no())
    path: str | None = body()


@attrs.define
class Nvram(Model):
    """Where the firmware keeps its variables: in a file of the host, or in any place that a disk can have."""

    TAG: ClassVar[str] = "nvram"
    template: str | None = attribute("template")
    type: str | None = attribute("type", Choice(" ".join(STORAGE_TYPES)))
    path: str | None = body()
    source: StorageSource | None = hook(
        lambda source, how, model: read_source(model.type, source, how) if model.type else None,
        lambda value, how, model: value.element(how),
    )

    def complete(self, source: Source, how: Reading) -> None:
        if self.type is None:
            return
        # libvirt refuses this too, though without saying why.
        if self.source is None:
            raise xml_error(f"no <source> in <nvram type='{self.type}'>")("")
        self.path = None

    def is_bare(self) -> bool:
        """Whether it says nothing."""
        return self.path is None and self.template is None and self.source is None


@attrs.define
class InitVariable(Model):
    TAG: ClassVar[str] = "initenv"
    name: str = attribute("name", required=xml_error("No name supplied for <initenv> element"))
    value: str | None = body()

    def complete(self, source: Source, how: Reading) -> None:
        if self.value is None:
            raise xml_error(f"No value supplied for <initenv name='{self.name}'> element")("")


@attrs.define
class AcpiTable(Model):
    TAG: ClassVar[str] = "table"
    type: str = attribute(
        "type",
        Choice("slic", refusal=xml_error("Unknown acpi table type: {}")),
        required=xml_error("Missing acpi table type"),
    )
    path: str | None = body()


@attrs.define
class OsAcpi(Model):
    TAG: ClassVar[str] = "acpi"
    table: AcpiTable | None = child(AcpiTable, too_many=xml_error("Only one acpi table is supported"))


@attrs.define
class BootDevice(Model):
    """One device to boot from."""

    TAG: ClassVar[str] = "boot"
    dev: str = attribute("dev", Choice("fd cdrom hd network"), required=True)


@attrs.define
class BootMenu(Model):
    TAG: ClassVar[str] = "bootmenu"
    enable: bool | None = attribute("enable", yes_no())
    timeout: int | None = attribute("timeout", Integer())

    def complete(self, source: Source, how: Reading) -> None:
        if not self.enable:
            self.timeout = None
        elif self.timeout is not None and self.timeout > 65535:
            raise ConfigUnsupported(
                "invalid value for boot menu timeout, must be in range [0,65535]", domain=VIR_FROM_DOMAIN
            )


MAX_REBOOT_TIMEOUT = 65535
"""Milliseconds that the firmware may wait before it starts anew; it has 16 bits for them."""


@attrs.define
class Bios(Model):
    TAG: ClassVar[str] = "bios"
    useserial: bool | None = attribute("useserial", Boolean("yes", "no", lenient=True))
    reboot_timeout: int | None = attribute(
        "rebootTimeout",
        Integer(signed=True),
    )

    def check(self) -> None:
        """Refuse a time out of bounds; raises ConfigUnsupported."""
        if self.reboot_timeout is not None and not -1 <= self.reboot_timeout <= MAX_REBOOT_TIMEOUT:
            raise ConfigUnsupported(
                f"invalid value for rebootTimeout, must be in range [-1,{MAX_REBOOT_TIMEOUT}]",
                domain=VIR_FROM_DOMAIN,
            )


def _read_kind(source: Source, how: Reading, model: Any) -> OsType | None:
    element = source.first("type")
    return OsType.read(element, how) if element is not None and text_of(element) else None


def _read_features(source: Source, how: Reading, model: Any) -> Firmware | None:
    # What the firmware shall have is of interest to nobody who does not let it be chosen.
    element = source.first("firmware")
    chosen = source.element.get("firmware") is not None
    return Firmware.read(element, how) if chosen and element is not None else None


_BOOTING = frozenset(("hvm", "xen", "xenpvh", "uml"))
MAX_BOOT_DEVICES = 4
_EXE_ONLY = ("init", "initargs", "initenv", "initdir", "inituser", "initgroup")
_BOOT_ONLY = ("kernel", "initrd", "cmdline", "dtb", "root", "loader", "nvram")


@attrs.define
class Os(Model):
    """What the guest is and how it boots."""

    TAG: ClassVar[str] = "os"
    READ_FIRST: ClassVar[tuple[str, ...]] = (
        "firmware_features",
        "firmware",
        "nvram",
        "loader",
        "acpi",
        "boot",
        "bootmenu",
    )
    firmware: str | None = attribute(
        "firmware", Choice("bios efi", refusal=xml_error("unknown firmware value {}"))
    )
    kind: OsType | None = hook(_read_kind, write_element)
    firmware_features: Firmware | None = hook(_read_features, write_element)
    init: str | None = leaf("init")
    initargs: list[str] = leaves("initarg")
    initenv: list[InitVariable] = children(InitVariable)
    initdir: str | None = leaf("initdir")
    inituser: str | None = leaf("inituser")
    initgroup: str | None = leaf("initgroup")
    loader: Loader | None = child(Loader)
    nvram: Nvram | None = child(Nvram)
    kernel: str | None = leaf("kernel")
    initrd: str | None = leaf("initrd")
    cmdline: str | None = leaf("cmdline")
    dtb: str | None = leaf("dtb")
    root: str | None = leaf("root")
    acpi: OsAcpi | None = child(OsAcpi, merged=True)
    boot: list[BootDevice] = children(BootDevice)
    bootmenu: BootMenu | None = child(BootMenu)
    bios: Bios | None = child(Bios)
    smbios: str | None = nested_attribute(
        "smbios/mode", Choice("emulate host sysinfo", refusal=unsupported("unknown smbios mode '{}'"))
    )

    @classmethod
    def read_kind(cls, elements: list[Element] | None, how: Reading) -> Self:
        """Read what kind of guest it is, before all else."""
        model = cls()
        if elements:
            model.kind = _read_kind(merged(elements), how, model)
        return model

    def read_boot(self, elements: list[Element] | None, how: Reading) -> None:
        """Read how it boots. Raises VirError."""
        if not elements:
            return
        source = merged(elements)
        # what only full machines have is not even looked at in others
        if self.kind is None or self.kind.name != "hvm":
            for tag in ("boot", "bootmenu", "bios"):
                source.children.pop(tag, None)
        for name, spec in reading(type(self)):
            value = None if name in {"kind", "smbios"} else spec.read(source, how, self)
            if value is not None:
                setattr(self, name, value)
        self.complete(source, how)

    def read_smbios(self, elements: list[Element] | None, how: Reading) -> None:
        """Read what the firmware's tables show, after all devices. Raises VirError."""
        if elements:
            self.smbios = dict(layout(type(self)))["smbios"].read(merged(elements), how, self)

    def complete(self, source: Source, how: Reading) -> None:
        kind = self.kind.name if self.kind else None
        if kind not in _BOOTING:
            for name in _BOOT_ONLY:
                setattr(self, name, None)
        if kind != "exe":
            for name in _EXE_ONLY:
                setattr(self, name, [] if name in {"initargs", "initenv"} else None)
        if kind != "hvm":
            self.boot, self.bootmenu, self.bios, self.firmware = [], None, None, None
        del self.boot[MAX_BOOT_DEVICES:]
        self._check_firmware()

    def _check_firmware(self) -> None:
        loader = self.loader
        if loader is not None and loader.path is not None and loader.type is None:
            loader.type = "rom"
        if self.firmware is not None:
            self._check_selection()
        elif (loader is not None or self.nvram is not None) and (loader is None or loader.path is None):
            raise detail("no loader path specified and firmware auto selection disabled")("")
        self._check_nvram()
        if self.firmware is None:
            self.firmware_features = None
        if self.nvram is not None and self.nvram.is_bare():
            self.nvram = None

    def _check_nvram(self) -> None:
        """Check that only firmware that keeps variables is told where; raises XmlDetail."""
        stateless = self.loader.stateless if self.loader is not None else None
        path = self.nvram.path if self.nvram is not None else None
        if stateless is False and self.firmware is None and self.loader and self.loader.type != "pflash":
            raise detail("Only pflash loader type permits NVRAM")("")
        if stateless is False and self.firmware not in {None, "efi"}:
            raise detail("Only EFI firmware permits NVRAM")("")
        if stateless and path is not None:
            raise detail("NVRAM is not permitted when loader is stateless")("")
        if stateless and self.nvram is not None and self.nvram.template is not None:
            raise detail("NVRAM template is not permitted when loader is stateless")("")
        if self.firmware == "bios" and self.nvram is not None:
            raise detail("firmware type 'bios' does not support nvram")("")

    def _check_selection(self) -> None:
        """Check that nothing is said of a firmware that is to be chosen; raises XmlDetail."""
        features = self.firmware_features.features if self.firmware_features is not None else []
        wanted = {feature.name: feature.enabled for feature in features}
        if wanted.get("enrolled-keys") and wanted.get("secure-boot") is False:
            raise detail(
                "firmware feature 'enrolled-keys' cannot be enabled when firmware feature 'secure-boot'"
                " is disabled"
            )("")
        if wanted.get("enrolled-keys") and "secure-boot" not in wanted:
            features.append(FirmwareFeature(name="secure-boot", enabled=True))
        said = (
            ("loader", "readonly", self.loader and self.loader.readonly),
            ("loader", "type", self.loader and self.loader.type),
            ("nvram", "template", self.nvram and self.nvram.template),
        )
        for element, name, value in said:
            if value is not None:
                raise detail(
                    f"{element} attribute '{name}' cannot be specified when firmware autoselection is enabled"
                )("")
