"""Our own contracts hold what libvirt's programs hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.contracts import CONTRACTS, load_contract
from remotevirt.rpcgen.model import (
    Bound,
    Constant,
    Declaration,
    FlagsCondition,
    Kind,
    ParamCondition,
    Permission,
    Procedure,
    Struct,
    Union,
)

REMOTE = load_contract("remote")
PROCEDURES = {procedure.name: procedure for procedure in REMOTE.programs[0].procedures}


class FiguresTests(TestCase):
    """How much there is of what."""

    def test_programs(self) -> None:
        """Numbers, versions, and how many procedures, events and high priorities."""
        expected = {
            "remote": (0x20008086, 1, 456, 55, 187),
            "qemu": (0x20008087, 1, 7, 1, 2),
            "lxc": (0x00068000, 1, 1, 0, 0),
            "admin": (0x06900690, 1, 20, 0, 0),
            "keepalive": (0x6B656570, 1, 2, 0, 0),
        }
        found = {}
        for name in CONTRACTS:
            for program in load_contract(name).programs:
                events = sum(procedure.event for procedure in program.procedures)
                high = sum(procedure.priority == "high" for procedure in program.procedures)
                figures = (program.number, program.version, len(program.procedures), events, high)
                found[program.name] = figures
        self.assertEqual(found, expected)

    def test_definitions(self) -> None:
        """Structs, unions, enums, typedefs and constants of each contract, imported ones left out."""
        found = {}
        for name, files in CONTRACTS.items():
            own = [
                definition
                for definition in load_contract(name).definitions
                if definition.location and definition.location.file.endswith(files.files)
            ]
            counts = Counter(type(definition).__name__ for definition in own)
            found[name] = tuple(counts[sort] for sort in ("Struct", "Union", "Enum", "Typedef", "Constant"))
        expected = {
            "message": (5, 0, 2, 5, 10),
            "keepalive": (0, 0, 0, 0, 2),
            "remote": (704, 1, 1, 12, 83),
            "qemu": (12, 0, 0, 0, 2),
            "lxc": (1, 0, 0, 0, 2),
            "admin": (31, 1, 0, 2, 15),
        }
        self.assertEqual(found, expected)

    def test_remote_numbers(self) -> None:
        """No number is left out."""
        self.assertEqual([each.number for each in PROCEDURES.values()], list(range(1, 457)))

    def test_remote_marks(self) -> None:
        """Calls without arguments and without results, streams, descriptors, and what needs no login."""
        calls = [each for each in PROCEDURES.values() if not each.event]
        self.assertEqual(sum(each.args is None for each in calls), 28)
        self.assertEqual(sum(each.ret is None for each in calls), 152)
        self.assertEqual(sum(each.readstream > 0 for each in calls), 4)
        self.assertEqual(sum(each.writestream > 0 for each in calls), 3)
        self.assertEqual(sum(each.sparseflag is not None for each in calls), 2)
        self.assertEqual(Counter(each.fds for each in calls if each.fds), {"call": 4, "reply": 1})
        early = {each.name for each in calls if each.pre_auth}
        self.assertEqual(
            early, {"auth_list", "auth_sasl_init", "auth_sasl_start", "auth_sasl_step", "auth_polkit"}
        )

    def test_events(self) -> None:
        """Events carry a message and return nothing; only they do."""
        for each in PROCEDURES.values():
            self.assertEqual(each.event, (each.args or "").endswith("_msg"), each.name)
            self.assertFalse(each.event and each.ret, each.name)

    def test_access(self) -> None:
        """Every procedure says what it needs; in programs without access checks none does."""
        self.assertEqual(sum(each.acl == () for each in PROCEDURES.values()), 62)
        self.assertTrue(all(each.acl is not None for each in PROCEDURES.values()))
        for name in ("admin", "keepalive"):
            self.assertTrue(all(each.acl is None for each in load_contract(name).programs[0].procedures))

    def test_comments(self) -> None:
        """Every procedure and every type says in a few words what it is."""
        for name in CONTRACTS:
            contract = load_contract(name)
            silent = [each.name for each in contract.definitions if not each.comment]
            self.assertEqual(
                [each for each in silent if each not in {c.name for c in contract.constants}], []
            )
            for program in contract.programs:
                self.assertEqual([each.name for each in program.procedures if not each.comment], [])


class SpotTests(TestCase):
    """A few procedures and types, looked at closely."""

    def test_domain_get_info(self) -> None:
        found = PROCEDURES["domain_get_info"]
        expected = (16, "REMOTE_PROC_DOMAIN_GET_INFO", "virDomainGetInfo", (Permission("domain", "read"),))
        self.assertEqual((found.number, found.constant, found.api, found.acl), expected)
        struct = REMOTE["remote_domain_get_info_ret"]
        assert isinstance(struct, Struct)
        fields = [("state", "unsigned char"), ("maxMem", "unsigned hyper"), ("memory", "unsigned hyper")]
        fields += [("nrVirtCpu", "unsigned short"), ("cpuTime", "unsigned hyper")]
        self.assertEqual([(field.name, field.type) for field in struct.fields], fields)

    def test_conditions(self) -> None:
        """Permissions that count only with flags, without them, or with an argument."""
        secure = FlagsCondition(("VIR_DOMAIN_XML_SECURE",))
        self.assertIn(
            Permission("domain", "read_secure", secure), PROCEDURES["domain_get_xml_desc"].acl or ()
        )
        live = FlagsCondition(("VIR_DOMAIN_AFFECT_CONFIG", "VIR_DOMAIN_AFFECT_LIVE"), negated=True)
        self.assertIn(Permission("domain", "save", live), PROCEDURES["domain_attach_device_flags"].acl or ())
        agent = ParamCondition("source", "VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT")
        self.assertIn(
            Permission("domain", "write", agent), PROCEDURES["domain_interface_addresses"].acl or ()
        )

    def test_filter(self) -> None:
        found = PROCEDURES["connect_list_all_domains"]
        self.assertEqual(found.aclfilter, (Permission("domain", "getattr"),))
        self.assertEqual(found.priority, "high")

    def test_stream(self) -> None:
        found = PROCEDURES["storage_vol_download"]
        self.assertEqual((found.readstream, found.sparseflag), (1, "VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM"))

    def test_daemon(self) -> None:
        """What the daemon answers itself."""
        for name in ("connect_open", "auth_list", "connect_domain_event_register", "connect_set_identity"):
            self.assertTrue(PROCEDURES[name].daemon, name)
        self.assertEqual(sum(each.daemon for each in PROCEDURES.values()), 24)

    def test_constants(self) -> None:
        security = REMOTE["REMOTE_SECURITY_LABEL_MAX"]
        assert isinstance(security, Constant)
        self.assertEqual((security.value, security.literal), (4097, "VIR_SECURITY_LABEL_BUFLEN"))
        label = REMOTE["remote_domain_get_security_label_ret"]
        assert isinstance(label, Struct)
        bound = Bound("REMOTE_SECURITY_LABEL_MAX", 4097)
        self.assertEqual(label.fields[0], Declaration("label", "char", Kind.VARIABLE_ARRAY, bound))

    def test_typed_parameter(self) -> None:
        union = REMOTE["remote_typed_param_value"]
        assert isinstance(union, Union)
        found = [(arm.cases[0].name, arm.cases[0].value, arm.field and arm.field.name) for arm in union.arms]
        names = ["INT", "UINT", "LLONG", "ULLONG", "DOUBLE", "BOOLEAN", "STRING"]
        expected = [
            (f"VIR_TYPED_PARAM_{name}", number, field)
            for number, (name, field) in enumerate(
                zip(names, ["i", "ui", "l", "ul", "d", "b", "s"], strict=True), 1
            )
        ]
        self.assertEqual(found, expected)

    def test_unnamed_bound(self) -> None:
        """The newest call has a bound whose name we do not know."""
        struct = REMOTE["remote_domain_announce_interface_args"]
        assert isinstance(struct, Struct)
        self.assertEqual(struct.fields[2].bound, Bound(None, 16))


class DriversTests(TestCase):
    """Which sub-driver answers what."""

    def driver(self, procedure: Procedure) -> str | None:
        assert procedure.location is not None
        return CONTRACTS["remote"].drivers.get(Path(procedure.location.file).stem)

    def test_spots(self) -> None:
        expected = {
            "connect_get_capabilities": "hypervisor",
            "connect_list_all_domains": "hypervisor",
            "node_device_reset": "hypervisor",
            "domain_snapshot_create_xml": "hypervisor",
            "connect_list_all_networks": "network",
            "storage_vol_upload": "storage",
            "connect_list_interfaces": "interface",
            "node_list_devices": "nodedev",
            "secret_get_value": "secret",
            "nwfilter_binding_delete": "nwfilter",
        }
        self.assertEqual({name: self.driver(PROCEDURES[name]) for name in expected}, expected)

    def test_every_call(self) -> None:
        """Each call has a sub-driver, or the daemon answers it."""
        stray = [
            each.name
            for each in PROCEDURES.values()
            if not each.event and not each.daemon and self.driver(each) is None
        ]
        self.assertEqual(stray, [])

    def test_files(self) -> None:
        """The files that make the contracts are all there are."""
        known = {file for files in CONTRACTS.values() for file in files.files}
        folder = Path(__file__).parents[2] / "remotevirt" / "protocol"
        self.assertEqual({str(path.relative_to(folder)) for path in folder.rglob("*.x")}, known)
