"""Parts of a guest: each described once, as the arguments of QMP, for both its start and hot-plug.

A device of the guest is a few parts: the back end on the host (block nodes, a character device, a network)
and the device that the guest sees. At the start :func:`to_arguments` renders each for the command line, in
JSON where QEMU takes it; while it runs :func:`to_commands` gives the QMP commands, with what undoes them.

What must be opened by somebody else (a tap device, a listening socket, a log file) stands in the arguments as
an :class:`Fd` or :class:`FdSet` and in the part's ``descriptors``, because its number is known only later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError

__all__ = [
    "Descriptor",
    "Fd",
    "FdSet",
    "GuestFile",
    "NeededSecret",
    "Order",
    "Part",
    "comma_list",
    "escaped",
    "option",
    "shown",
    "to_arguments",
    "to_commands",
]

Arguments: TypeAlias = Mapping[str, Any]
Kind: TypeAlias = Literal["option", "object", "blockdev", "netdev", "chardev", "audiodev", "device"]


@attrs.frozen
class Tap:
    """A tap device of the host.

    Attributes:
        name: of the interface on the host, where ``%d`` is any number; None for any.
        mac: the address of the guest's card.
        mtu: bytes; None for the bridge's, or the kernel's default.
        bridge: the bridge that it shall be on, None for none.
        made: it is made for the guest; otherwise somebody has made it, and has set it up.
    """

    name: str | None
    mac: str
    mtu: int | None = None
    bridge: str | None = None
    made: bool = True


@attrs.frozen
class Descriptor:
    """Something that the launcher opens and the guest's process inherits, or gets over the monitor.

    Attributes:
        name: unique within the guest.
        kind: ``listen`` (a UNIX socket bound to ``path`` that listens), ``file`` (``path``, opened for
            writing only), ``tap``.
        path: see there.
        append: keep what is in the file; it is emptied otherwise.
        tap: the tap device, None for other kinds.
        device: the alias of the device that it is for.
    """

    name: str
    kind: Literal["listen", "file", "tap"]
    path: str | None = None
    append: bool = False
    tap: Tap | None = None
    device: str | None = None


@attrs.frozen
class GuestFile:
    """A file that the guest's process opens by itself.

    Attributes:
        path: of the file.
        writable: it opens it for writing.
        shared: others may have it open too: an image that is read only or shareable.
        block: it is a block device.
    """

    path: str
    writable: bool = False
    shared: bool = False
    block: bool = False


@attrs.frozen
class NeededSecret:
    """A secret whose value the launcher puts into a file of mode 0600 before the part is used.

    The value is never on the command line. QEMU reads the file when it makes the object, so the file can go
    as soon as the guest's monitor answers.

    Attributes:
        id: of the QMP object.
        path: of the file, inside of the guest's private folder.
        uuid: of the secret, None if it is known by its usage.
        usage: its usage otherwise.
    """

    id: str
    path: str
    uuid: bytes | None = None
    usage: str | None = None


@attrs.frozen
class Fd:
    """Stands for a descriptor: its number on the command line, its name over the monitor."""

    name: str


@attrs.frozen
class FdSet:
    """Stands for the path of a descriptor in a set (``/dev/fdset/N``)."""

    name: str


@attrs.frozen
class Part:
    """One thing that QEMU makes.

    Attributes:
        kind: which command makes it; ``option`` is of the command line only.
        arguments: of that command; for an option its ``name`` and ``value``.
        descriptors: what must be opened for it.
        files: what QEMU opens for it.
        secrets: what it needs to know.
    """

    kind: Kind
    arguments: Arguments
    descriptors: tuple[Descriptor, ...] = ()
    files: tuple[GuestFile, ...] = ()
    secrets: tuple[NeededSecret, ...] = ()


@attrs.frozen
class Order:
    """A QMP command.

    Attributes:
        execute: its name.
        arguments: its arguments.
        descriptor: what must be sent along with it.
        undo: the name and arguments of the command that undoes it, None for none.
        lasting: the undoing makes sense once all went well; if not, only where a later command failed.
    """

    execute: str
    arguments: dict[str, Any]
    descriptor: Descriptor | None = None
    undo: tuple[str, dict[str, Any]] | None = None
    lasting: bool = True


def option(name: str, value: str | None = None, *, files: Iterable[GuestFile] = ()) -> Part:
    """An option of the command line, such as ``-name``."""
    return Part("option", {"name": name, "value": value}, files=tuple(files))


def escaped(text: str) -> str:
    """Return a value as QEMU's own option syntax wants it: a comma is doubled."""
    return text.replace(",", ",,")


def comma_list(*words: str, **values: object) -> str:
    """Return an option in QEMU's own syntax.

    Args:
        words: as they are, such as ``node``.
        values: by name (an underscore stands for a hyphen): booleans are ``on`` or ``off``, None is left out.
    """
    pairs = [f"{key.replace('_', '-')}={_word(value)}" for key, value in values.items() if value is not None]
    return ",".join([*words, *pairs])


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return escaped(str(value))


