"""Slow guessing is limited: who has failed too often is refused for a while, without being looked at.

Failures are counted for the peer and for the user name::

    failure      1 .. 5       6      7      8     ...   12 and later
    refused for  nothing    1 s    2 s    4 s           60 s

An attempt while refused counts for nothing and says nothing, so that with the right password it fails like
with a wrong one. A quiet window, or a login, clears the count. Guessing one user's password from many peers
would lock that user out: a peer from which the user has logged in before is held to its own failures only.

Memory is bounded: of each kind the entries that are longest unchanged give way. To push an entry out, a
client would have to fail under thousands of names, which its own failures forbid it, or from thousands of
addresses.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import attrs

from remotevirt.auth.interfaces import AuthRefused

__all__ = ["GuessLimiter"]

FREE_FAILURES = 5
"""Failures that cost nothing: people mistype."""

FIRST_BLOCK = 1.0
"""Seconds that a peer or user is refused after one failure more; each further one doubles it."""

LONGEST_BLOCK = 60.0
"""Seconds that it is refused at most: some 1,500 guesses a day."""

WINDOW = 15 * 60.0
"""Seconds without failure after which the earlier ones are forgotten."""

ENTRIES_MAXIMUM = 4096
"""Peers, users, and pairs of them that are remembered, of each; one takes some 300 bytes."""


@attrs.define
class _Failures:
    count: int = 0
    last: float = 0.0

    def blocked_until(self) -> float:
        """The end of the block."""
        over = self.count - FREE_FAILURES
        if over <= 0:
            return 0.0
        return self.last + min(LONGEST_BLOCK, FIRST_BLOCK * 2.0 ** min(over - 1, 30))


class _Book:
    """Failures by key, the longest unchanged first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, now: float) -> _Failures | None:
        entry = self._entries.get(key)
        if entry is not None and now - entry.last > WINDOW:
            del self._entries[key]
            return None
        return entry

    def add(self, key: str, now: float) -> None:
        entry = self.get(key, now) or _Failures()
        entry.count += 1
        entry.last = now
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > ENTRIES_MAXIMUM:
            self._entries.popitem(last=False)

    def clear(self, key: str) -> None:
        self._entries.pop(key, None)


class GuessLimiter:
    """Counts failures, of one daemon.

    Args:
        clock: an IReactorTime.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._peers = _Book()
        self._users = _Book()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def check(self, peer: str, username: str) -> None:
        """Say whether an attempt may be looked at.

        Args:
            peer: whom limits count by (:attr:`remotevirt.identity.Identity.peer`).
            username: prepared with SASLprep.

        Raises:
            AuthRefused: not now.
        """
        now = self._clock.seconds()
        entries = [("peer", peer, self._peers)]
        if (peer, username) not in self._known:
            entries.append(("user", username, self._users))
        for what, key, book in entries:
            entry = book.get(key, now)
            if entry is not None and entry.blocked_until() > now:
                wait = entry.blocked_until() - now
                raise AuthRefused(f"{what} {key!r} has failed {entry.count} times: refused for {wait:.0f} s")

    def failed(self, peer: str, username: str) -> None:
        """Count a failure."""
        now = self._clock.seconds()
        self._peers.add(peer, now)
        self._users.add(username, now)

    def succeeded(self, peer: str, username: str) -> None:
        """Forget the failures; remember where the user comes from."""
        self._peers.clear(peer)
        self._users.clear(username)
        self._known[(peer, username)] = None
        self._known.move_to_end((peer, username))
        if len(self._known) > ENTRIES_MAXIMUM:
            self._known.popitem(last=False)

    def __len__(self) -> int:
        """The entries kept."""
        return len(self._peers) + len(self._users) + len(self._known)
