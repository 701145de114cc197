"""Look-ups, lists, counts, statistics: what one gets to see."""

from __future__ import annotations

from typing import Any

from remotevirt.errors import VirError
from remotevirt.policy import enforce
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.errors import NoDomain, OperationTimeout
from remotevirt.stubs.remote import NonnullDomain
from tests.policy.calling import TENANT, GuardCase, allow


class ListTests(GuardCase):
    """What one gets to see."""

    def setUp(self) -> None:
        """Somebody who sees web-1, web-2 and nothing else."""
        super().setUp()
        self.caller_ = self.caller(allow("connect:*"), allow("domain:getattr", "domain:read", name="web-*"))

    def test_lookups(self) -> None:
        """A look-up of what one may not see is refused."""
        for name, ref in self.refs.items():
            for call, args in (("name", (ref.name,)), ("uuid", (ref.uuid,))):
                if name == "db-1":
                    self.refused("domain:getattr", self.caller_, f"domain_lookup_by_{call}", *args)
                else:
                    self.assertEqual(ref, self.caller_(f"domain_lookup_by_{call}", *args))
        error = self.assertRaises(VirError, self.caller_, "domain_lookup_by_name", "nobody")
        self.assertEqual(vir.VIR_ERR_NO_DOMAIN, error.code)

    def test_lists(self) -> None:
        """Old and new."""
        result = self.caller_("connect_list_all_domains", 1, 0)
        self.assertEqual(["web-1", "web-2"], [dom.name for dom in result.domains])
        self.assertEqual(2, result.ret)
        self.assertEqual(2, self.caller_("connect_list_all_domains", 0, 0).ret)
        self.assertEqual(["web-1", "web-2"], self.caller_("connect_list_defined_domains", 10))
        self.assertEqual(2, self.caller_("connect_num_of_defined_domains"))
        self.assertEqual([], self.caller_("connect_list_domains", 10))
        self.assertEqual(0, self.caller_("connect_num_of_domains"))

    def test_running(self) -> None:
        """The list of ids."""
        self.hypervisor.domain_create(self.refs["web-2"])
        (id,) = self.caller_("connect_list_domains", 10)
        self.assertEqual("web-2", self.caller_("domain_lookup_by_id", id).name)
        self.assertEqual(1, self.caller_("connect_num_of_domains"))
        running = self.hypervisor.domain_lookup_by_name("test").id
        self.refused("domain:getattr", self.caller_, "domain_lookup_by_id", running)

    def test_at_most(self) -> None:
        """A short list has as many as it can: what may not be seen takes no place."""
        caller = self.caller(allow("connect:*"), allow("domain:getattr", name="db-*"))
        self.assertEqual(["db-1"], caller("connect_list_defined_domains", 1))
        self.assertEqual([], caller("connect_list_defined_domains", 0))
        for wrong in (-1, 10**6):
            error = self.assertRaises(VirError, caller, "connect_list_defined_domains", wrong)
            self.assertEqual(vir.VIR_ERR_RPC, error.code)

    def test_by_uuid_and_metadata(self) -> None:
        """Names are looked up where they do not decide."""
        uuid = self.refs["web-2"].uuid.hex()
        caller = self.caller(allow("connect:*"), allow("domain:getattr", uuid=uuid))
        self.assertEqual(["web-2"], caller("connect_list_defined_domains", 9))
        caller = self.caller(
            allow("connect:*"), allow("domain:getattr", metadata="{uri='" + TENANT + "', value='blue'}")
        )
        self.assertEqual(["web-1", "db-1"], caller("connect_list_defined_domains", 9))
        self.assertEqual(2, caller("connect_num_of_defined_domains"))
        self.assertEqual(2, caller("connect_list_all_domains", 1, 0).ret)
        self.hypervisor.domain_set_metadata(self.refs["web-1"], 2, "<t>red</t>", "t", TENANT, 0)
        self.assertEqual(1, caller("connect_list_all_domains", 1, 0).ret)

    def test_same_list(self) -> None:
        """As long as nothing changes the same list is sent: its encoding is kept with it."""
        method = self.caller_.method("connect_list_all_domains")
        first = method(1, 0)
        self.assertIs(first, method(1, 0))
        self.hypervisor.domain_undefine(self.refs["web-1"])
        self.assertEqual(1, method(1, 0).ret)
        everything = self.caller(allow("connect:*"), allow("domain:getattr", name="*")).method(
            "connect_list_all_domains"
        )
        self.assertIs(self.hypervisor.connect_list_all_domains(1, 0), everything(1, 0))

    def test_statistics(self) -> None:
        """Of those one may read; whatever references are sent."""
        names = [record.dom.name for record in self.caller_("connect_get_all_domain_stats", [], 0, 0)]
        self.assertEqual(["web-1", "web-2"], names)
        forged = NonnullDomain("web-1", self.refs["db-1"].uuid, -1)
        self.assertEqual([], self.caller_("connect_get_all_domain_stats", [forged], 0, 0))

    def test_statistics_that_echo(self) -> None:
        """A driver may answer with the references that it was given."""
        forged = NonnullDomain("web-1", self.refs["db-1"].uuid, -1)
        procedure = remote.PROGRAM.by_name["connect_get_all_domain_stats"]
        method = enforce(
            remote.PROGRAM,
            procedure,
            lambda doms, stats, flags: [remote.DomainStatsRecord(dom, []) for dom in doms],
            self.caller_.rights,
            self.connection,
        )
        gone = NonnullDomain("web-4", b"4" * 16, -1)
        self.assertEqual([], method([forged, gone], 0, 0))

    def test_gone_in_between(self) -> None:
        """What was listed may be gone when it is looked up; a driver that fails is another matter."""
        uuid = self.refs["web-2"].uuid.hex()
        caller = self.caller(allow("connect:*"), allow("domain:getattr", uuid=uuid))
        self.hypervisor.domain_create(self.refs["web-2"])
        for call, lookup in (
            ("connect_list_domains", "domain_lookup_by_id"),
            ("connect_list_defined_domains", "domain_lookup_by_name"),
        ):
            for error, code in ((NoDomain(), None), (OperationTimeout("x"), vir.VIR_ERR_OPERATION_TIMEOUT)):

                def fail(*args: Any, error: VirError = error) -> Any:
                    raise error

                self.patch(type(self.hypervisor), lookup, fail)
                if code is None:
                    self.assertEqual([], caller(call, 9))
                else:
                    self.assertEqual(code, self.assertRaises(VirError, caller, call, 9).code)

    def test_statistics_of_a_driver_that_fails(self) -> None:
        """Its error is the answer."""

        def fail(*args: Any) -> Any:
            raise OperationTimeout("x")

        self.patch(type(self.hypervisor), "domain_lookup_by_uuid", fail)
        error = self.assertRaises(VirError, self.caller_, "connect_get_all_domain_stats", [], 0, 0)
        self.assertEqual(vir.VIR_ERR_OPERATION_TIMEOUT, error.code)
