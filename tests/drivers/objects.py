"""What the tests of networks, pools, interfaces and devices share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.events import Event
from remotevirt.errors import VirError
from tests.drivers.driving import connect
from tests.drivers.record_documents import DOCUMENTS


class ObjectsCase(TestCase):
    """A connection to a default world, and what it publishes."""

    def setUp(self) -> None:
        self.connection: Any = connect()
        self.seen: list[Event] = []
        assert self.connection.events is not None
        self.connection.events.listen(self.seen.append)

    def refusal(self, call: Any, *arguments: Any) -> tuple[int, int, str]:
        """Return code, domain and text of the error that a call ends in."""
        error = self.assertRaises(VirError, call, *arguments)
        return error.code, error.domain, error.message

    def assert_refused(self, call: Any, *arguments: Any, code: int, message: str) -> None:
        """Check code and text of a call's error."""
        found = self.refusal(call, *arguments)
        self.assertEqual((found[0], found[2]), (code, message))

    def take_events(self) -> list[tuple[Any, ...]]:
        """Return the events since the last call: kind, number, name, and what the message says besides."""
        taken, self.seen[:] = list(self.seen), []
        plain = []
        for event in taken:
            fields: Any = event.msg
            _, ref, *rest = fields
            self.assertEqual(event.key, getattr(ref, "uuid", ref.name))
            plain.append((event.kind, event.id, ref.name, *rest))
        return plain

    def check_documents(self, kind: str, define: Callable[[str], Any], show: Any, forget: Any) -> None:
        """Give every document of a kind that libvirtd was given, and compare the answers."""
        differing = []
        pairs = json.loads(DOCUMENTS.read_text())[kind]
        self.assertGreater(len(pairs), 25)
        for text, expected in pairs:
            try:
                ref = define(text)
            except VirError as error:
                found: Any = [error.code, error.domain, error.message]
            else:
                found = show(ref)
                forget(ref)
            if found != expected and text not in BETTER:
                differing.append(f"{text}\n  libvirtd: {expected}\n  ours:     {found}")
        self.assertEqual("\n".join(differing), "")


BETTER: frozenset[str] = frozenset()
"""Documents that are answered otherwise on purpose."""
