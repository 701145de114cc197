"""Public names: what ``__all__`` promises exists, and what the packages promise does not change unnoticed."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import TestCase

import remotevirt

EXPORTS = {
    "remotevirt.admin": {"ADMIN_SERVER", "AdminSession", "Controls", "Logs", "admin_server"},
    "remotevirt.auth": {
        "DEFAULT_MECHANISMS",
        "MECHANISM_NAMES",
        "TCP_MIN_SSF",
        "AuthRefused",
        "GuessLimiter",
        "IPrincipal",
        "IScramKeys",
        "IScramProof",
        "IUser",
        "Kerberos",
        "LayerError",
        "PrincipalChecker",
        "SaslExchange",
        "SaslService",
        "ScramKeys",
        "SecurityLayer",
        "User",
        "UserRealm",
        "UsersChecker",
        "UsersError",
        "UsersFile",
        "decoy_keys",
        "make_keys",
        "users_portal",
    },
    "remotevirt.drivers": {
        "ClientInfo",
        "DriverConnection",
        "DriverRegistry",
        "DriverService",
        "DriverStream",
        "DriverURI",
        "Event",
        "EventHub",
        "FilesResult",
        "Hole",
        "IDriver",
        "RawReply",
        "StreamResult",
        "load_driver",
    },
    "remotevirt.store": {
        "CHECKPOINT_BYTES",
        "KINDS",
        "VERSION",
        "DeviceRow",
        "DomainRow",
        "GuestRow",
        "InterfaceRow",
        "MomentRow",
        "NetworkRow",
        "OwnerRow",
        "PoolRow",
        "Row",
        "SecretRow",
        "Store",
        "StoreBusy",
        "StoreError",
        "VolumeRow",
    },
    "remotevirt.errors": {
        "LocalProtocolError",
        "RemoteProtocolError",
        "RemotevirtError",
        "VirError",
        "XDRError",
    },
    "remotevirt.observe": {
        "AuditTracer",
        "LiveTracer",
        "LogTracer",
        "open_sink",
    },
    "remotevirt.policy": {
        "Decision",
        "Policy",
        "PolicyError",
        "PolicyStore",
        "Rights",
        "Thing",
        "Watcher",
        "access_denied",
        "enforce",
        "load_policy",
        "parse_policy",
    },
    "remotevirt.server": {
        "Call",
        "Daemon",
        "Dispatcher",
        "Limits",
        "Server",
        "ServerFactory",
        "ServerProtocol",
        "Tracer",
    },
    "remotevirt.tap": {"DRAIN_TIMEOUT", "Options", "makeService"},
    "remotevirt.testing": {
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
    },
    "remotevirt.transport": {
        "Announcer",
        "Credentials",
        "Description",
        "DescriptionError",
        "LibvirtTLSEndpoint",
        "Listener",
        "ListeningService",
        "PKIError",
        "StartupError",
        "TLSSettings",
        "UnixEndpoint",
        "gnutls_dn",
        "identify",
        "parse_listener",
        "peer_dn",
    },
}
"""The names that other people's code may use. Taking one away is a change for the news."""


def all_modules() -> list[ModuleType]:
    """Every module of the package, imported."""
    found = pkgutil.walk_packages(remotevirt.__path__, "remotevirt.")
    return [importlib.import_module(info.name) for info in found if not info.name.endswith("__main__")]


class ExportsTests(TestCase):
    """``__all__``."""

    def test_pinned(self) -> None:
        for name, names in EXPORTS.items():
            module = importlib.import_module(name)
            self.assertEqual(sorted(names), sorted(module.__all__), name)

    def test_everything_promised_is_there(self) -> None:
        missing = [
            f"{module.__name__}.{name}"
            for module in all_modules()
            for name in getattr(module, "__all__", ())
            if not hasattr(module, name)
        ]
        self.assertEqual([], missing)

    def test_nothing_is_promised_twice(self) -> None:
        for module in all_modules():
            names = list(getattr(module, "__all__", ()))
            self.assertEqual(sorted(set(names)), sorted(names), module.__name__)

    def test_typed(self) -> None:
        """The marker that tells type checkers to believe our annotations."""
        (folder,) = remotevirt.__path__
        self.assertTrue((Path(folder) / "py.typed").is_file())

    def test_version(self) -> None:
        self.assertRegex(remotevirt.__version__, r"^\d+\.\d+\.\d+$")
