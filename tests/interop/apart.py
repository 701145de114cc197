"""remotevirt with its QEMU driver in namespaces of its own, which outlive it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.interop.peers import Output, run
from tests.interop.qemu_session import RemotevirtQemu
from tests.interop.spaces import Space

__all__ = ["RemotevirtApart"]


class RemotevirtApart(RemotevirtQemu):
    """The daemon; whoever starts it says before in which :class:`Space`."""

    space: Space

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        command, environment = super()._command()
        return [*self.space.enter(), *command], environment

    def inside(self, *words: str) -> Output:
        """Run a program where the daemon is."""
        return run([*self.space.enter(), *words])

    def stop(self) -> int | None:
        """End guests, daemon and namespaces."""
        status = super().stop()
        self.space.close()
        return status
