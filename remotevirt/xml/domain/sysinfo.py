"""``<sysinfo>``: the tables of firmware that the guest reads."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

import re
from typing import ClassVar

import attrs

from remotevirt.xml.fields import Model, Reading, Source, attribute, body, child, children
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Choice, Where, detail, missing_attribute, parse_uuid, xml_error

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


_DATE = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{2}|(?:19|[2-9][0-9])[0-9]{2})\Z")


def _is_date(text: str) -> bool:
    """Whether a text is a date as firmware writes it: month, day, year."""
    match = _DATE.match(text)
    return match is not None and 1 <= int(match[1]) <= 12 and 1 <= int(match[2]) <= 31


@attrs.define
class Bios(Block):
    TAG: ClassVar[str] = "bios"
    ORDER: ClassVar[tuple[str, ...]] = ("vendor", "version", "date", "release")

    def complete(self, source: Source, how: Reading) -> None:
        super().complete(source, how)
        for entry in self.entries:
            if entry.name == "date" and not _is_date(entry.value or ""):
                raise detail("Invalid BIOS 'date' format")("")


@attrs.define
class System(Block):
    TAG: ClassVar[str] = "system"
    ORDER: ClassVar[tuple[str, ...]] = (
        "manufacturer",
        "product",
        "version",
        "serial",
        "uuid",
        "sku",
        "family",
    )

    def complete(self, source: Source, how: Reading) -> None:
        super().complete(source, how)
        for entry in self.entries:
            if entry.name == "uuid" and parse_uuid(entry.value or "") is None:
                raise detail("malformed <sysinfo> uuid element")("")


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

    def complete(self, source: Source, how: Reading) -> None:
        if self.file is None and self.value is None:
            raise xml_error("Firmware entry must have either value or 'file' attribute")("")


@attrs.define
class SysInfo(Model):
    """The base of both kinds."""

    TAG: ClassVar[str] = "sysinfo"
    type: str = attribute("type")

    def uuid(self) -> bytes | None:
        """The guest's UUID as it stands here, if it does."""
        return None


@attrs.define
class SmBios(SysInfo):
    bios: Bios | None = child(Bios)
    system: System | None = child(System)
    baseboards: list[BaseBoard] = children(BaseBoard)
    chassis: Chassis | None = child(Chassis)
    oem: OemStrings | None = child(OemStrings)

    def uuid(self) -> bytes | None:
        for entry in self.system.entries if self.system is not None else ():
            if entry.name == "uuid":
                return parse_uuid(entry.value or "")
        return None


@attrs.define
class FwCfg(SysInfo):
    entries: list[FwCfgEntry] = children(FwCfgEntry)


def choose_sysinfo(element: Element) -> type[Model] | None:
    """The model for a ``<sysinfo>``."""
    text = element.get("type")
    if text is None:
        raise missing_attribute("sysinfo", "type")
    kind = Choice("smbios fwcfg").read(text, Where("sysinfo", "type"))
    return SmBios if kind == "smbios" else FwCfg
