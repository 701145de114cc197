"""IO threads and the main loop, and the pools of workers that they have."""

from __future__ import annotations

from typing import Any

from remotevirt.drivers.qemu.command.parts import Part
from remotevirt.drivers.qemu.command.setting import Setting, unsupported
from remotevirt.xml.domain.cpu_tuning import DefaultIoThread, IoThread

__all__ = ["iothread_parts"]


def iothread_parts(setting: Setting) -> list[Part]:
    """Return the IO threads and, if it has a pool whose size is given, the main loop. Raises VirError."""
    model = setting.model
    named = model.iothread_ids.threads if model.iothread_ids is not None else []
    pools = {thread.id: _pool(setting, thread) for thread in named}
    parts = [
        Part("object", {"qom-type": "iothread", "id": f"iothread{number}", **pools.get(number, {})})
        for number in setting.iothreads
    ]
    pool = {} if model.default_iothread is None else _pool(setting, model.default_iothread)
    if pool:
        parts.append(Part("object", {"qom-type": "main-loop", "id": "main-loop", **pool}))
    return parts


def _pool(setting: Setting, thread: IoThread | DefaultIoThread) -> dict[str, Any]:
    """Return how many workers a thread has, as far as that is given. Raises VirError."""
    sizes = {"thread-pool-min": thread.pool_min, "thread-pool-max": thread.pool_max}
    given = {name: size for name, size in sizes.items() if size is not None}
    objects = setting.emulator.objects
    if given and objects and "main-loop" not in objects:  # which came with the pools
        raise unsupported("thread_pool_min and thread_pool_max is not supported by this QEMU binary")
    return given
