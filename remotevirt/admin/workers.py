"""libvirt's workers, which are threads that make calls, and what stands for them here.

Calls are made on the reactor's thread, and none of them may block. Work that would (names are looked up so,
and a driver may defer its own) goes to the reactor's pool of threads, of which there is one for all servers.
Its bounds are what is shown and set::

    minWorkers, maxWorkers    the pool's bounds                     may be set
    nWorkers, freeWorkers     its threads, those without work
    prioWorkers               0: a call that never waits for a thread needs none of its own
    jobQueueDepth             the server's calls that wait for their turn, and work that waits for a thread
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twisted.python.threadpool import ThreadPool

from remotevirt.server import Server
from remotevirt.stubs import admin
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import ArgumentUnsupported, InvalidArg
from remotevirt.stubs.remote import TypedParam
from remotevirt.typed_params import check_params, uint

__all__ = ["WORKERS_MAXIMUM", "get_workers", "set_workers"]

WORKERS_MAXIMUM = 1024
"""Most threads that may be asked for: ``minWorkers`` are started at once, and a slip of the finger should not
take the machine. libvirtd has no bound."""

SETTABLE: Final = {
    vir.VIR_THREADPOOL_WORKERS_MIN: vir.VIR_TYPED_PARAM_UINT,
    vir.VIR_THREADPOOL_WORKERS_MAX: vir.VIR_TYPED_PARAM_UINT,
    vir.VIR_THREADPOOL_WORKERS_PRIORITY: vir.VIR_TYPED_PARAM_UINT,
}


def get_workers(pool: ThreadPool, server: Server) -> list[TypedParam]:
    """Return the bounds of the pool, and how busy it and the server are."""
    waiting = sum(client.waiting for client in server.clients.values())
    return [
        uint(vir.VIR_THREADPOOL_WORKERS_MIN, pool.min),
        uint(vir.VIR_THREADPOOL_WORKERS_MAX, pool.max),
        uint(vir.VIR_THREADPOOL_WORKERS_CURRENT, pool.workers),
        uint(vir.VIR_THREADPOOL_WORKERS_FREE, len(pool.waiters)),
        uint(vir.VIR_THREADPOOL_WORKERS_PRIORITY, 0),
        uint(vir.VIR_THREADPOOL_JOB_QUEUE_DEPTH, waiting + pool.q.qsize()),
    ]


def set_workers(pool: ThreadPool, params: Sequence[admin.TypedParam]) -> None:
    """Change those bounds of the pool that are given.

    Raises:
        VirError: a parameter is unknown, of a wrong type, given twice, at odds with another or too large.
    """
    check_params(params, SETTABLE)
    given = {name: int(value) for name, (_, value) in params}
    least = given.get(vir.VIR_THREADPOOL_WORKERS_MIN, pool.min)
    most = given.get(vir.VIR_THREADPOOL_WORKERS_MAX, pool.max)
    if least > most:
        raise InvalidArg("minWorkers cannot be larger than maxWorkers")
    if most == 0:
        raise InvalidArg("maxWorkers must not be switched from zero to non-zero and vice versa")
    if most > WORKERS_MAXIMUM:
        raise InvalidArg(f"maxWorkers cannot be larger than {WORKERS_MAXIMUM}")
    if given.get(vir.VIR_THREADPOOL_WORKERS_PRIORITY):
        raise ArgumentUnsupported("prioWorkers: no call waits for a worker, so none needs one of its own")
    pool.adjustPoolsize(least, most)
