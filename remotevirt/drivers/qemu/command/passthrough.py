"""``<qemu:commandline>``: arguments and environment that the configuration adds as they are."""

from __future__ import annotations

from typing import Any

import attrs

from remotevirt.xml.domain.commandline import CommandLine, read_command_line

__all__ = ["Passthrough", "passthrough_of", "read_passthrough"]


@attrs.frozen
class Passthrough:
    """What is added to the command line as it is.

    Attributes:
        arguments: in order.
        environment: names and values, in order.
    """

    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


def passthrough_of(line: CommandLine | None) -> Passthrough:
    """Return what a configuration adds."""
    if line is None:
        return Passthrough()
    return Passthrough(line.arguments, tuple((name, value or "") for name, value in line.environment))


def read_passthrough(root: Any) -> Passthrough:
    """Read it from a ``<domain>`` element.

    Raises:
        VirError: it is malformed, or another element of the namespace is there, which this driver lacks.
    """
    return passthrough_of(read_command_line(root))
