"""Methods that run in a thread: what asks the kernel about the host may take milliseconds, or more."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

__all__ = ["aside"]

P = ParamSpec("P")
T = TypeVar("T")


def aside(method: Callable[P, T]) -> Callable[P, Deferred[T]]:
    """Make a method run in a thread; it may change nothing that others look at, but for what is kept."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return deferToThread(method, *args, **kwargs)

    return call
