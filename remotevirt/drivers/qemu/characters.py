"""What QEMU says of character devices: their pseudo-terminals, and whether the guest has its end open.

::

    the guest opens or closes a virtio channel ──► VSERPORT_CHANGE ──► state of the live definition's channel
    the guest starts, the daemon comes back    ──► query-chardev   ──┘     └──► AGENT_LIFECYCLE, if it is
                                                                                the agent's channel
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from remotevirt.drivers.events import Event
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.qmp import objects_of
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote.event import DomainEventCallbackAgentLifecycleMsg
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.chardev import CharSource, Console

__all__ = [
    "CHANGED",
    "STARTED",
    "Character",
    "channels_of",
    "find_characters",
    "opened",
    "place_terminals",
    "take_in_states",
]

AGENT: Final = "org.qemu.guest_agent.0"
"""The name of the channel to a guest's agent."""

STATES: Final = {
    True: ("connected", c.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED),
    False: ("disconnected", c.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED),
}
"""Whether the guest has a channel open: the word of documents, and the state of the agent's event."""

STARTED: Final[int] = c.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_DOMAIN_STARTED
CHANGED: Final[int] = c.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL
"""Why the event of the agent comes."""

_TERMINAL = re.compile(r"pty:/dev/pts/[0-9]{1,10}")
"""How QEMU tells where a terminal is. A guest may have broken out into it, and a definition that holds what
no document can would not be read again after a restart of the daemon."""


class Character(NamedTuple):
    """A character device, as QEMU has it.

    Attributes:
        terminal: the path of its pseudo-terminal, None if it is none.
        open: the guest has its end open; None where that is not known.
    """

    terminal: str | None
    open: bool | None


async def find_characters(guest: Guest) -> dict[str, Character]:
    """Return a guest's character devices, by their ids (``char`` and the device's alias). Raises VirError."""
    found: dict[str, Character] = {}
    for one in objects_of(await guest.execute("query-chardev")):
        if isinstance(one.get("label"), str):
            name, is_open = one.get("filename"), one.get("frontend-open")
            terminal = isinstance(name, str) and _TERMINAL.fullmatch(name)
            found[one["label"]] = Character(
                terminal[0].removeprefix("pty:") if terminal else None,
                is_open if isinstance(is_open, bool) else None,
            )
    return found


def place_terminals(model: DomainModel, found: Mapping[str, Character]) -> None:
    """Say in a live definition where the pseudo-terminals are."""
    devices = model.devices
    lines: list[Any] = [*devices.serials, *devices.parallels, *devices.channels, *devices.consoles]
    for one in lines:
        character = found.get(f"char{one.info.alias}")
        if character is not None and character.terminal is not None and one.backend.type == "pty":
            if isinstance(one, Console):
                one.backend.tty = character.terminal  # what clients looked for before there was <source>
            one.backend.sources = [CharSource(path=character.terminal)]


def take_in_states(guest: Guest, found: Mapping[str, Character], reason: int) -> None:
    """Note which channels a guest has open, and tell of its agent's; inside of a commit.

    Args:
        guest: the guest.
        found: what QEMU says.
        reason: of virConnectDomainEventAgentLifecycleReason.
    """
    for channel in channels_of(guest.record.live.changing()):
        character = found.get(f"char{channel.info.alias}")
        if character is not None and character.open is not None:
            channel.target.state, state = STATES[character.open]
            if channel.target.name == AGENT:
                _tell(guest, state, reason)


def opened(guest: Guest, alias: str, is_open: bool) -> None:
    """Take in that a guest has opened or closed a channel; nothing for other devices, which have no state.

    Args:
        guest: the guest.
        alias: of the device.
        is_open: whether it is open.
    """
    world, record, (word, _) = guest.world, guest.record, STATES[is_open]

    def change() -> None:
        world.touch(record)
        take_in_states(guest, {f"char{alias}": Character(None, is_open)}, CHANGED)

    channels = channels_of(record.live.model)
    if any(one.info.alias == alias and one.target.state != word for one in channels):
        world.apply(change)


def channels_of(model: DomainModel) -> list[Any]:
    """Return the virtio channels of a guest, which are those that have a state."""
    channels = model.devices.channels
    return [one for one in channels if one.target is not None and one.target.type == "virtio"]


def _tell(guest: Guest, state: int, reason: int) -> None:
    """Publish whether a guest has its agent's channel open."""
    record = guest.record
    msg = DomainEventCallbackAgentLifecycleMsg(0, record.ref, state, reason)
    guest.world.hub.publish(Event("domain", c.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, record.uuid, msg))
