"""Steps that may have to wait, without a Deferred where they need not.

A generator yields what a driver has returned and is sent what that comes to::

    def steps():
        ref = yield connection.hypervisor.domain_lookup_by_uuid(uuid)
        return ref.name

    run(steps())  # the name, or a coroutine of it if the driver needs time

An ``async def`` could not do that: its result always has to be waited for.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from inspect import iscoroutine
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred

__all__ = ["Steps", "run"]

T = TypeVar("T")

Steps: TypeAlias = Generator[Any, Any, T]
"""A generator that yields values, Deferreds and coroutines, is sent values, and returns a T."""


def run(steps: Steps[T]) -> T | Coroutine[Any, Any, T]:
    """Take steps until one has to wait.

    Returns:
        What the generator returns, or a coroutine of it.
    """
    value: Any = None
    try:
        while True:
            value = steps.send(value)
            if isinstance(value, Deferred) or iscoroutine(value):
                return _later(steps, value)
    except StopIteration as done:
        result: T = done.value
        return result


async def _later(steps: Steps[T], value: Any) -> T:
    """Take the other steps."""
    try:
        while True:
            if isinstance(value, Deferred) or iscoroutine(value):
                try:
                    value = await value
                except Exception as error:
                    value = steps.throw(error)
                    continue
            value = steps.send(value)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        steps.close()
