"""Methods that run in a thread: what asks the kernel about the host may take milliseconds, or more.

Threads are shared with the rest of the daemon. So few of these methods run at once: a device that does not
answer the kernel holds up only those who ask about the host. Others wait for their turn, and those whose
client has gone are not begun.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThread

__all__ = ["aside"]

AT_ONCE: Final = 4
"""Methods that run at once; Twisted has ten threads for all purposes."""

P = ParamSpec("P")
T = TypeVar("T")

_turns = DeferredSemaphore(AT_ONCE)


def aside(method: Callable[P, T]) -> Callable[P, Deferred[T]]:
    """Make a method run in a thread; it may change nothing that others look at, but for what is kept."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        answer: Deferred[T] = Deferred()

        def start() -> Deferred[T] | None:
            return None if answer.called else deferToThread(method, *args, **kwargs)

        def deliver(result: Any) -> None:
            if not answer.called:
                answer.callback(result)

        _turns.run(start).addBoth(deliver)
        return answer

    return call
