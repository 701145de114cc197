"""A policy in a session: opening, calls, events, and a policy that changes while clients are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import DriverConnection
from remotevirt.policy import PolicyStore
from remotevirt.stubs import constants as vir
from remotevirt.stubs.remote import ConnectListAllDomainsRet
from tests.server.fakes import DOMAIN, OTHER, Client, World, lifecycle

READ = """
[[rule]]
who = ["*"]
allow = ["connect:*", "domain:getattr", "domain:read"]
"""

ONE = """
[[rule]]
who = ["*"]
allow = ["connect:*"]
[[rule]]
who = ["*"]
allow = ["domain:*"]
on = { name = "one" }
"""

NOTHING = ""


class RightsTests(SynchronousTestCase):
    """Two domains, ``one`` and ``two``, and who may do what with them."""

    def setUp(self) -> None:
        self.world = World()
        hypervisor = self.world.hypervisor
        refs = {ref.uuid: ref for ref in (DOMAIN, OTHER)}
        names = {ref.name: ref for ref in refs.values()}
        hypervisor.domain_lookup_by_uuid = refs.__getitem__
        hypervisor.domain_lookup_by_name = names.__getitem__
        hypervisor.domain_get_autostart = lambda dom: 1
        hypervisor.domain_suspend = lambda dom: None
        hypervisor.connect_list_all_domains = lambda *_: ConnectListAllDomainsRet((DOMAIN, OTHER), 2)
        self.path = Path(self.mktemp())

    def policy(self, text: str) -> None:
        """Put a policy in force, or another in place of the one that is."""
        self.path.write_text(text)
        self.path.chmod(0o600)
        if self.world.daemon.policy is None:
            self.world.daemon.policy = PolicyStore(self.path)
        else:
            self.world.daemon.policy.reload()

    def refused(self, client: Client, *call: Any) -> None:
        """A call is refused for want of a right."""
        self.assertEqual(vir.VIR_ERR_ACCESS_DENIED, client.error(*call).code)

    def test_opening(self) -> None:
        """Whoever may do nothing may not even open, and the driver does not hear of it."""
        self.policy(NOTHING)
        self.refused(self.world.client(), "connect_open", None, 0)
        self.assertEqual([], self.world.driver.opened)

    def test_calls(self) -> None:
        """The daemon's own are held to it as the driver's are."""
        self.policy(READ)
        client = self.world.opened()
        self.assertEqual(1, client.result("domain_get_autostart", DOMAIN))
        self.assertEqual(2, client.result("connect_list_all_domains", 1, 0).ret)
        self.refused(client, "domain_suspend", DOMAIN)
        self.policy(READ.replace('"connect:*"', '"connect:getattr"'))
        self.refused(client, "connect_domain_event_callback_register_any", 0, None)
        self.refused(client, "connect_list_all_domains", 1, 0)

    def test_objects(self) -> None:
        """What may be done with one domain may not with another, whatever the reference calls itself."""
        self.policy(ONE)
        client = self.world.opened()
        self.assertIsNone(client.result("domain_suspend", DOMAIN))
        self.refused(client, "domain_suspend", OTHER)
        self.refused(client, "domain_suspend", OTHER._replace(name="one"))
        self.assertEqual([DOMAIN], list(client.result("connect_list_all_domains", 1, 0).domains))

    def test_events(self) -> None:
        """Only those of domains that the client may see."""
        self.policy(ONE)
        client = self.world.opened()
        client.result("connect_domain_event_callback_register_any", 0, None)
        self.world.driver.events.publish(lifecycle(OTHER))
        self.world.driver.events.publish(lifecycle(DOMAIN))
        self.assertEqual([DOMAIN], [message.msg.dom for _, message in client.events()])

    def test_another_policy(self) -> None:
        """Is in force for the next call of everybody: less may be done, or more."""
        self.policy(READ)
        client = self.world.opened()
        client.result("connect_domain_event_callback_register_any", 0, None)
        client.result("domain_get_autostart", OTHER)
        self.refused(client, "domain_suspend", DOMAIN)
        self.policy(ONE)
        self.refused(client, "domain_get_autostart", OTHER)
        self.assertIsNone(client.result("domain_suspend", DOMAIN))
        self.world.driver.events.publish(lifecycle(OTHER))
        self.assertEqual([], client.events())

    def test_another_policy_while_a_connection_opens(self) -> None:
        """It counts, not the one that was in force when the client asked."""
        self.policy(READ)
        opening: Deferred[DriverConnection] = Deferred()
        self.world.driver.result = opening
        client = self.world.client()
        serial = client.begin("connect_open", None, 0)
        self.policy(ONE)
        opening.callback(self.world.driver.connection())
        client.answer(serial)
        self.refused(client, "domain_get_autostart", OTHER)
        self.assertIsNone(client.result("domain_suspend", DOMAIN))

    def test_clients_that_have_gone(self) -> None:
        """Are not told of new policies."""
        self.policy(READ)
        client = self.world.opened()
        client.vanish()
        store: Any = self.world.daemon.policy
        self.assertEqual({}, store._listeners)

    def test_read_only(self) -> None:
        """A read-only client stays one, whatever the policy allows."""
        self.policy(ONE)
        client = self.world.opened(readonly=True)
        self.assertEqual(vir.VIR_ERR_OPERATION_DENIED, client.error("domain_suspend", DOMAIN).code)
