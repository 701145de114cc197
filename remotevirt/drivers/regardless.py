"""Work that comes to its end whether anybody waits for it or not."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["regardless"]

T = TypeVar("T")

log = Logger()


def regardless(work: Deferred[T]) -> Deferred[T]:
    """Return what fires as work does that goes on also when nobody waits for it any more."""
    waiter: Deferred[T] = Deferred()

    def done(result: T) -> None:
        if not waiter.called:
            waiter.callback(result)

    def failed(failure: Failure) -> None:
        if waiter.called:
            log.error("what nobody waits for has failed: {error}", error=failure.value)
        else:
            waiter.errback(failure)

    work.addCallbacks(done, failed)
    return waiter
