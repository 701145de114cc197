"""The page about security says what is so."""

from __future__ import annotations

import importlib
import re
from inspect import getmembers, isclass
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import disk_threads, documents
from remotevirt.drivers.qemu import jobs, logs, monitor, qmp
from remotevirt.drivers.qemu import settings as guests
from remotevirt.drivers.storage import aside
from remotevirt.rpc import framing, message
from remotevirt.server import limits
from remotevirt.transport import settings
from remotevirt.xml import parse
from remotevirt.xml.domain import backing, document
from tests.daemons import ROOT

HOLDERS: tuple[ModuleType, ...] = (
    limits,
    framing,
    message,
    parse,
    document,
    backing,
    documents,
    disk_threads,
    monitor,
    qmp,
    settings,
    jobs,
    logs,
    guests,
    aside,
)
"""Where the bounds are."""


class PageTests(SynchronousTestCase):
    """What ``docs/security.rst`` names is there."""

    def setUp(self) -> None:
        page = (ROOT / "docs" / "security.rst").read_text()
        self.names = re.findall(r"``([\w.]+)``", page.partition("Under attack")[2])

    def test_tests(self) -> None:
        """Every test that is named exists."""
        tests = [name for name in self.names if ".test_" in name]
        self.assertGreater(len(tests), 40)
        for name in tests:
            module, case, method = f"tests.{name}".rsplit(".", 2)
            cases = dict(getmembers(importlib.import_module(module), isclass))
            self.assertTrue(callable(getattr(cases[case], method, None)), name)

    def test_bounds(self) -> None:
        """Every bound that is named exists."""
        options = {field.name for field in limits.Limits.__attrs_attrs__}
        bounds = [name for name in self.names if name.isupper() or name.startswith("max_")]
        self.assertGreater(len(bounds), 20)
        for name in bounds:
            self.assertTrue(name in options or any(hasattr(holder, name) for holder in HOLDERS), name)
