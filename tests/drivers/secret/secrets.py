"""What the tests of secrets share."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.events import Event, EventHub
from remotevirt.drivers.secret import RealSecrets
from remotevirt.errors import VirError
from remotevirt.stubs.remote import NonnullSecret

UUID = "11111111-2222-3333-4444-5555555555{:02}"
PLACES = {"volume": "volume", "iscsi": "target"}


def secret_xml(
    number: int | None = 1,
    usage: str | None = "volume",
    name: str = "/a",
    *,
    ephemeral: str = "no",
    private: str = "no",
    description: str = "",
) -> str:
    """Return the document of a secret."""
    uuid = "" if number is None else f"<uuid>{UUID.format(number)}</uuid>"
    place = PLACES.get(usage or "", "name")
    what = "" if usage is None else f"<usage type='{usage}'><{place}>{name}</{place}></usage>"
    words = f"<description>{description}</description>" if description else ""
    return f"<secret ephemeral='{ephemeral}' private='{private}'>{uuid}{words}{what}</secret>"


class SecretsCase(TestCase):
    """A test with a folder for what lasts, and secrets in it."""

    def setUp(self) -> None:
        self.state = os.path.abspath(self.mktemp())
        os.mkdir(self.state)
        self.environment: dict[str, str] = {}
        self.seen: list[Event] = []
        self.secrets: Any = self.open()

    def open(self) -> Any:
        """Open the secrets; a daemon that had them open before has ended."""
        hub = EventHub()
        hub.listen(self.seen.append)
        opened = RealSecrets.open(self.state, hub, self.environment)
        self.addCleanup(opened.close)
        return opened

    def again(self) -> Any:
        """Start the daemon anew."""
        self.secrets.close()
        self.secrets = self.open()
        return self.secrets

    def define(self, *args: Any, **kwargs: Any) -> NonnullSecret:
        """Define a secret; see :func:`secret_xml`."""
        found: NonnullSecret = self.secrets.secret_define_xml(secret_xml(*args, **kwargs), 0)
        return found

    def refusal(self, call: Any, *arguments: Any) -> tuple[int, int, str]:
        """Return code, domain and text of the error that a call ends in."""
        error = self.assertRaises(VirError, call, *arguments)
        return error.code, error.domain, error.message

    def take_events(self) -> list[tuple[Any, ...]]:
        """Return the events since the last call: number, the last byte of the UUID, the rest."""
        taken, self.seen[:] = list(self.seen), []
        for event in taken:
            self.assertEqual(("secret", event.key), (event.kind, event.msg[1].uuid))
        return [(event.id, event.msg[1].uuid[-1], *event.msg[2:]) for event in taken]
