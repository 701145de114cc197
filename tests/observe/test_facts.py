"""What observers ask of a call."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from remotevirt.errors import VirError
from remotevirt.observe import facts
from remotevirt.server.access import readonly_guard
from remotevirt.stubs import constants as vir
from remotevirt.stubs import errors, remote
from remotevirt.stubs.remote import NonnullDomainSnapshot, NonnullStorageVol
from tests.observe.fakes import DOMAIN, DOMAIN_UUID, PROGRAMS, all_procedures, make_call


class ErrorNameTests(TestCase):
    """Names of error codes."""

    def test_every_code_has_its_own_name(self) -> None:
        names = {facts.error_name(code) for code in errors.ERRORS}
        self.assertEqual(len(errors.ERRORS), len(names))
        self.assertNotIn("other", names)

    def test_levels_are_not_codes(self) -> None:
        self.assertEqual("VIR_ERR_INTERNAL_ERROR", facts.error_name(1))
        self.assertEqual("VIR_ERR_NO_MEMORY", facts.error_name(2))

    def test_unknown(self) -> None:
        self.assertEqual("other", facts.error_name(123456))


class ChangesTests(TestCase):
    """Which calls change something."""

    def changes(self, name: str, *args: object) -> bool:
        call = make_call(name, *args)
        assert call.procedure is not None
        return facts.changes(call.procedure, call.arguments())

    def test_by_permission(self) -> None:
        self.assertTrue(self.changes("domain_destroy", DOMAIN))
        self.assertTrue(self.changes("domain_define_xml", "<domain/>"))
        self.assertFalse(self.changes("domain_get_info", DOMAIN))
        self.assertFalse(self.changes("connect_list_all_domains", 1, 0))
        self.assertFalse(self.changes("connect_close"))

    def test_by_flag(self) -> None:
        self.assertFalse(self.changes("domain_get_xml_desc", DOMAIN, 0))
        self.assertTrue(self.changes("domain_get_xml_desc", DOMAIN, vir.VIR_DOMAIN_XML_SECURE))

    def test_by_value(self) -> None:
        agent = vir.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
        self.assertFalse(self.changes("domain_interface_addresses", DOMAIN, 0, 0))
        self.assertTrue(self.changes("domain_interface_addresses", DOMAIN, agent, 0))

    def test_undecoded_arguments_change_nothing(self) -> None:
        procedure = remote.PROGRAM.by_name["domain_get_xml_desc"]
        self.assertFalse(facts.changes(procedure, None))

    def test_admin_program_by_verb(self) -> None:
        changing = {
            procedure.name
            for program, procedure in all_procedures()
            if program.name == "admin" and facts.changes(procedure, None)
        }
        self.assertEqual(
            {
                "client_close",
                "connect_daemon_shutdown",
                "connect_set_daemon_timeout",
                "connect_set_logging_filters",
                "connect_set_logging_outputs",
                "server_set_client_limits",
                "server_set_threadpool_parameters",
                "server_update_tls_files",
            },
            changing,
        )

    def test_agrees_with_what_readonly_clients_may_do(self) -> None:
        """What a read-only client is never allowed changes something, but for the calls listed by name."""
        differing = set()
        for program, procedure in all_procedures():
            if program.name == "admin":
                continue
            try:
                readonly_guard(procedure)
                allowed = True
            except VirError:
                allowed = False
            if allowed == (facts.changing_permissions(procedure) is True):
                differing.add(procedure.name)
        from remotevirt.server.access import ALLOWED, DENIED

        self.assertEqual(ALLOWED | DENIED, differing)


class ObjectTests(TestCase):
    """What a call was about."""

    def test_domain(self) -> None:
        found = facts.object_of(make_call("domain_create", DOMAIN).arguments())
        self.assertEqual({"kind": "domain", "name": "web", "uuid": DOMAIN_UUID}, found)

    def test_within_another(self) -> None:
        volume = NonnullStorageVol("default", "disk", "/disk")
        found = facts.object_of(make_call("storage_vol_wipe", volume, 0).arguments())
        self.assertEqual({"kind": "storage_vol", "pool": "default", "name": "disk", "key": "/disk"}, found)
        snapshot = NonnullDomainSnapshot("before", DOMAIN)
        found = facts.object_of(make_call("domain_snapshot_delete", snapshot, 0).arguments())
        domain = {"name": "web", "uuid": DOMAIN_UUID}
        self.assertEqual({"kind": "domain_snapshot", "name": "before", "domain": domain}, found)

    def test_none(self) -> None:
        self.assertIsNone(facts.object_of(None))
        self.assertIsNone(facts.object_of(make_call("domain_define_xml", "<domain/>").arguments()))

    def test_kind_from_the_contract(self) -> None:
        procedure = remote.PROGRAM.by_name["domain_define_xml"]
        self.assertIsNone(facts.object_kind(procedure.args))
        self.assertEqual("domain", facts.object_kind(procedure.ret))

    def test_every_object_of_the_contract(self) -> None:
        """Each kind is one of libvirt's nouns, so that nobody has to guess how it is written."""
        kinds = {
            kind
            for program in PROGRAMS
            for procedure in program.procedures.values()
            for struct in (procedure.args, procedure.ret)
            if (kind := facts.object_kind(struct)) is not None
        }
        self.assertEqual(
            {
                *("client", "domain", "domain_checkpoint", "domain_snapshot", "interface", "network"),
                *("network_port", "node_device", "nwfilter", "nwfilter_binding", "secret", "server"),
                *("storage_pool", "storage_vol"),
            },
            kinds,
        )


class CleanTests(TestCase):
    """Peers' texts."""

    def test_harmless(self) -> None:
        self.assertEqual("wéb <1>", facts.clean("wéb <1>"))

    def test_control_characters(self) -> None:
        self.assertEqual("a\\n\\x1b[2Jb\\u202e", facts.clean("a\n\x1b[2Jb\u202e"))

    def test_long(self) -> None:
        found = facts.clean("x" * 1_000_000)
        self.assertEqual(facts.TEXT_MAXIMUM, len(found))
        self.assertTrue(found.endswith("…"))

    def test_surrogates(self) -> None:
        """A name of a certificate, or a path, may hold bytes that are no text."""
        self.assertEqual("\\udcff", facts.clean("\udcff"))


class ReasonTests(TestCase):
    """Why clients are turned away."""

    def test_classes(self) -> None:
        self.assertEqual("limit", facts.reason_class("limit: max_clients"))
        self.assertEqual("tls", facts.reason_class("tls"))
        self.assertEqual("other", facts.reason_class("whatever: limit"))
