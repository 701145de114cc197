"""The lives of guests that behave: what happens to them by themselves, as their world's time goes on.

::

    started ──► boot: system up ──► agent ──► lease       each at its own time after the start
       ▲                │
       └── rebooted ◄───┼──► shutting down ──► shut off
                        └──► panicked: as ``on_crash`` says

A domain lives from the event that it started to the event that it stopped, whichever call, snapshot or crash
brought that about; while it is paused its time stands still. Domains without a profile have no life: they are
libvirt's, and do everything at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from remotevirt.drivers.domains.domain import POWER_ACTIONS, DomainRecord
from remotevirt.drivers.events import Event
from remotevirt.drivers.test.world import World
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote.event import (
    DomainEventCallbackAgentLifecycleMsg,
    DomainEventRebootMsg,
)
from remotevirt.testing.clock import WorldClock
from remotevirt.testing.profile import Profile
from remotevirt.testing.values import WorldError

__all__ = ["Guests", "Life"]

RESTARTS: Final = ("restart", "rename-restart", "coredump-restart")
"""The words of ``on_crash`` after which a guest boots again."""

BEGINS: Final = (c.VIR_DOMAIN_EVENT_STARTED,)
ENDS: Final = (c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_CRASHED)


class Life:
    """One run of a guest, from its start.

    Attributes:
        profile: how it behaves.
        uptime: seconds that it has run up to ``since``; since: when it began to run, None while it is paused.
        before, cpu_before: what it had worked before it last rebooted, in seconds of uptime and of each CPU.
        leaving: what it is about to do: shut ``"off"``, ``"reboot"``, or nothing (``""``).
        timers: what will happen to it.
    """

    __slots__ = ("before", "cpu_before", "leaving", "profile", "since", "timers", "uptime")

    def __init__(self, profile: Profile, now: float | None, uptime: float = 0.0) -> None:
        self.profile = profile
        self.uptime = uptime
        self.since = now
        self.before = 0.0
        self.cpu_before = 0.0
        self.leaving = ""
        self.timers: list[Any] = []

    def age(self, now: float) -> float:
        """Return for how many seconds it has run since it started or rebooted."""
        return self.uptime + (0.0 if self.since is None else now - self.since)

    def cpu_seconds(self, now: float) -> float:
        """Return the seconds that it has used of each CPU since the domain started."""
        return self.cpu_before + self.profile.busy(self.age(now))

    def working(self, now: float) -> float:
        """Return for how many seconds its system was up since the domain started."""
        return self.before + max(0.0, self.age(now) - self.profile.boot)

    def up(self, now: float) -> bool:
        """Tell whether its system is up."""
        return self.age(now) >= self.profile.boot

    def agent(self, now: float) -> bool:
        """Tell whether its agent answers."""
        wait = self.profile.agent
        return self.since is not None and not self.leaving and wait is not None and self.age(now) >= wait

    def leased(self, now: float) -> bool:
        """Tell whether its interfaces have addresses."""
        return self.profile.lease is not None and self.age(now) >= self.profile.lease

    def stop_timers(self) -> None:
        """Forget what would have happened."""
        timers, self.timers = self.timers, []
        for timer in timers:
            if timer.active():
                timer.cancel()


class Guests:
    """The lives of a world's guests.

    Args:
        world: whose domains.
        clock: its time.
        profiles: how domains behave, by name of the domain.

    Attributes:
        lives: of the domains that are active and have a profile, by UUID.
    """

    def __init__(self, world: World, clock: WorldClock, profiles: Mapping[str, Profile]) -> None:
        self.world = world
        self.clock = clock
        self.profiles = dict(profiles)
        self.lives: dict[bytes, Life] = {}
        world.hub.listen(self._heard)
        for record in world.by_id.values():
            self._begin(record)

    def behave(self, name: str, profile: Profile | None) -> None:
        """Give a domain a profile, or with None take it away; if it is active, it begins a life.

        Raises:
            WorldError: there is no such domain.
        """
        record = self.find(name)
        self._end(record.uuid)
        if profile is None:
            self.profiles.pop(name, None)
        else:
            self.profiles[name] = profile
            if record.active:
                self._begin(record)

    def find(self, name: str) -> DomainRecord:
        """Return a domain by name; raises WorldError."""
        record = self.world.by_name.get(name)
        if record is None:
            raise WorldError(f"there is no domain called {name!r:.80}")
        return record

    def life(self, record: DomainRecord) -> Life | None:
        """Return the life of a domain, None if it has none."""
        return self.lives.get(record.uuid)

    # -- what happens by itself ------------------------------------------------------------------------

    def _heard(self, event: Event) -> None:
        """Follow what becomes of domains."""
        if event.kind != "domain" or event.id != c.VIR_DOMAIN_EVENT_ID_LIFECYCLE:
            return
        uuid = event.key
        assert isinstance(uuid, bytes)
        what = event.msg.event  # type: ignore[attr-defined]
        if what in ENDS:
            self._end(uuid)
            return
        record = self.world.by_uuid.get(uuid)
        if record is None:
            return
        life = self.lives.get(uuid)
        if what in BEGINS:
            self._end(uuid)
            self._begin(record)
        elif life is not None and what == c.VIR_DOMAIN_EVENT_SUSPENDED:
            self._pause(life)
        elif life is not None and what == c.VIR_DOMAIN_EVENT_RESUMED and life.since is None:
            life.since = self.clock.seconds()
            self._plan(record, life)

    def _begin(self, record: DomainRecord) -> None:
        profile = self.profiles.get(record.name)
        if profile is not None:
            paused = record.state == c.VIR_DOMAIN_PAUSED
            life = self.lives[record.uuid] = Life(profile, None if paused else self.clock.seconds())
            self._plan(record, life)

    def _end(self, uuid: bytes) -> None:
        life = self.lives.pop(uuid, None)
        if life is not None:
            life.stop_timers()

    def _pause(self, life: Life) -> None:
        life.uptime = life.age(self.clock.seconds())
        life.since = None
        life.stop_timers()

    def _plan(self, record: DomainRecord, life: Life) -> None:
        """Set the timers of what is still to come; while a guest is paused there is nothing."""
        life.stop_timers()
        if life.since is None:
            return
        profile, age = life.profile, life.age(self.clock.seconds())
        if life.leaving:
            self._after(profile.shutdown, record, life, self._left)
        for when, what in (
            (profile.agent, self._agent_came),
            (profile.panic, self._panicked),
            (profile.reboot, self._rebooted),
        ):
            if when is not None and when >= age:
                self._after(when - age, record, life, what)

    def _after(
        self, delay: float, record: DomainRecord, life: Life, what: Callable[[DomainRecord, Life], None]
    ) -> None:
        def happen() -> None:
            if self.lives.get(record.uuid) is life:
                what(record, life)

        life.timers.append(self.clock.call_later(delay, happen))

    def _agent_came(self, record: DomainRecord, life: Life) -> None:
        self._tell_agent(record, c.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED)

    def _panicked(self, record: DomainRecord, life: Life) -> None:
        self._panic(record)

    def _rebooted(self, record: DomainRecord, life: Life) -> None:
        """Begin anew, as a guest does that reboots: the domain runs on."""
        now = self.clock.seconds()
        if life.agent(now):
            self._tell_agent(record, c.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED)
        fresh = Life(life.profile, now)
        fresh.before, fresh.cpu_before = life.working(now), life.cpu_seconds(now)
        life.stop_timers()
        self.lives[record.uuid] = fresh
        self._plan(record, fresh)
        self._publish(record, c.VIR_DOMAIN_EVENT_ID_REBOOT, DomainEventRebootMsg(record.ref))

    def _left(self, record: DomainRecord, life: Life) -> None:
        """Do what a guest was asked to do, and has had its time for."""
        if life.leaving == "reboot":
            self._rebooted(record, life)
            return
        state, reason = POWER_ACTIONS.get(record.live.on_poweroff, POWER_ACTIONS["destroy"])
        if state == c.VIR_DOMAIN_SHUTOFF:
            self.world.stop_and_tell(record, reason, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
        else:
            self._rebooted(record, life)

    def _tell_agent(self, record: DomainRecord, state: int) -> None:
        reason = c.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL
        msg = DomainEventCallbackAgentLifecycleMsg(0, record.ref, state, reason)
        self._publish(record, c.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, msg)

    def _publish(self, record: DomainRecord, id: int, msg: Any) -> None:
        self.world.hub.publish(Event("domain", id, record.uuid, msg))

    # -- what guests are made to do --------------------------------------------------------------------

    def leave(self, record: DomainRecord, life: Life, how: str) -> None:
        """Ask a guest to shut down (``"off"``) or to reboot (``"reboot"``); it may not hear, or not obey."""
        if life.since is None or life.leaving or not life.profile.acpi or not life.up(self.clock.seconds()):
            return
        life.leaving = how
        if life.profile.shutdown:
            self._after(life.profile.shutdown, record, life, self._left)
        else:
            self._left(record, life)

    def reset(self, record: DomainRecord, life: Life) -> None:
        """Let a guest boot anew at once."""
        self._rebooted(record, life)

    def crash(self, name: str) -> None:
        """Let an active domain end as if its emulator had died; raises WorldError."""
        record = self._active(name)
        self.world.stop_and_tell(record, c.VIR_DOMAIN_SHUTOFF_CRASHED, c.VIR_DOMAIN_EVENT_STOPPED_CRASHED)

    def panic(self, name: str) -> None:
        """Let the system of an active domain panic, and its ``on_crash`` happen; raises WorldError."""
        self._panic(self._active(name))

    def _active(self, name: str) -> DomainRecord:
        record = self.find(name)
        if not record.active:
            raise WorldError(f"domain {name!r} is not active")
        return record

    def _panic(self, record: DomainRecord) -> None:
        world, action = self.world, record.live.model.on_crash
        if action == "preserve":
            world.set_state(record, c.VIR_DOMAIN_CRASHED, c.VIR_DOMAIN_CRASHED_PANICKED)
        life = self.lives.get(record.uuid)
        world.publish(record, c.VIR_DOMAIN_EVENT_CRASHED, c.VIR_DOMAIN_EVENT_CRASHED_PANICKED)
        if action in RESTARTS:
            if life is not None:
                self.lives[record.uuid] = life
                self._rebooted(record, life)
            else:
                self._publish(record, c.VIR_DOMAIN_EVENT_ID_REBOOT, DomainEventRebootMsg(record.ref))
        elif action != "preserve":
            world.stop_and_tell(record, c.VIR_DOMAIN_SHUTOFF_CRASHED, c.VIR_DOMAIN_EVENT_STOPPED_CRASHED)

    # -- keeping lives ---------------------------------------------------------------------------------

    def remember(self) -> dict[bytes, tuple[Any, ...]]:
        """Return what :meth:`recall` needs to bring the lives of this moment back."""
        now = self.clock.seconds()
        return {
            uuid: (
                life.profile,
                life.age(now),
                life.since is None,
                life.before,
                life.cpu_before,
                life.leaving,
            )
            for uuid, life in self.lives.items()
        }

    def recall(self, lives: Mapping[bytes, tuple[Any, ...]]) -> None:
        """Bring lives back, after their world's domains; what each had before it is still to come."""
        for uuid in list(self.lives):
            self._end(uuid)
        for uuid, (profile, age, paused, before, cpu_before, leaving) in lives.items():
            record = self.world.by_uuid.get(uuid)
            if record is not None:
                life = Life(profile, None if paused else self.clock.seconds(), age)
                life.before, life.cpu_before, life.leaving = before, cpu_before, leaving
                self.lives[uuid] = life
                self._plan(record, life)
