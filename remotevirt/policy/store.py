"""The policy in force, and how it is replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

from remotevirt.policy.engine import Policy
from remotevirt.policy.file import load_policy

__all__ = ["PolicyStore"]


class PolicyStore:
    """Holds the policy of a file. A new file that is broken leaves the old policy in force.

    Args:
        path: the file.

    Attributes:
        current: the policy in force.

    Raises:
        PolicyError: the file cannot be used. There is no policy to go on with, so the daemon must not start.
    """

    log = Logger()

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.current: Policy = load_policy(path)
        self._listeners: dict[object, Callable[[Policy], None]] = {}

    def listen(self, listener: Callable[[Policy], None]) -> Callable[[], None]:
        """Call ``listener`` with every new policy from now on; return what ends that (idempotent)."""
        token = object()
        self._listeners[token] = listener
        return lambda: self._listeners.pop(token, None) and None

    def reload(self) -> None:
        """Read the file again, and tell those who listen.

        Raises:
            PolicyError: it is broken: why. The policy that was in force still is.
        """
        policy = load_policy(self.path)
        self.current = policy
        self.log.info("policy {path} is in force: {count} rules", path=self.path, count=len(policy.rules))
        for listener in tuple(self._listeners.values()):
            try:
                listener(policy)
            except Exception:
                self.log.failure("a client could not be told of the new policy")
