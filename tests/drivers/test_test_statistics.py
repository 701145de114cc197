"""Statistics and scheduler parameters: figures, counts and limits as libvirtd 9.0.0 has them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.test import statistics
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import DomainStatsRecord, NonnullDomain, TypedParam, TypedParamValue
from tests.drivers.driving import domain_xml, hypervisor

NOW = 1_700_000_000_123_456_789
"""Nanoseconds since 1970."""


def values(params: Any) -> dict[str, int]:
    """Return typed parameters as a dictionary."""
    return {param.field: param.value.value for param in params}


class StatisticsCase(TestCase):
    """A default world whose clock stands still."""

    def setUp(self) -> None:
        self.calls = hypervisor()
        self.calls.world.now = lambda: NOW
        self.test = self.calls.domain_lookup_by_name("test")
        self.off = self.calls.domain_define_xml(domain_xml("off"))
        self.patch(statistics.os, "cpu_count", lambda: 2)

    def assert_refused(self, call: Any, *arguments: Any, code: int, message: str) -> None:
        """Check the error of a call."""
        error = self.assertRaises(VirError, call, *arguments)
        self.assertEqual((error.code, error.message), (code, message))


class BulkTests(StatisticsCase):
    """connect_get_all_domain_stats."""

    def names(self, doms: Any = (), stats: int = 1, flags: int = 0) -> list[str]:
        """Return whose statistics are answered."""
        return [record.dom.name for record in self.calls.connect_get_all_domain_stats(doms, stats, flags)]

    def test_state(self) -> None:
        """State and reason, as ints."""
        record, off = self.calls.connect_get_all_domain_stats([], 0, 0)
        self.assertEqual((record.dom, off.dom), (self.test, self.off))
        self.assertEqual(
            list(record.params),
            [
                TypedParam("state.state", TypedParamValue(c.VIR_TYPED_PARAM_INT, 1)),
                TypedParam("state.reason", TypedParamValue(c.VIR_TYPED_PARAM_INT, 0)),
            ],
        )
        self.assertEqual(values(off.params), {"state.state": 5, "state.reason": 0})

    def test_shared_encodings(self) -> None:
        """What many domains share is encoded once, and the encoding is what the generated code would say."""
        self.calls.domain_add_iothread(self.test, 1, c.VIR_DOMAIN_AFFECT_LIVE)
        for stats in (0, c.VIR_DOMAIN_STATS_STATE, c.VIR_DOMAIN_STATS_IOTHREAD):
            found = self.calls.connect_get_all_domain_stats([], stats, 0)
            plain = [DomainStatsRecord(record.dom, list(record.params)) for record in found]
            self.assertEqual([record.pack() for record in plain], [record.pack() for record in found])

    def test_filters(self) -> None:
        """The list filters of activity, persistence and state; others are refused."""
        self.assertEqual(self.names(flags=c.VIR_CONNECT_LIST_DOMAINS_ACTIVE), ["test"])
        self.assertEqual(self.names(flags=c.VIR_CONNECT_LIST_DOMAINS_INACTIVE), ["off"])
        self.assertEqual(self.names(flags=c.VIR_CONNECT_LIST_DOMAINS_TRANSIENT), [])
        self.assertEqual(self.names(flags=c.VIR_CONNECT_LIST_DOMAINS_SHUTOFF), ["off"])
        self.assertEqual(self.names([self.test], flags=c.VIR_CONNECT_LIST_DOMAINS_SHUTOFF), [])
        text = "unsupported flags (0x100) in function testConnectGetAllDomainStats"
        self.assert_refused(self.names, (), 1, 0x100, code=8, message=text)

    def test_chosen_domains(self) -> None:
        """Domains may be named twice; those that are gone are left out."""
        gone = NonnullDomain("gone", bytes(16), -1)
        self.assertEqual(self.names([self.off, gone, self.off]), ["off", "off"])

    def test_groups(self) -> None:
        """Unknown groups are ignored, unless they are enforced."""
        self.assertEqual(values(self.calls.connect_get_all_domain_stats([], 1 << 30, 0)[0].params), {})
        flags = c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
        text = "argument unsupported: Stats types bits 0xff7e are not supported by this daemon"
        self.assert_refused(self.names, (), 0xFFFF, flags, code=74, message=text)
        self.assertEqual(self.names((), 0x81, flags), ["test", "off"])


class DomainStatisticsTests(StatisticsCase):
    """Statistics of one domain."""

    def test_cpu_total(self) -> None:
        """The total has three figures, fewer if fewer are asked for."""
        stats = self.calls.domain_get_cpu_stats
        self.assertEqual(stats(self.test, 0, -1, 1, 0), ((), 3))
        params, count = stats(self.test, 9, -1, 1, 0)
        times = {"cpu_time": 48772617035, "user_time": 5540000000, "system_time": 6460000000}
        self.assertEqual((values(params), count), (times, 3))
        self.assertEqual(len(stats(self.test, 1, -1, 1, 0).params), 1)

    def test_cpu_each(self) -> None:
        """Each host CPU has two figures; they differ by a nanosecond."""
        stats = self.calls.domain_get_cpu_stats
        self.assertEqual(stats(self.test, 0, 0, 0, 0), ((), 2))
        params, count = stats(self.test, 2, 0, 5, 0)
        self.assertEqual(
            [param.value.value for param in params], [24386308517, 23151740627, 24386308518, 23151740628]
        )
        self.assertEqual(count, 2)
        self.assertEqual([p.field for p in stats(self.test, 1, 0, 2, 0).params], ["cpu_time"] * 2)

    def test_cpu_limits(self) -> None:
        """What is refused, and in whose words."""
        stats = self.calls.domain_get_cpu_stats
        for arguments, code, message in (
            ((2, 2, 1), 8, "invalid argument: start_cpu 2 larger than maximum of 1"),
            ((2, 0, 129), 1, "internal error: ncpus too large"),
            ((17, 0, 1), 1, "internal error: nparams too large"),
            ((0, -2, 1), 8, "start_cpu in virDomainGetCPUStats must be zero or greater"),
            ((0, -1, 2), 8, "ncpus must be 1 when start_cpu is -1"),
            ((2, 0, 0), 8, "params in virDomainGetCPUStats must not be NULL"),
        ):
            self.assert_refused(stats, self.test, *arguments, 0, code=code, message=message)

    def test_memory(self) -> None:
        """Thirteen figures of a domain with a balloon, none of one without."""
        stats = self.calls.domain_memory_stats
        figures = {stat.tag: stat.val for stat in stats(self.test, 20, 0)}
        self.assertEqual(len(figures), 13)
        self.assertEqual(figures[c.VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON], 2097152)
        self.assertEqual(figures[c.VIR_DOMAIN_MEMORY_STAT_RSS], 1048576)
        self.assertEqual(figures[c.VIR_DOMAIN_MEMORY_STAT_DISK_CACHES], 262144)
        self.assertEqual([stat.tag for stat in stats(self.test, 2, 0)], [6, 0])
        self.calls.domain_create(self.off)
        self.assertEqual(list(stats(self.off, 20, 0)), [])
        text = "internal error: maxStats > REMOTE_DOMAIN_MEMORY_STATS_MAX"
        self.assert_refused(stats, self.test, 1025, 0, code=1, message=text)

    def test_info_and_clock(self) -> None:
        """The CPU time is the clock, to the microsecond."""
        self.assertEqual(self.calls.domain_get_info(self.test).cpuTime, 1_700_000_000_123_456_000)
        info, maps = self.calls.domain_get_vcpus(self.test, 3, 2)
        self.assertEqual([tuple(cpu) for cpu in info], [(n, 1, 170_000_000_012_345, 15) for n in (0, 1)])
        self.assertEqual(maps, b"\xff\xff\xff\xff\x00\x00")

    def test_disk(self) -> None:
        """A disk is known by its target and its source."""
        for path in ("vda", "/guest/diskimage1"):
            self.assertEqual(
                tuple(self.calls.domain_block_stats(self.test, path)),
                (170000000012345, 85000000006172, 56666666670781, 42500000003086, 850000000),
            )
            self.assertEqual(
                self.calls.domain_get_block_info(self.test, path, 0),
                (1099511627776, 1099506450432, 1099511627776),
            )
        text = "invalid argument: invalid path: vdz"
        self.assert_refused(self.calls.domain_block_stats, self.test, "vdz", code=8, message=text)
        text = "invalid argument: invalid path vdz not assigned to domain"
        self.assert_refused(self.calls.domain_get_block_info, self.test, "vdz", 0, code=8, message=text)
        text = "Operation not supported: summary statistics are not supported yet"
        self.assert_refused(self.calls.domain_block_stats, self.test, "", code=84, message=text)
        self.assertEqual(self.calls.domain_get_disk_errors(self.test, 0, 0), ((), 1))
        self.assertEqual(self.calls.domain_get_disk_errors(self.test, 5, 0), ([("vda", 1)], 1))

    def test_interface(self) -> None:
        """An interface is known by its target and its MAC address."""
        for device in ("testnet0", "aa:bb:cc:dd:ee:ff"):
            self.assertEqual(
                tuple(self.calls.domain_interface_stats(self.test, device)),
                (
                    *(170000000012345, 17000000001234, 1700000000, 850000000),
                    *(85000000006172, 15454545455667, 566666666, 425000000),
                ),
            )
        text = "invalid argument: 'eth9' is not a known interface"
        self.assert_refused(self.calls.domain_interface_stats, self.test, "eth9", code=8, message=text)


class SchedulerTests(StatisticsCase):
    """The weight that is always 50."""

    def weight(self, kind: int = c.VIR_TYPED_PARAM_UINT, name: str = "weight") -> TypedParam:
        """Return a parameter."""
        return TypedParam(name, TypedParamValue(kind, 7))

    def test_get(self) -> None:
        """One parameter, however many are asked for."""
        get = self.calls.domain_get_scheduler_parameters
        self.assertEqual(values(get(self.test, 16)), {"weight": 50})
        text = "params in virDomainGetSchedulerParameters must not be NULL"
        self.assert_refused(get, self.test, 0, code=8, message=text)
        self.assert_refused(get, self.test, 17, code=1, message="internal error: nparams too large")
        text = "unsupported flags (0x4) in function testDomainGetSchedulerParametersFlags"
        flagged = self.calls.domain_get_scheduler_parameters_flags
        self.assert_refused(flagged, self.test, 1, 0, code=8, message=text)

    def test_set(self) -> None:
        """A weight is checked and forgotten."""
        put = self.calls.domain_set_scheduler_parameters
        put(self.test, [self.weight()])
        self.assertEqual(values(self.calls.domain_get_scheduler_parameters(self.test, 1)), {"weight": 50})
        for params, code, message in (
            ([], 8, "params in virDomainSetSchedulerParameters must not be NULL"),
            ([self.weight(name="bogus")], 74, "argument unsupported: parameter 'bogus' not supported"),
            (
                [self.weight(c.VIR_TYPED_PARAM_INT)],
                8,
                "invalid argument: invalid type 'int' for parameter 'weight', expected 'uint'",
            ),
            ([self.weight()] * 2, 8, "invalid argument: parameter 'weight' occurs multiple times"),
        ):
            self.assert_refused(put, self.test, params, code=code, message=message)
