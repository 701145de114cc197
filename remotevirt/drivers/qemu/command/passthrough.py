"""``<qemu:commandline>``: arguments and environment that the configuration adds as they are."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from remotevirt.drivers.qemu.command.setting import unsupported
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError

__all__ = ["QEMU_NAMESPACE", "Passthrough", "read_passthrough"]

QEMU_NAMESPACE: Final = "http://libvirt.org/schemas/domain/qemu/1.0"

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
"""What an environment variable may be called."""

_KNOWN: Final = frozenset(("commandline",))


@attrs.frozen
class Passthrough:
    """What is added to the command line as it is.

    Attributes:
        arguments: in order.
        environment: names and values, in order.
    """

    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


def read_passthrough(root: Any) -> Passthrough:
    """Read it from a ``<domain>`` element.

    Raises:
        VirError: it is malformed, or another element of the namespace is there, which this driver lacks.
    """
    arguments: list[str] = []
    environment: list[tuple[str, str]] = []
    prefix = f"{{{QEMU_NAMESPACE}}}"
    for element in root:
        if not isinstance(element.tag, str) or not element.tag.startswith(prefix):
            continue
        name = element.tag.removeprefix(prefix)
        if name not in _KNOWN:
            raise unsupported(f"'qemu:{name}' is not supported by this driver")
        for item in element:
            if item.tag == f"{prefix}arg":
                value = item.get("value")
                if value is None:
                    raise XmlError("No qemu command-line argument specified", domain=c.VIR_FROM_QEMU)
                arguments.append(value)
            elif item.tag == f"{prefix}env":
                environment.append(_variable(item.get("name"), item.get("value") or ""))
    return Passthrough(tuple(arguments), tuple(environment))


def _variable(name: str | None, value: str) -> tuple[str, str]:
    if not name:
        raise XmlError("No qemu environment name specified", domain=c.VIR_FROM_QEMU)
    if not (name[0].isalpha() or name[0] == "_"):
        raise XmlError(
            "Invalid environment name, it must begin with a letter or underscore", domain=c.VIR_FROM_QEMU
        )
    if not _NAME.match(name):
        raise XmlError(
            "Invalid environment name, it must contain only alphanumerics and underscore",
            domain=c.VIR_FROM_QEMU,
        )
    return name, value