def to_arguments(part: Part, numbers: Mapping[str, int] | None = None) -> list[str]:
    """Render a part for the command line.

    Args:
        part: what to render.
        numbers: the descriptors' numbers in the guest's process, by name; also the numbers of their sets.
    """
    known = numbers or {}
    words: list[str] = []
    for one in part.descriptors:
        if one.kind == "file":
            number = known[one.name]
            words += ["-add-fd", comma_list(set=number, fd=number, opaque=one.name)]
    if part.kind == "option":
        value = part.arguments["value"]
        return [*words, part.arguments["name"], *([] if value is None else [value])]
    arguments = _arguments(part, lambda name: str(known[name]), known)
    if part.kind == "chardev":
        return [*words, "-chardev", _legacy_chardev(arguments)]
    return [*words, f"-{part.kind}", _JSON.encode(arguments)]


_JSON: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)

_MAKERS: Final[Mapping[Kind, tuple[str, str, str]]] = {
    "object": ("object-add", "object-del", "id"),
    "blockdev": ("blockdev-add", "blockdev-del", "node-name"),
    "netdev": ("netdev_add", "netdev_del", "id"),
    "chardev": ("chardev-add", "chardev-remove", "id"),
    "device": ("device_add", "device_del", "id"),
}
"""The commands that make and unmake a part, and what the part's name is called in both."""


def to_commands(part: Part, sets: Mapping[str, int] | None = None) -> list[Order]:
    """Return the QMP commands that make a part in a running guest, in order.

    Args:
        part: what to make.
        sets: free numbers for the descriptor sets of the files among its descriptors, by name.

    Raises:
        VirError: the part can be had at the start only.
    """
    if part.kind not in _MAKERS:
        raise InternalError(f"a part of kind {part.kind} cannot be added at run time", domain=c.VIR_FROM_QEMU)
    numbers = sets or {}
    orders = [_passing(one, numbers) for one in part.descriptors]
    make, unmake, key = _MAKERS[part.kind]
    arguments = _arguments(part, lambda name: name, numbers)
    undo = (unmake, {key: arguments[key]}) if key in arguments else None
    return [*orders, Order(make, arguments, None, undo)]


def _passing(one: Descriptor, sets: Mapping[str, int]) -> Order:
    if one.kind == "file":
        number = sets[one.name]
        return Order(
            "add-fd",
            {"fdset-id": number, "opaque": one.name},
            one,
            ("remove-fd", {"fdset-id": number}),
        )
    return Order("getfd", {"fdname": one.name}, one, ("closefd", {"fdname": one.name}), lasting=False)


def _arguments(part: Part, name_of: Callable[[str], str], sets: Mapping[str, int]) -> dict[str, Any]:
    """Return a part's arguments; only those that stand for a descriptor need to be replaced."""
    if not part.descriptors:
        return dict(part.arguments)
    filled: dict[str, Any] = _filled(part.arguments, name_of, sets)
    return filled


def _filled(value: Any, name_of: Callable[[str], str], sets: Mapping[str, int]) -> Any:
    """Return arguments with all that stood for a descriptor replaced."""
    if isinstance(value, Fd):
        return name_of(value.name)
    if isinstance(value, FdSet):
        return f"/dev/fdset/{sets[value.name]}"
    if isinstance(value, Mapping):
        return {key: _filled(item, name_of, sets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, name_of, sets) for item in value]
    return value


def shown(part: Part) -> Part:
    """Return a part as it is shown to people: with the paths of what would be opened, not with numbers."""
    paths = {one.name: one.path for one in part.descriptors}
    return attrs.evolve(part, arguments=_with_paths(part.arguments, paths), descriptors=())


def _with_paths(value: Any, paths: Mapping[str, str | None]) -> Any:
    if isinstance(value, Fd | FdSet):
        return paths.get(value.name) or value.name
    if isinstance(value, Mapping):
        if value.get("type") == "fd":
            return {"type": "unix", "data": {"path": _with_paths(value["data"]["str"], paths)}}
        return {key: _with_paths(item, paths) for key, item in value.items()}
    return value


def _legacy_chardev(arguments: Mapping[str, Any]) -> str:
    """Return a character device in the only syntax that ``-chardev`` knows."""
    backend = arguments["backend"]
    kind: str = backend["type"]
    data: Mapping[str, Any] = backend["data"]
    values: dict[str, object] = {"id": arguments["id"]}
    if kind == "socket":
        values |= _legacy_address(data["addr"])
        values |= {"telnet": data.get("telnet") or None, "reconnect": data.get("reconnect")}
        if data["server"]:
            values |= {"server": True, "wait": data["wait"]}
    elif kind == "udp":
        values |= _legacy_address(data["remote"])
        local = data.get("local")
        if local is not None:
            values |= {"localaddr": local["data"]["host"], "localport": local["data"]["port"]}
    elif kind == "file":
        values |= {"path": data["out"], "append": data.get("append")}
    elif "device" in data:
        values["path"] = data["device"]
    values |= {"logfile": data.get("logfile"), "logappend": data.get("logappend")}
    return comma_list(kind, **values)


def _legacy_address(address: Mapping[str, Any]) -> dict[str, object]:
    if address["type"] == "fd":
        return {"fd": address["data"]["str"]}
    data: Mapping[str, Any] = address["data"]
    return dict(data)
