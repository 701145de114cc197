"""``<sysinfo>``: the tables of firmware that the guest reads."""

from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.xml.fields import Model, Printing, Reading, Source, attribute, body, child, children
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Choice, unsupported, xml_error
from remotevirt.xml.write import Tag

__all__ = ["SysInfo", "choose_sysinfo"]


@attrs.define
class Entry(Model):
    TAG: ClassVar[str] = "entry"
    name: str | None = attribute("name")
    value: str | None = body()


@attrs.define
class Block(Model):
    """A table: its entries are printed in the table's order; of equal ones the first counts."""

    ORDER: ClassVar[tuple[str, ...]] = ()
    entries: list[Entry] = children(Entry)

    def complete(self, source: Source, how: Reading) -> None:
        first: dict[str, Entry] = {}
        for entry in self.entries:
            if entry.name in self.ORDER and entry.value is not None:
                first.setdefault(entry.name or "", entry)
        self.entries = [first[name] for name in self.ORDER if name in first]


@attrs.define
class Bios(Block):
    TAG: ClassVar[str] = "bios"
    ORDER: ClassVar[tuple[str, ...]] = ("vendor", "version", "date", "release")


@attrs.define
class System(Block):
    TAG: ClassVar[str] = "system"
    ORDER: ClassVar[tuple[str, ...]] = ("manufacturer", "product", "version", "serial", "uuid", "sku", "family")


@attrs.define
class BaseBoard(Block):
    TAG: ClassVar[str] = "baseBoard"
    ORDER: ClassVar[tuple[str, ...]] = ("manufacturer", "product", "version", "serial", "asset", "location")


@attrs.define
class Chassis(Block):
    TAG: ClassVar[str] = "chassis"
    ORDER: ClassVar[tuple[str, ...]] = ("manufacturer", "version", "serial", "asset", "sku")


@attrs.define
class OemStrings(Model):
    TAG: ClassVar[str] = "oemStrings"
    entries: list[Entry] = children(Entry)


@attrs.define
class FwCfgEntry(Model):
    TAG: ClassVar[str] = "entry"
    name: str = attribute("name", required=xml_error("Firmware entry is missing 'name' attribute"))
    file: str | None = attribute("file")
    value: str | None = body()


@attrs.define
class SysInfo(Model):
    """The base of both kinds."""

    TAG: ClassVar[str] = "sysinfo"
    type: str = attribute("type")


@attrs.define
class SmBios(SysInfo):
    bios: Bios | None = child(Bios)
    system: System | None = child(System)
    baseboards: list[BaseBoard] = children(BaseBoard)
    chassis: Chassis | None = child(Chassis)
    oem: OemStrings | None = child(OemStrings)


@attrs.define
class FwCfg(SysInfo):
    entries: list[FwCfgEntry] = children(FwCfgEntry)


def choose_sysinfo(element: Element) -> type[Model] | None:
    """The model for a ``<sysinfo>``."""
    kind = Choice("smbios fwcfg", refusal=xml_error("unknown sysinfo type '{}'"))
    text = element.get("type")
    if text is None:
        raise xml_error("sysinfo must contain a type attribute")("")
    return SmBios if kind.read(text, None) == "smbios" else FwCfg  # type: ignore[arg-type]
