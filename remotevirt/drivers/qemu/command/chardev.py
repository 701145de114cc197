"""The host's side of character devices: sockets, terminals, files and what else carries a stream.

Each is described as QMP's ``chardev-add`` wants it. Sockets that listen and files are opened by the launcher:
the guest's process, which may run as another user, needs no right to the folders that they are in.
"""

from __future__ import annotations

import re
from typing import Any, Final

from remotevirt.drivers.qemu.command.parts import Descriptor, Fd, FdSet, GuestFile, Part
from remotevirt.drivers.qemu.command.setting import Setting, unsupported
from remotevirt.xml.domain.chardev import Backend, CharSource

__all__ = ["channel_path", "chardev_part", "monitor_part"]

ANY_ADDRESS: Final = "0.0.0.0"

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
"""What must not be in a file's name that is made from a name the domain gives."""


def channel_path(folder: str, name: str) -> str:
    """Return where the socket of a channel is that has no path of its own."""
    return f"{folder}/{_UNSAFE.sub('_', name).lstrip('.')}"


def monitor_part(path: str) -> Part:
    """Return the socket on which QEMU serves its monitor. The launcher lets it listen on ``path``."""
    data = {"addr": _passed("charmonitor"), "server": True, "wait": False}
    descriptor = Descriptor("charmonitor", "listen", path)
    return Part("chardev", {"id": "charmonitor", "backend": {"type": "socket", "data": data}}, (descriptor,))


def _passed(name: str) -> dict[str, Any]:
    return {"type": "fd", "data": {"str": Fd(name)}}


def chardev_part(setting: Setting, backend: Backend, alias: str, *, channel: str | None = None) -> Part:
    """Return the back end of a character device, called ``char`` and its alias.

    Args:
        setting: the guest.
        backend: from its configuration.
        alias: of the device.
        channel: the name of a channel, whose socket gets a path made from it where it has none.

    Raises:
        VirError: QEMU has nothing like it, or it is not allowed.
    """
    kind = backend.type
    source = backend.sources[0] if backend.sources else CharSource()
    descriptors: list[Descriptor] = []
    files: list[GuestFile] = []
    if source.seclabels:
        raise unsupported("security labels of character devices are not supported by this driver")
    name = f"char{alias}"
    data: dict[str, Any]
    if kind in {"null", "pty", "vc"}:
        data = {}
    elif kind in {"dev", "pipe"}:
        data = {"device": source.path}
        if kind == "dev":
            files.append(GuestFile(source.path or "", writable=True, shared=True))
            kind = "parallel" if alias.startswith("parallel") else "serial"
    elif kind == "file":
        descriptor = Descriptor(
            f"{alias}-source", "file", source.path, append=bool(source.append), device=alias
        )
        descriptors.append(descriptor)
        data = {"out": FdSet(descriptor.name)}
        if source.append is not None:
            data["append"] = source.append
    elif kind == "udp":
        data = _datagrams(backend)
    elif kind == "tcp":
        kind, data = "socket", _tcp(backend, source)
    elif kind == "unix":
        kind = "socket"
        data = _unix(setting, source, name, channel, alias, descriptors)
    else:
        raise unsupported(f"unsupported chardev type '{kind}'")
    if backend.log is not None and backend.log.file is not None:
        log = Descriptor(
            f"{alias}-log", "file", backend.log.file, append=bool(backend.log.append), device=alias
        )
        descriptors.append(log)
        data |= {"logfile": FdSet(log.name), "logappend": True}
    arguments = {"id": name, "backend": {"type": kind, "data": data}}
    return Part("chardev", arguments, tuple(descriptors), tuple(files))


def _datagrams(backend: Backend) -> dict[str, Any]:
    ends = {source.mode: source for source in backend.sources}
    remote, local = ends.get("connect"), ends.get("bind")
    if remote is None or remote.service is None:
        raise unsupported("a datagram character device lacks the port that it sends to")
    data: dict[str, Any] = {"remote": _inet(remote.host or "", remote.service)}
    if local is not None:
        data["local"] = _inet(local.host or "", local.service or "0")
    return data


def _inet(host: str, service: str) -> dict[str, Any]:
    return {"type": "inet", "data": {"host": host, "port": service}}


def _tcp(backend: Backend, source: CharSource) -> dict[str, Any]:
    if source.tls:
        raise unsupported("TLS for character devices is not supported by this driver")
    if backend.protocol not in {None, "raw", "telnet"}:
        raise unsupported(f"chardev protocol '{backend.protocol}' is not supported")
    host = source.host or ANY_ADDRESS
    data: dict[str, Any] = {"addr": _inet(host, source.service or "")}
    if backend.protocol == "telnet":
        data["telnet"] = True
    return _roles(data, source)


def _roles(data: dict[str, Any], source: CharSource) -> dict[str, Any]:
    """Add who connects to whom."""
    if source.mode == "bind":
        return {**data, "server": True, "wait": False}
    data["server"] = False
    if source.reconnect is not None and source.reconnect.enabled:
        data["reconnect"] = source.reconnect.timeout
    return data


def _unix(
    setting: Setting,
    source: CharSource,
    name: str,
    channel: str | None,
    alias: str,
    descriptors: list[Descriptor],
) -> dict[str, Any]:
    path = source.path
    mode = source.mode
    if path is None:
        if channel is None:
            raise unsupported("a character device lacks the path of its socket")
        folder = setting.surroundings.channel_folder or setting.surroundings.folder
        path, mode = channel_path(folder, channel), "bind"
    if mode == "bind":
        descriptors.append(Descriptor(name, "listen", path, device=alias))
        return {"addr": _passed(name), "server": True, "wait": False}
    return _roles({"addr": {"type": "unix", "data": {"path": path}}}, source)
