"""The testing kit: a libvirt that does what a test wants, for programs that use libvirt.

::

    Fake            in this process, on the reactor that runs the test (trial)
    FakeProcess     in a child process, moved by blocking calls (unittest, pytest, any language)

Both have worlds (``test:///NAME``), as many as wanted and isolated from each other. A world has a time that
may be advanced by hand, rules by which things go wrong, guests that take their time, a list of the calls that
it has received, and snapshots to go back to.
"""

from remotevirt.testing.cases import FakeMixin, FakeTestCase
from remotevirt.testing.clock import WorldClock
from remotevirt.testing.description import WorldSpec, load_file, read_spec
from remotevirt.testing.driver import FakeDriver
from remotevirt.testing.fake import Fake
from remotevirt.testing.memory import Disconnected, MemoryClient, NoReply
from remotevirt.testing.process import FakeProcess
from remotevirt.testing.profile import Profile
from remotevirt.testing.recording import Recorded
from remotevirt.testing.remote import RemoteFake, RemoteWorld
from remotevirt.testing.rules import Fault
from remotevirt.testing.values import WorldError
from remotevirt.testing.world import FakeWorld

__all__ = [
    "Disconnected",
    "Fake",
    "FakeDriver",
    "FakeMixin",
    "FakeProcess",
    "FakeTestCase",
    "FakeWorld",
    "Fault",
    "MemoryClient",
    "NoReply",
    "Profile",
    "Recorded",
    "RemoteFake",
    "RemoteWorld",
    "WorldClock",
    "WorldError",
    "WorldSpec",
    "load_file",
    "read_spec",
]
