"""What QEMU's command line for a document would be, for people who want to see it."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.command import Surroundings, build_command, format_command, number_images
from remotevirt.drivers.qemu.complete.aliases import assign_aliases
from remotevirt.drivers.qemu.launching import ELSEWHERE
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg

__all__ = ["NativeCalls"]

FORMAT: Final = "qemu-argv"
"""The only format there is."""


@in_steps
def _parse(kind: type[Definition], xml: str) -> Steps[Definition]:
    """Read a document, in a thread if it is long."""
    definition: Definition = yield Work(len(xml), kind.parse, xml)
    return definition


class NativeCalls(QemuCalls):
    """virConnectDomainXMLToNative; its counterpart is not supported, as in libvirt since 5.5.0."""

    async def connect_domain_xml_to_native(self, nativeFormat: str, domainXml: str, flags: int) -> str:
        """Return the command that would start a guest.

        Nothing is opened, chosen or changed for it: sockets and files that the driver would hand over
        already open are shown by their paths, displays without a port get the first one, and images are
        not looked at for others below.

        Raises:
            InvalidArg: the format is another one.
            VirError: there cannot be such a guest.
        """
        self.check_flags(flags, 0, "ConnectDomainXMLToNative")
        if nativeFormat != FORMAT:
            raise InvalidArg(f"unsupported config type {nativeFormat}", domain=c.VIR_FROM_QEMU)
        parsed: Deferred[Any] = maybeDeferred(_parse, self.world.definitions, domainXml)
        definition = await parsed
        model = definition.changing()
        assign_aliases(model)
        number_images(model)
        emulator = await self.world.emulators.get(model.devices.emulator or "")
        settings = self.world.settings
        surroundings = Surroundings(
            folder=str(settings.folder(definition.uuid)),
            channel_folder=str(settings.channel / definition.uuid.hex()),
            preview=True,
            elsewhere=ELSEWHERE,
        )
        return format_command(build_command(model, emulator, surroundings)).removesuffix("\n")
