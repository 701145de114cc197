"""Fixtures for pytest, which finds them where remotevirt is installed.

``libvirt_fake``
    A fake libvirt in a child process, a :class:`~remotevirt.testing.process.FakeProcess` for the session.
    ``pytest --libvirt-world FILE`` and ``--libvirt-clock manual`` say what it is like.
``libvirt_world``
    A world of the test's own in it (:class:`~remotevirt.testing.remote.RemoteWorld`); its ``uri`` reaches it.

pytest imports this in every run, used or not; so it stands apart from the kit, which takes time to import.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from remotevirt.testing.process import FakeProcess
    from remotevirt.testing.remote import RemoteWorld

__all__ = ["libvirt_fake", "libvirt_world", "pytest_addoption"]


def pytest_addoption(parser: Any) -> None:
    """Add our options."""
    group = parser.getgroup("libvirt", "a fake libvirt (remotevirt)")
    group.addoption("--libvirt-world", metavar="FILE", help="what the worlds of the fake libvirt hold")
    group.addoption(
        "--libvirt-clock",
        choices=("auto", "manual"),
        default="manual",
        help="whether their time passes by itself (default: manual)",
    )


@pytest.fixture(scope="session")
def libvirt_fake(request: Any) -> Iterator[FakeProcess]:
    """A fake libvirt in a child process."""
    from remotevirt.testing.process import FakeProcess  # noqa: PLC0415 - only those who use it pay for it

    options = request.config
    with FakeProcess(
        options.getoption("--libvirt-world"), clock=options.getoption("--libvirt-clock")
    ) as fake:
        yield fake


@pytest.fixture
def libvirt_world(request: Any, libvirt_fake: FakeProcess) -> Iterator[RemoteWorld]:
    """A world of the test's own."""
    from remotevirt.testing.cases import world_name  # noqa: PLC0415

    name = world_name(request.node.nodeid)
    yield libvirt_fake.make_world(name)
    libvirt_fake.forget_world(name)
