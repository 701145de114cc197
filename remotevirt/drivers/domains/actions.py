"""What a guest's power-off, reboot or crash leads to: setting ``on_poweroff`` and its likes."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InvalidArg
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["LifecycleActionCalls"]

LIFECYCLES: Final = ("poweroff", "reboot", "crash")
"""The words of virDomainLifecycle, by number."""

ACTIONS: Final = ("destroy", "restart", "rename-restart", "preserve", "coredump-destroy", "coredump-restart")
"""The words of virDomainLifecycleAction, by number."""


class LifecycleActionCalls(DomainCalls):
    """virDomainSetLifecycleAction."""

    def domain_set_lifecycle_action(self, dom: NonnullDomain, type: int, action: int, flags: int) -> None:
        """Set what happens when the guest powers off, reboots or crashes.

        Args:
            dom: the domain.
            type: of virDomainLifecycle.
            action: of virDomainLifecycleAction; only a crash can leave a dump.
            flags: virDomainModificationImpact; both definitions at once are possible.
        """
        event, word = self._action(type, action, flags)
        for definition in self.definitions(self.record(dom), flags):
            if definition is not None:
                definition.set_action(event, word)

    def _action(self, type: int, action: int, flags: int) -> tuple[str, str]:
        """Return the words of a call's arguments; raises VirError."""
        if type >= len(LIFECYCLES):
            raise InvalidArg(f"invalid lifecycle type '{type}'", domain=c.VIR_FROM_DOMAIN)
        if action >= len(ACTIONS):
            raise InvalidArg(f"invalid lifecycle action '{action}'", domain=c.VIR_FROM_DOMAIN)
        self.check_flags(flags, IMPACT, "DomainSetLifecycleAction")
        event, word = LIFECYCLES[type], ACTIONS[action]
        if type != c.VIR_DOMAIN_LIFECYCLE_CRASH and word.startswith("coredump"):
            text = f"Lifecycle event '{event}' doesn't support '{word}' action"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_DOMAIN)
        return event, word
