"""Calling procedures of the test driver with some rights."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import ClientInfo, DriverConnection, DriverURI
from remotevirt.drivers.test.driver import TestDriver
from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.policy import Rights, enforce, parse_policy
from remotevirt.policy.permissions import PROGRAMS
from remotevirt.stubs import constants as vir
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["DOMAIN", "METADATA", "TENANT", "Caller", "GuardCase", "allow", "deny", "rights"]

TENANT = "https://example.org/tenant"

DOMAIN = """<domain type='test'><name>{name}</name>{uuid}{metadata}<memory>1024</memory>
<os><type>hvm</type></os></domain>"""

METADATA = "<metadata><t:tenant xmlns:t='https://example.org/tenant' class='gold'>{}</t:tenant></metadata>"


def rights(*rules: str) -> Rights:
    """The rights of somebody whom some rules speak of: ``allow = [...]`` and so on."""
    text = "".join(f'[[rule]]\nwho = "*"\n{rule}\n' for rule in rules)
    return parse_policy(text).for_client(Identity(), "test")


def allow(*permissions: str, **on: Any) -> str:
    """An allowance."""
    return _effect("allow", permissions, on)


def deny(*permissions: str, **on: Any) -> str:
    """A denial."""
    return _effect("deny", permissions, on)


def _effect(effect: str, permissions: tuple[str, ...], on: dict[str, Any]) -> str:
    conditions = ", ".join(
        f"{key} = {value if value[0] == '{' else repr(value)}" for key, value in on.items()
    )
    return f"{effect} = {list(permissions)!r}\n" + (f"on = {{ {conditions} }}" if on else "")


class Caller:
    """Calls procedures of a connection as a client with some rights does.

    Args:
        connection: what it has opened.
        rights: what it has.
    """

    def __init__(self, connection: DriverConnection, rights: Rights) -> None:
        self.connection = connection
        self.rights = rights

    def method(self, name: str) -> Any:
        """What answers a procedure."""
        program = next(program for program in PROGRAMS if name in program.by_name)
        procedure = program.by_name[name]
        assert procedure.driver is not None
        method = getattr(getattr(self.connection, procedure.driver), name)
        return enforce(program, procedure, method, self.rights, self.connection)

    def __call__(self, name: str, *args: Any) -> Any:
        """Call."""
        return self.method(name)(*args)


class GuardCase(SynchronousTestCase):
    """A test with a world of its own, in which there are web-1, web-2 and db-1."""

    def setUp(self) -> None:
        """Make the world."""
        self.connection = TestDriver().open(DriverURI.parse("test:///default"), ClientInfo())
        self.hypervisor = self.connection.hypervisor
        self.refs: dict[str, NonnullDomain] = {}
        for name, tenant in (("web-1", "blue"), ("web-2", "red"), ("db-1", "blue")):
            xml = DOMAIN.format(name=name, uuid="", metadata=METADATA.format(tenant))
            self.refs[name] = self.hypervisor.domain_define_xml(xml)

    def caller(self, *rules: str) -> Caller:
        """Somebody with rights."""
        return Caller(self.connection, rights(*rules))

    def refused(self, permission: str, function: Any, *args: Any, **more: Any) -> None:
        """Call what must be refused for want of a permission."""
        error = self.assertRaises(VirError, function, *args, **more)
        thing, _, what = permission.partition(":")
        self.assertEqual(vir.VIR_ERR_ACCESS_DENIED, error.code, error)
        self.assertEqual(f"access denied: '{thing}' denied '{what}' access", error.message)
