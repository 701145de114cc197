"""What a QEMU guest's power-off, reboot or crash leads to: now, from its next start on, or both."""

from __future__ import annotations

from remotevirt.drivers.domains.actions import LifecycleActionCalls
from remotevirt.drivers.qemu.calls import QemuCalls, to_the_end
from remotevirt.drivers.qemu.command import order_for_ends
from remotevirt.drivers.qemu.complete.refusals import check_actions
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["QemuActionCalls"]


class QemuActionCalls(QemuCalls, LifecycleActionCalls):
    """virDomainSetLifecycleAction."""

    @to_the_end
    async def domain_set_lifecycle_action(  # type: ignore[override]
        self, dom: NonnullDomain, type: int, action: int, flags: int
    ) -> None:
        """Set what happens when the guest powers off, reboots or crashes; QEMU is told of it.

        Raises:
            ConfigUnsupported: the driver cannot do that, or not together with what happens otherwise.
        """
        event, word = self._action(type, action, flags)
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainSetLifecycleAction"):
            live, config = self.definitions(record, flags)
            changed = []
            for definition in (live, config):
                if definition is not None:
                    copy = definition.copy()
                    copy.set_action(event, word)
                    check_actions(copy.model)
                    changed.append(copy)
            if live is not None:
                order = order_for_ends(changed[0].model)
                await self.guest(record).execute(order.execute, order.arguments)
                live, config = self.definitions(self.record(dom), flags)

            def change() -> None:
                self.world.touch(record)
                for definition in (live, config):
                    if definition is not None:
                        definition.set_action(event, word)

            self.world.commit(change)
