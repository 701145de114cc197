"""Which of QEMU's events a client wants."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.events import Event
from remotevirt.server.monitor_events import NOCASE, REGEX, event_filter
from remotevirt.stubs.errors import InvalidArg
from remotevirt.stubs.qemu import DomainMonitorEventMsg
from remotevirt.stubs.remote import NonnullDomain


def event(name: str) -> Event:
    """An event of a domain."""
    ref = NonnullDomain("guest", bytes(16), 1)
    return Event("qemu_monitor", 0, ref.uuid, DomainMonitorEventMsg(0, ref, name, 1, 2, None))


class FilterTests(SynchronousTestCase):
    """event_filter."""

    def wanted(self, pattern: str, flags: int, name: str) -> bool:
        """Whether an event of a name is wanted."""
        found = event_filter(pattern, flags)
        assert found is not None
        return found(event(name))

    def test_names(self) -> None:
        """As they are, in any case, or by a pattern that may be found anywhere."""
        self.assertIsNone(event_filter(None, 0))
        for pattern, flags, name, expected in (
            ("STOP", 0, "STOP", True),
            ("stop", 0, "STOP", False),
            ("STOP", 0, "STOPPED", False),
            ("stop", NOCASE, "STOP", True),
            ("^(STOP|RESUME)$", REGEX, "RESUME", True),
            ("BLOCK_.*_COMPLETED", REGEX, "BLOCK_JOB_COMPLETED", True),
            ("job", REGEX, "BLOCK_JOB_COMPLETED", False),
            ("job", REGEX | NOCASE, "BLOCK_JOB_COMPLETED", True),
            ("A", REGEX, "A" * 65, False),
        ):
            self.assertEqual(expected, self.wanted(pattern, flags, name), (pattern, name))

    def test_refused(self) -> None:
        """Flags that nobody knows, what is no pattern, and what could take for ever."""
        self.assertRaises(InvalidArg, event_filter, "x", 4)
        for pattern in ("[", "(a+)+", "(a|a)*", r"(a)\1", ".*.*.*.*", "(?=a)", "a" * 257):
            error = self.assertRaises(InvalidArg, event_filter, pattern, REGEX)
            self.assertIn("failed to compile regex", str(error))

    def test_time(self) -> None:
        """The worst pattern that is taken is no burden."""
        found = event_filter(".*.*.*x", REGEX)
        assert found is not None
        before = time.process_time()
        self.assertFalse(found(event("A" * 64)))
        self.assertLess(time.process_time() - before, 0.05)
