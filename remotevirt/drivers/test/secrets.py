"""Secrets: libvirt's test driver has none, and says so as soon as the arguments are in order."""

from __future__ import annotations

from remotevirt.drivers.faults import argument_must
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import SecretDriver
from remotevirt.stubs.errors import NoSupport
from remotevirt.stubs.remote import NonnullSecret

__all__ = ["TestSecrets"]


class TestSecrets(SecretDriver):
    """Refuses everything."""

    def secret_set_value(self, secret: NonnullSecret, value: bytes, flags: int) -> None:
        """Refuse a value, an empty one in other words."""
        function = "virSecretSetValue"
        if not value:
            raise argument_must(function, "value", "not be NULL", c.VIR_FROM_SECRET)
        raise NoSupport(function, domain=c.VIR_FROM_SECRET)
