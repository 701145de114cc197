"""Telling drivers when the daemon starts and ends, where they want to know.

A driver may have the methods ``start()`` and ``stop()``. ``start`` is called once, in the process that will
serve (after it went into the background and gave up its privileges), before the first client; ``stop`` when
the last client's calls have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

__all__ = ["DriverService"]

log = Logger()


class DriverService(Service):
    """The drivers of a daemon as a part of it."""

    def __init__(self, drivers: Sequence[Any]) -> None:
        self.drivers = tuple(drivers)

    def startService(self) -> None:
        """Start the drivers that can be started; an error is logged, and the others are served."""
        super().startService()  # type: ignore[no-untyped-call]
        self._tell("start")

    def finish(self) -> None:
        """Stop the drivers, when nobody calls them any more."""
        self._tell("stop")

    def _tell(self, what: str) -> None:
        for driver in self.drivers:
            method = getattr(driver, what, None)
            if method is None:
                continue
            try:
                method()
            except Exception:
                log.failure("driver {name} does not {what}", name=driver.name, what=what)
