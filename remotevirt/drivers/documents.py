"""Documents, read and written where that holds nobody up.

Working through a document is the only thing a call does whose time the client decides: a few hundred
microseconds for an ordinary guest, seconds for something with tens of thousands of elements. A method that
has such work is written as a generator, which yields it and goes on with what came of it::

    @in_steps
    def network_define_xml(self, xml):
        model = yield Work(len(xml), parse_network, xml)
        return self.networks.assign(model).ref

On a short document the work is done at once, and the method returns its result. On a long one it is done in
a thread, and the method returns a Deferred; the reactor serves other calls meanwhile, the same client's too.
So what a method has looked up before it yields may have changed when it goes on: look up again. And what is
done in a thread must change nothing, and look at nothing that others change.

Where calls change things that last, each stretch between two works is run by the journal, as a call of its
own (:func:`within`): what was changed before a work is kept while the work is done.

One such work is done at a time. More at once would take no less time together, for the interpreter runs one
thread at a time, and would leave less of it to the reactor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar, cast

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThread

__all__ = ["LARGE", "Steps", "Work", "in_steps", "within"]

LARGE: Final = 32 * 1024
"""Characters of a document from which on work on it is done in a thread. The costliest of this size takes
some 20 ms, as long as two turns of a client; a guest with a hundred devices has about as many."""

P = ParamSpec("P")
T = TypeVar("T")

_turns = DeferredSemaphore(1)


class Work:
    """Something to do with a document.

    Args:
        size: characters of the document; they decide where it is done.
        do: called with the other arguments, in a thread if the document is long.
        args, kwargs: its arguments.
    """

    __slots__ = ("do", "size")

    def __init__(self, size: int, do: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.size = size
        self.do = functools.partial(do, *args, **kwargs)


Steps: TypeAlias = Generator[Work, Any, T]
"""What a method written so returns, before it is decorated."""


Turn: TypeAlias = Callable[..., Any]
"""Calls its first argument with the others: it may do something before and after."""


def in_steps(method: Callable[P, Steps[T]]) -> Callable[P, T | Deferred[T]]:
    """Make a method of one that yields its work; see the module's text."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T | Deferred[T]:
        return begin(_at_once, *args, **kwargs)

    def begin(turn: Turn, *args: P.args, **kwargs: P.kwargs) -> T | Deferred[T]:
        steps = method(*args, **kwargs)
        return _run(turn, steps, steps.__next__)

    setattr(call, BEGIN, begin)
    return call


BEGIN: Final = "begin_in_turn"
"""Where a method that was decorated keeps the function that runs it in somebody's turns."""


def within(turn: Turn, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a bound method all of whose stretches are run by ``turn``; of an ordinary one there is one."""
    begin = getattr(method, BEGIN, None)
    if begin is None:
        return functools.partial(turn, method)
    return functools.partial(begin, turn, cast(Any, method).__self__)


def _at_once(do: Callable[..., Any], *args: Any) -> Any:
    """Do something, and nothing around it."""
    return do(*args)


def _run(turn: Turn, steps: Steps[T], advance: Callable[[], Work]) -> T | Deferred[T]:
    """Run a method until it ends, or has work for a thread.

    Args:
        turn: runs each stretch.
        steps: the method.
        advance: makes it go on, and returns its next work.
    """
    ended, found = turn(_stretch, steps, advance)
    if ended:
        result: T = found
        return result
    return _do_aside(found).addCallbacks(
        lambda value: _run(turn, steps, lambda: steps.send(value)),
        lambda failure: _run(turn, steps, lambda: steps.throw(failure.value)),
    )


def _stretch(steps: Steps[Any], advance: Callable[[], Work]) -> tuple[bool, Any]:
    """Run a method until it ends, or has work for a thread; returns which, and its result or the work."""
    try:
        work = advance()
        while work.size < LARGE:
            try:
                value = work.do()
            except Exception as error:
                work = steps.throw(error)
            else:
                work = steps.send(value)
    except StopIteration as end:
        return True, end.value
    return False, work


def _do_aside(work: Work) -> Deferred[Any]:
    """Do work in a thread, when it is its turn, unless nobody waits for it any more."""
    answer: Deferred[Any] = Deferred()

    def start() -> Deferred[Any] | None:
        return None if answer.called else deferToThread(work.do)

    def deliver(result: Any) -> None:
        if not answer.called:
            answer.callback(result)

    _turns.run(start).addBoth(deliver)
    return answer
