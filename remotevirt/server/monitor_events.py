"""Which of QEMU's own events a client wants: one of a name, those that match a pattern, or all.

A pattern is a regular expression of the client's, and those can take for ever. So one may have few places
where there is a choice; with these, a name of an event is looked at in about a millisecond.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from remotevirt.drivers.events import Event
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import InvalidArg

__all__ = ["event_filter"]

REGEX: Final[int] = vir.VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX
NOCASE: Final[int] = vir.VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_NOCASE

PATTERN_MAXIMUM: Final = 256
"""Characters of a pattern; the longest name of an event has 30."""

CHOICES_MAXIMUM: Final = 3
"""Places of a pattern where there is a choice. How long a search takes grows with the name's length to the
power of these."""

NAME_MAXIMUM: Final = 64
"""Characters of a name that patterns are tried on; a longer one is no event of QEMU's, and matches none."""

_CHOICES: Final = re.compile(r"[*+?{|]")
_NESTED: Final = re.compile(r"\)[*+?{]|\\[0-9]|\(\?")
"""What is not for clients: groups that are repeated, references to groups, extensions."""


def event_filter(event: str | None, flags: int) -> Callable[[Event], bool] | None:
    """Return what tells whether an event is wanted, None if all are.

    Args:
        event: a name or a pattern, None for all.
        flags: of virConnectDomainQemuMonitorEventRegisterFlags.

    Raises:
        InvalidArg: there is no such flag, or the pattern is none, or too much.
    """
    unknown = flags & ~(REGEX | NOCASE)
    if unknown:
        function = "virDomainQemuMonitorEventStateRegisterID"
        text = f"unsupported flags ({unknown:#x}) in function {function}"
        raise InvalidArg(message=text, domain=vir.VIR_FROM_NONE, str1=function, str2="flags", int1=0)
    if event is None:
        return None
    if flags & REGEX:
        found = _compile(event, re.IGNORECASE if flags & NOCASE else 0).search
        return lambda one: len(_name(one)) <= NAME_MAXIMUM and found(_name(one)) is not None
    if flags & NOCASE:
        return lambda one: _name(one).casefold() == event.casefold()
    return lambda one: _name(one) == event


def _name(event: Event) -> str:
    msg: Any = event.msg
    name: str = msg.event
    return name


def _compile(pattern: str, flags: int) -> re.Pattern[str]:
    too_much = (
        len(pattern) > PATTERN_MAXIMUM
        or len(_CHOICES.findall(pattern)) > CHOICES_MAXIMUM
        or _NESTED.search(pattern)
    )
    try:
        if too_much:
            raise ValueError("it takes too long")
        return re.compile(pattern, flags)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        text = f"failed to compile regex '{pattern}': {error}"
        raise InvalidArg(text, domain=vir.VIR_FROM_NONE) from error
