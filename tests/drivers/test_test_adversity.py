"""Whatever a client sends, the test hypervisor answers with a value or a VirError, and stays whole."""

from __future__ import annotations

from typing import Any, NamedTuple, get_type_hints

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt.drivers.test.hypervisor import TestHypervisor
from remotevirt.errors import VirError
from remotevirt.stubs import remote
from remotevirt.stubs.drivers import HypervisorDriver
from remotevirt.stubs.remote import NonnullDomain, TypedParam, TypedParamValue
from remotevirt.stubs.remote.types import NonnullNetwork, NonnullStoragePool
from tests.drivers.driving import connect, domain_xml

UUID = bytes(range(16))
OFF = "00010203-0405-0607-0809-0a0b0c0d0e0f"


class Known(NamedTuple):
    """Stands for the reference of a domain that is there, by its name."""

    domain: str


DOMAINS = (Known("test"), Known("off"), Known("paused"))

NUMBERS = st.one_of(
    st.integers(0, 40),
    st.sampled_from(
        [-1, -2, 255, 256, 16384, 16385, 2**31 - 1, -(2**31), 2**32 - 1, 2**54, 2**63, 2**64 - 1]
    ),
    st.integers(-(2**31), 2**64 - 1),
)
TEXTS = st.one_of(
    st.sampled_from(
        ["", "test", "off", "new", "a/b", "vda", "testnet0", "<x/>", "<x", "http://u", "k", "\n"]
    ),
    st.sampled_from([domain_xml("off"), domain_xml("fresh"), domain_xml("test"), "<domain type='test'/>"]),
    st.sampled_from(
        [
            "<domainsnapshot><name>test</name><disks><disk name='vda'/></disks></domainsnapshot>",
            "<domainsnapshot><name>off</name><state>paused</state><creationTime>1</creationTime>"
            f"<parent><name>test</name></parent>{domain_xml('off', uuid=OFF)}"
            "</domainsnapshot>",
            "<domaincheckpoint><name>test</name></domaincheckpoint>",
        ]
    ),
    st.text(max_size=20),
    st.just("\udcff\udc80"),
)
BYTES = st.one_of(st.sampled_from([UUID, bytes(16), b"", b"\xff" * 16]), st.binary(max_size=40))
SIXTEEN = st.one_of(st.just(UUID), st.binary(min_size=16, max_size=16))
REFS = st.one_of(
    st.sampled_from(DOMAINS),
    st.builds(NonnullDomain, TEXTS, SIXTEEN, st.integers(-(2**31), 2**31 - 1)),
)
PARAMS = st.builds(
    TypedParam,
    st.one_of(st.just("weight"), TEXTS),
    st.builds(TypedParamValue, st.integers(0, 9), st.one_of(st.integers(0, 100), st.text(max_size=3))),
)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Return what a client can send for an argument of a type."""
    text = str(hint)
    if "TypedParam" in text:
        return st.lists(PARAMS, max_size=3)
    if "Sequence" in text:
        inner = REFS if "NonnullDomain" in text else TEXTS if "str" in text else NUMBERS
        return st.lists(inner, max_size=3)
    for kind, made in (
        ("NonnullDomainSnapshot", st.builds(remote.NonnullDomainSnapshot, TEXTS, REFS)),
        ("NonnullDomainCheckpoint", st.builds(remote.NonnullDomainCheckpoint, TEXTS, REFS)),
        ("NonnullDomain", REFS),
        ("NonnullNetwork", st.builds(NonnullNetwork, TEXTS, SIXTEEN)),
        ("NonnullStoragePool", st.builds(NonnullStoragePool, TEXTS, SIXTEEN)),
        ("NonnullStorageVol", st.builds(remote.NonnullStorageVol, TEXTS, TEXTS, TEXTS)),
        ("NonnullInterface", st.builds(remote.NonnullInterface, TEXTS, TEXTS)),
        ("bytes", BYTES),
        ("str", st.none() | TEXTS if "None" in text else TEXTS),
        ("int", NUMBERS),
    ):
        if kind in text:
            return made
    raise AssertionError(f"no strategy for {text}")


def answered(driver: type[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the procedures that a sub-driver answers, with the types of their arguments."""
    found = []
    for name, procedure in sorted(remote.PROGRAM.by_name.items()):
        method = getattr(driver, name, None)
        base = getattr(driver.__mro__[-2], name, None)
        if method is None or method is base or procedure.event:
            continue
        hints = get_type_hints(procedure.args) if procedure.args else {}
        if name == "domain_lookup_by_uuid" or name.endswith("lookup_by_uuid"):
            hints = {"uuid": "SIXTEEN"}
        found.append((name, hints))
    return found


class AdversityTests(TestCase):
    """Every procedure that is answered, with arguments of every kind."""

    @settings(max_examples=400, deadline=None)
    @given(data=st.data())
    def test_no_other_exception(self, data: st.DataObject) -> None:
        """A few random calls in a row end in values or VirErrors, and what is answered can be encoded."""
        connection: Any = connect()
        calls = connection.hypervisor
        refs: dict[str, NonnullDomain] = {
            "test": calls.domain_lookup_by_name("test"),
            "off": calls.domain_define_xml(domain_xml("off", uuid=OFF)),
            "paused": calls.domain_create_xml(domain_xml("paused"), 0),
        }
        calls.domain_suspend(refs["paused"])
        for name in ("off", "test"):
            text = f"<domainsnapshot><name>{name}</name></domainsnapshot>"
            calls.domain_snapshot_create_xml(refs["off"], text, 0)
        text = "<domaincheckpoint><name>test</name></domaincheckpoint>"
        calls.domain_checkpoint_create_xml(refs["test"], text, 0)
        drivers = (calls, connection.network, connection.storage, connection.interface, connection.nodedev)
        for _ in range(data.draw(st.integers(1, 4))):
            driver = data.draw(st.sampled_from(drivers))
            name, hints = data.draw(st.sampled_from(answered(type(driver))))
            arguments = [data.draw(SIXTEEN if hint == "SIXTEEN" else values(hint)) for hint in hints.values()]
            arguments = [self.resolve(refs, value) for value in arguments]
            procedure = remote.PROGRAM.by_name[name]
            files: tuple[list[int], ...] = ([],) if procedure.fds_in else ()
            try:
                value = getattr(driver, name)(*arguments, *files)
            except VirError as error:
                self.assertTrue(error.message)
                continue
            if procedure.encode is not None:
                procedure.encode(value)
        for ref in calls.connect_list_all_domains(1, 0).domains:
            self.assertIn("<name>", calls.domain_get_xml_desc(ref, 0))

    @staticmethod
    def resolve(refs: dict[str, NonnullDomain], value: Any) -> Any:
        """Put references in the place of what stands for them."""
        if isinstance(value, Known):
            return refs[value.domain]
        if isinstance(value, (remote.NonnullDomainSnapshot, remote.NonnullDomainCheckpoint)):
            return value._replace(dom=AdversityTests.resolve(refs, value.dom))
        if isinstance(value, list):
            return [refs[item.domain] if isinstance(item, Known) else item for item in value]
        return value

    def test_every_family_is_tried(self) -> None:
        """The procedures that are drawn from are those of the driver, not of its base."""
        names = {name for name, _ in answered(TestHypervisor)}
        self.assertIn("domain_get_info", names)
        self.assertNotIn("domain_migrate_prepare", names)
        self.assertGreater(len(names), 80)
        self.assertEqual(answered(HypervisorDriver), [])
