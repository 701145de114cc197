"""``<qemu:commandline>``: arguments and environment of QEMU that a document adds as they are.

libvirt's QEMU driver reads these elements in its own namespace, and prints them last, whatever their prefix
was. Other drivers drop them.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError
from remotevirt.xml.write import Tag

__all__ = ["QEMU_NAMESPACE", "CommandLine", "add_command_line", "read_command_line"]

QEMU_NAMESPACE: Final = "http://libvirt.org/schemas/domain/qemu/1.0"

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
"""What an environment variable may be called."""


@attrs.frozen
class CommandLine:
    """What is added to the command line.

    Attributes:
        arguments: in order.
        environment: names and values, in order; None for a value that is not said, which is empty.
    """

    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str | None], ...] = ()


def read_command_line(root: Any) -> CommandLine | None:
    """Read it from a ``<domain>`` element; None if there is nothing.

    Raises:
        InternalError: it is malformed.
        ConfigUnsupported: another element of the namespace is there, which nobody here carries out.
    """
    arguments: list[str] = []
    environment: list[tuple[str, str | None]] = []
    prefix = f"{{{QEMU_NAMESPACE}}}"
    for element in root:
        if not isinstance(element.tag, str) or not element.tag.startswith(prefix):
            continue
        name = element.tag.removeprefix(prefix)
        if name != "commandline":
            text = f"'qemu:{name}' is not supported by this driver"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
        for item in element:
            if item.tag == f"{prefix}arg":
                value = item.get("value")
                if value is None:
                    text = "No qemu command-line argument specified"
                    raise InternalError(text, domain=c.VIR_FROM_QEMU)
                arguments.append(value)
            elif item.tag == f"{prefix}env":
                environment.append((_variable(item.get("name")), item.get("value")))
    if not arguments and not environment:
        return None
    return CommandLine(tuple(arguments), tuple(environment))


def _variable(name: str | None) -> str:
    """Return the name of a variable; raises InternalError."""
    if not name:
        raise InternalError("No qemu environment name specified", domain=c.VIR_FROM_QEMU)
    if not (name[0].isalpha() or name[0] == "_"):
        text = "Invalid environment name, it must begin with a letter or underscore"
        raise InternalError(text, domain=c.VIR_FROM_QEMU)
    if not _NAME.match(name):
        text = "Invalid environment name, it must contain only alphanumerics and underscore"
        raise InternalError(text, domain=c.VIR_FROM_QEMU)
    return name


def add_command_line(tag: Tag, line: CommandLine) -> None:
    """Add it to a ``<domain>`` that is being printed."""
    tag.set("xmlns:qemu", QEMU_NAMESPACE)
    block = Tag("qemu:commandline")
    for argument in line.arguments:
        block.add(Tag("qemu:arg").set("value", argument))
    for name, value in line.environment:
        block.add(Tag("qemu:env").set("name", name).set("value", value))
    tag.add(block)
