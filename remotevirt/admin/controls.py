"""What the admin program can do to the daemon beyond its servers and clients: plugged in by who builds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

__all__ = ["Controls", "Logs"]


class Logs(Protocol):
    """The daemon's log settings, as libvirt's strings: parts separated by spaces, none of which holds one."""

    def get_filters(self) -> str:
        """Return the filters, such as ``1:*qemu* 3:*rpc*``; empty without any."""

    def set_filters(self, text: str) -> None:
        """Replace all filters; an empty string leaves none.

        Raises:
            ValueError: one of them is wrong, and nothing has changed; the text is for the client.
        """

    def get_outputs(self) -> str:
        """Return the outputs, such as ``3:stderr``."""

    def set_outputs(self, text: str) -> None:
        """Replace all outputs; an empty string means the default ones again.

        Raises:
            ValueError: one of them is wrong or cannot be opened, and nothing has changed; the text is for the
                client.
        """


@attrs.frozen
class Controls:
    """The parts of the daemon that can be governed. Without one, the calls for it are not supported.

    Attributes:
        logs: the log's settings.
        reload_tls: reads certificates and keys of all TLS listeners again; a
            :class:`~remotevirt.errors.RemotevirtError` says that they are no good and the old ones stay.
        set_timeout: sets after how many seconds without a client the daemon ends; 0: never.
        shutdown: ends the daemon, in order; called once the reply is on its way.
    """

    logs: Logs | None = None
    reload_tls: Callable[[], object] | None = None
    set_timeout: Callable[[int], object] | None = None
    shutdown: Callable[[], object] | None = None
