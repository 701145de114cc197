"""What the host's side of a character device needs, by its kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import InternalError, InvalidArg
from remotevirt.xml.domain.address import CcidAddress
from remotevirt.xml.domain.chardev import Backend, CharSource
from remotevirt.xml.domain.devices import Devices
from remotevirt.xml.domain.rules import unsupported
from remotevirt.xml.domain.small import RandomDaemon

__all__ = ["check_characters"]

WITH_PATH: Final = frozenset(["dev", "file", "pipe"])

_CHANNEL = re.compile(r"[A-Za-z0-9._-]+\Z")


def check_characters(devices: Devices) -> None:
    """Check all character devices, and what else is one on the host's side; raises VirError."""
    for card in devices.smartcards:
        if card.info.address is not None and not isinstance(card.info.address, CcidAddress):
            raise unsupported("Controllers must use the 'ccid' address type")
    for backend in _backends(devices):
        _check_backend(backend)
    for channel in devices.channels:
        choose = channel.target is not None and channel.target.type in {"virtio", "xen"}
        _check_backend(channel.backend, may_choose_path=choose)


def _backends(devices: Devices) -> Iterator[Backend]:
    characters: tuple[Any, ...] = (*devices.serials, *devices.parallels, *devices.consoles)
    for device in (*characters, *devices.redirdevs):
        yield device.backend
    for card in devices.smartcards:
        if card.backend is not None:
            yield card.backend
    for source in devices.rngs:
        if isinstance(source.backend, RandomDaemon):
            yield source.backend.backend


def _check_backend(backend: Backend, *, may_choose_path: bool = False) -> None:
    kind = backend.type
    if kind == "udp":
        connect = next((one for one in backend.sources if one.mode == "connect"), CharSource())
        _need(connect.service, "service")
        return
    first = backend.sources[0] if backend.sources else CharSource()
    if kind in WITH_PATH:
        _need(first.path, "path")
    elif kind == "tcp":
        _need(first.host, "host")
        _need(first.service, "service")
        _check_reconnect(first)
    elif kind == "unix":
        if not may_choose_path:
            _need(first.path, "path")
        _check_reconnect(first)
    elif kind in {"spiceport", "dbus"}:
        if first.channel is None:
            raise unsupported("Missing source channel attribute for char device")
        if kind == "spiceport" and not _CHANNEL.match(first.channel):
            text = "Invalid character in source channel for char device"
            raise InvalidArg(text, domain=VIR_FROM_DOMAIN)
    elif kind == "nmdm" and (first.master is None) != (first.slave is None):
        text = "Should define both master and slave path attributes for nmdm device"
        raise InternalError(text, domain=VIR_FROM_DOMAIN)


def _need(value: str | None, what: str) -> None:
    if value is None:
        raise InternalError(f"Missing source {what} attribute for char device", domain=VIR_FROM_DOMAIN)


def _check_reconnect(source: CharSource) -> None:
    if source.reconnect is not None and source.reconnect.enabled and source.mode == "bind":
        text = "chardev reconnect is possible only for connect mode"
        raise InternalError(text, domain=VIR_FROM_DOMAIN)
