"""Definitions that come with a start: of new, transient domains, or for once of a persistent one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.starting import take_back

__all__ = ["TakingIn"]


class TakingIn(QemuCalls):
    """The base of calls that start what a document describes."""

    @asynccontextmanager
    async def taken_in(self, definition: Definition, name: str) -> AsyncIterator[QemuRecord]:
        """Take in a definition, with the turn at its domain, which starts during the block.

        If it does not, a transient domain is forgotten, and a persistent one has its own definition back.

        Args:
            definition: its UUID says which domain is meant.
            name: the procedure in libvirt's words; see :meth:`QemuCalls.turn`.

        Raises:
            VirError: it belongs to another domain, or to one that runs; or the turn did not come.
        """
        known = cast(QemuRecord | None, self.world.by_uuid.get(definition.uuid))
        record = known or self._take_in(definition)
        async with self.turn(record, name):
            try:
                if known is not None:
                    self.still(known)
                    self._take_in(definition)
                yield record
            except BaseException:
                take_back(self.world, record)
                raise

    def _take_in(self, definition: Definition) -> QemuRecord:
        return cast(QemuRecord, self.world.commit(lambda: self.world.assign(definition, live=True))[0])
