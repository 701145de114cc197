"""How a guest behaves: a profile, and the load that it puts on its CPUs over time."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final

import attrs

from remotevirt.testing.values import WorldError, field, flag, maybe, number, seconds

__all__ = ["Profile"]

STEPS_MAXIMUM: Final = 1000
"""Steps of a load."""

PERIOD_MINIMUM: Final = 1.0
"""Shortest time between reboots, or before a panic, in seconds: a day in a second is then still possible."""


def _load(value: Any) -> tuple[tuple[float, float], ...]:
    """Convert a load: a share, or steps of (seconds, share) that are repeated."""
    steps = value if isinstance(value, list | tuple) else [(PERIOD_MINIMUM, value)]
    if not steps or len(steps) > STEPS_MAXIMUM:
        raise WorldError(f"load: 1 to {STEPS_MAXIMUM} steps are wanted, not {len(steps)}")
    found = []
    for step in steps:
        if not isinstance(step, list | tuple) or len(step) != 2:
            raise WorldError(f"load: a step is [seconds, share], not {step!r:.80}")
        found.append((seconds("load", 0.001)(step[0]), number("load", 0, 1)(step[1])))
    return tuple(found)


@attrs.frozen(kw_only=True)
class Profile:
    """How guests of one sort behave; times in seconds after the guest was started or rebooted.

    Attributes:
        boot: until its system is up; before that it does not hear a request to shut down.
        agent: until its agent answers; None: never.
        lease: until its interfaces have addresses; None: never.
        shutdown: that it takes to shut down once it is asked to.
        acpi: whether it obeys when it is asked to shut down or reboot.
        panic: until it panics; None: never.
        reboot: until it reboots by itself, again and again; None: never.
        load: share of each of its CPUs that it uses, or steps of ``[seconds, share]`` that are repeated.
        disk_read, disk_write, net_receive, net_send: bytes a second, while its system is up.
    """

    boot: float = field(seconds("boot"), 0.0)
    agent: float | None = maybe(seconds("agent"), 0.0)
    lease: float | None = maybe(seconds("lease"), 0.0)
    shutdown: float = field(seconds("shutdown"), 0.0)
    acpi: bool = field(flag("acpi"), True)
    panic: float | None = maybe(seconds("panic", PERIOD_MINIMUM))
    reboot: float | None = maybe(seconds("reboot", PERIOD_MINIMUM))
    load: tuple[tuple[float, float], ...] = field(_load, 0.0)
    disk_read: float = field(number("disk_read", 0, 1e12), 0.0)
    disk_write: float = field(number("disk_write", 0, 1e12), 0.0)
    net_receive: float = field(number("net_receive", 0, 1e12), 0.0)
    net_send: float = field(number("net_send", 0, 1e12), 0.0)

    def busy(self, uptime: float) -> float:
        """Return how many seconds of each CPU the guest has used after so many seconds."""
        ends, used, time, busy = [0.0], [0.0], 0.0, 0.0
        for length, share in self.load:
            time += length
            busy += length * share
            ends.append(time)
            used.append(busy)
        rounds, rest = divmod(uptime, time)
        step = min(bisect_right(ends, rest) - 1, len(self.load) - 1)
        return rounds * busy + used[step] + (rest - ends[step]) * self.load[step][1]
