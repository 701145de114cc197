"""The control API's client: a fake libvirt in another process, moved by blocking calls.

It needs nothing but the standard library. A world's methods are those of
:class:`remotevirt.testing.world.FakeWorld`; calls and rules come as dictionaries.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, Final
from urllib.parse import quote, urlsplit

from remotevirt.testing.values import WorldError

__all__ = ["RemoteFake", "RemoteWorld"]

TIMEOUT: Final = 60.0
"""Seconds that an answer may take: a day in the life of many guests takes some."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


class RemoteFake:
    """A fake libvirt, by its control API.

    Args:
        control: where that is: ``http://127.0.0.1:PORT`` or ``unix:PATH``.
        uri: of its world ``default``, for :meth:`RemoteWorld.uri`.
    """

    def __init__(self, control: str, uri: str = "") -> None:
        self.control = control
        self._uri = uri

    def uri(self, world: str = "default") -> str:
        """Return the URI by which a libvirt client reaches a world."""
        return self._uri.replace("/default", f"/{quote(world)}", 1)

    def world(self, name: str = "default") -> RemoteWorld:
        """Return a world; it is made when something is done to it, or a client opens it."""
        return RemoteWorld(self, name)

    def worlds(self) -> list[str]:
        """Return the names of all worlds."""
        found: list[str] = self.request("GET", "/worlds")
        return found

    def make_world(self, name: str, content: dict[str, Any] | None = None) -> RemoteWorld:
        """Make a world anew, of a description or of what new worlds hold."""
        self.request("PUT", f"/worlds/{quote(name)}", content or {})
        return self.world(name)

    def forget_world(self, name: str) -> None:
        """Forget a world."""
        self.request("DELETE", f"/worlds/{quote(name)}")

    def request(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        """Make one request; return its result.

        Raises:
            WorldError: the fake refused.
            OSError: it cannot be reached.
        """
        kind, _, place = self.control.partition(":")
        if kind == "unix":
            connection: http.client.HTTPConnection = _UnixConnection(place)
        else:
            connection = http.client.HTTPConnection(urlsplit(self.control).netloc, timeout=TIMEOUT)
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise WorldError(answer["error"])
        return answer["result"]


class RemoteWorld:
    """A world of a fake libvirt in another process.

    Args:
        fake: where it is.
        name: as in its URI.
    """

    def __init__(self, fake: RemoteFake, name: str) -> None:
        self.fake = fake
        self.name = name

    def __repr__(self) -> str:
        return f"<RemoteWorld {self.name}>"

    @property
    def uri(self) -> str:
        """The URI by which a libvirt client reaches it."""
        return self.fake.uri(self.name)

    def _do(self, verb: str, **arguments: Any) -> Any:
        return self.fake.request("POST", f"/worlds/{quote(self.name)}/{verb}", arguments)

    def advance(self, seconds: float) -> float:
        """Move a manual clock on; return the seconds since the world began."""
        return float(self._do("advance", seconds=seconds))

    def time(self) -> float:
        """Return the seconds since the world began."""
        return float(self._do("time"))

    def fault(self, **rule: Any) -> str:
        """Put a rule in force (the fields of :class:`~remotevirt.testing.rules.Fault`); return its name."""
        return str(self._do("fault", **rule))

    def faults(self) -> list[dict[str, Any]]:
        """Return the rules in force, each with how often it was asked (``seen``) and counted (``done``)."""
        found: list[dict[str, Any]] = self._do("faults")
        return found

    def heal(self, name: str | None = None) -> None:
        """Take away one rule, or all."""
        self._do("heal", name=name)

    def calls(
        self, procedure: str = "*", object: str = "*", client: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the calls that clients have made, oldest first, of procedures and objects by pattern."""
        found: list[dict[str, Any]] = self._do("calls", procedure=procedure, object=object, client=client)
        return found

    def forget_calls(self) -> None:
        """Begin a new list of calls."""
        self._do("forget_calls")

    def snapshot(self, name: str = "snapshot") -> None:
        """Remember everything in the world."""
        self._do("snapshot", name=name)

    def restore(self, name: str = "snapshot") -> None:
        """Bring back what a snapshot remembers."""
        self._do("restore", name=name)

    def reset(self) -> None:
        """Make the world what it was at first."""
        self._do("reset")

    def behave(self, domain: str, **profile: Any) -> None:
        """Give domains a profile; without fields they behave as libvirt's test driver's."""
        self._do("behave", domain=domain, **profile)

    def crash(self, domain: str) -> None:
        """Let an active domain end as if its emulator had died."""
        self._do("crash", domain=domain)

    def panic(self, domain: str) -> None:
        """Let the system in an active domain panic."""
        self._do("panic", domain=domain)

    def exhaust(self, pool: str, free: int = 0) -> None:
        """Leave a pool so many free bytes."""
        self._do("exhaust", pool=pool, free=free)

    def domains(self) -> dict[str, dict[str, Any]]:
        """Return all domains by name, and how they are."""
        found: dict[str, dict[str, Any]] = self._do("domains")
        return found
