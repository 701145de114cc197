"""Tuning parameters: what is set is shown, in answers and documents, and nothing grows without a bound."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.domains import blkio_tuning, disk_tuning
from remotevirt.drivers.test import iothreads
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import TypedParam
from remotevirt.typed_params import boolean, int_, string, to_dict, uint, ullong
from tests.drivers.driving import domain_xml, hypervisor

LIVE, CONFIG, STRINGS = c.VIR_DOMAIN_AFFECT_LIVE, c.VIR_DOMAIN_AFFECT_CONFIG, c.VIR_TYPED_PARAM_STRING_OKAY
UNLIMITED = 9007199254740991


class TuningCase(TestCase):
    """A default world, its running guest, and one that is off."""

    def setUp(self) -> None:
        self.calls: Any = hypervisor()
        self.test = self.calls.domain_lookup_by_name("test")
        disk = "<disk type='file' device='disk'><source file='/x'/><target dev='vda' bus='virtio'/></disk>"
        devices = f"<devices>{disk}</devices><iothreads>3</iothreads>"
        self.off = self.calls.domain_define_xml(domain_xml("off", devices))

    def refusal(self, call: Any, *arguments: Any) -> tuple[int, int, str]:
        """Return code, domain and text of the error that a call ends in."""
        error = self.assertRaises(VirError, call, *arguments)
        return error.code, error.domain, error.message

    def document(self, dom: Any, flags: int = 0) -> str:
        """Return a document without its line ends and indentation."""
        return "".join(line.strip() for line in self.calls.domain_get_xml_desc(dom, flags).splitlines())


class MemoryTests(TuningCase):
    """Memory parameters."""

    def limits(self, flags: int = 0) -> list[Any]:
        """Return the three limits of the running guest."""
        return list(to_dict(self.calls.domain_get_memory_parameters(self.test, 3, flags).params).values())

    def test_live_and_persistent(self) -> None:
        """Each definition has its own; starting anew brings the persistent ones."""
        self.assertEqual(self.limits(), [UNLIMITED] * 3)
        change = self.calls.domain_set_memory_parameters
        change(self.test, [ullong("hard_limit", 4096), ullong("soft_limit", 2048)], LIVE)
        change(self.test, [ullong("soft_limit", 1024)], CONFIG)
        self.assertEqual(self.limits(), [4096, 2048, UNLIMITED])
        self.assertEqual(self.limits(CONFIG), [UNLIMITED, 1024, UNLIMITED])
        shown = "<memtune><hard_limit unit='KiB'>4096</hard_limit><soft_limit unit='KiB'>2048</soft_limit>"
        self.assertIn(shown, self.document(self.test))
        self.calls.domain_destroy(self.test)
        self.assertEqual(self.limits(), [UNLIMITED, 1024, UNLIMITED])

    def test_count(self) -> None:
        """How many there are is asked with none; fewer are the first ones."""
        get = self.calls.domain_get_memory_parameters
        self.assertEqual(get(self.test, 0, 0), ((), 3))
        self.assertEqual([param.field for param in get(self.test, 1, 0).params], ["hard_limit"])
        self.assertEqual(self.refusal(get, self.test, 17, 0), (1, 7, "internal error: nparams too large"))

    def test_order_of_limits(self) -> None:
        """With swap it may not be less than without; of a later change too, the present ones count."""
        change = self.calls.domain_set_memory_parameters
        text = "memory hard_limit tunable value must be lower than or equal to swap_hard_limit"
        wrong = (8, c.VIR_FROM_TEST, f"invalid argument: {text}")
        self.assertEqual(self.refusal(change, self.test, [ullong("swap_hard_limit", 10)], 0), wrong)
        change(self.test, [ullong("hard_limit", 5), ullong("swap_hard_limit", 8)], LIVE)
        self.assertEqual(self.refusal(change, self.test, [ullong("hard_limit", 9)], CONFIG), wrong)

    def test_no_limit_is_not_printed(self) -> None:
        """Numbers that mean no limit are kept, but no part of the document."""
        self.calls.domain_set_memory_parameters(self.off, [ullong("soft_limit", 2**64 - 1)], 0)
        self.assertNotIn("memtune", self.document(self.off))
        params = self.calls.domain_get_memory_parameters(self.off, 3, 0).params
        self.assertEqual(to_dict(params)["soft_limit"], 2**64 - 1)


class BlockIoTests(TuningCase):
    """Block I/O parameters."""

    def change(self, *params: TypedParam) -> None:
        """Change parameters of the guest that is off."""
        self.calls.domain_set_blkio_parameters(self.off, params, 0)

    def values(self, flags: int = STRINGS) -> dict[str, Any]:
        """Return its parameters."""
        return to_dict(self.calls.domain_get_blkio_parameters(self.off, 6, flags).params)

    def test_devices(self) -> None:
        """A text changes the devices that it names; 0 takes a limit away, but not the device's place."""
        self.change(string("device_weight", "/a,5,/b,6"), uint("weight", 300))
        self.change(string("device_read_bytes_sec", "/b,5000000000"), string("device_weight", "/a,0,/c,7"))
        self.assertEqual(self.values()["device_weight"], "/b,6,/c,7")
        self.change(string("device_weight", "/a,8"))
        self.assertEqual(self.values()["device_weight"], "/a,8,/b,6,/c,7")
        self.assertIn(
            "<device><path>/b</path><weight>6</weight><read_bytes_sec>5000000000", self.document(self.off)
        )

    def test_texts_only_for_who_wants_them(self) -> None:
        """Without the flag only the weight is answered."""
        self.assertEqual(self.values(0), {"weight": 0})

    def test_others_are_set(self) -> None:
        """A parameter that cannot be read does not keep the others from being set."""
        params = [string("device_weight", "/a"), uint("weight", 300)]
        text = "invalid argument: unable to parse blkio device 'device_weight' '/a'"
        self.assertEqual(self.refusal(self.change, *params), (8, c.VIR_FROM_DOMAIN, text))
        self.assertEqual(self.values()["weight"], 300)

    def test_bounds(self) -> None:
        """Devices and paths are bounded, over all calls."""
        self.patch(blkio_tuning, "MAX_DEVICES", 2)
        self.change(string("device_weight", "/a,1,/b,2"))
        self.change(string("device_weight", "/a,3"))
        self.assertEqual(self.refusal(self.change, string("device_weight", "/c,1"))[0], 8)
        self.patch(blkio_tuning, "MAX_DEVICES", 99)
        self.patch(blkio_tuning, "MAX_PATH", 3)
        self.change(string("device_weight", "/cd,1"))
        self.assertEqual(self.refusal(self.change, string("device_weight", "/cde,1"))[0], 8)
        self.assertEqual(self.values()["device_weight"], "/a,3,/b,2,/cd,1")

    def test_long_numbers(self) -> None:
        """A number of a million digits is refused at once."""
        value = "/a," + "9" * 1000000
        self.assertEqual(self.refusal(self.change, string("device_weight", value))[0], 8)


class NumaTests(TuningCase):
    """NUMA parameters."""

    def test_mode_needs_cells(self) -> None:
        """A mode alone is refused while nothing says which cells, then taken; a running guest keeps its."""
        change = self.calls.domain_set_numa_parameters
        mode = [int_("numa_mode", 2)]
        self.assertEqual(self.refusal(change, self.off, mode, 0)[0], 67)
        change(self.off, [string("numa_nodeset", "0,2-3")], 0)
        change(self.off, mode, 0)
        shown = "<numatune><memory mode='interleave' nodeset='0,2-3'/></numatune>"
        self.assertIn(shown, self.document(self.off))
        self.calls.domain_create(self.off)
        text = "Requested operation is not valid: can't change numatune mode for running domain"
        self.assertEqual(
            self.refusal(change, self.off, [int_("numa_mode", 0)], 0), (55, c.VIR_FROM_TEST, text)
        )
        change(self.off, [int_("numa_mode", 0)], CONFIG)
        params = self.calls.domain_get_numa_parameters(self.off, 2, CONFIG | STRINGS).params
        self.assertEqual(to_dict(params), {"numa_mode": 0, "numa_nodeset": "0,2-3"})


class InterfaceTests(TuningCase):
    """Interface parameters."""

    def change(self, **values: int) -> dict[str, Any]:
        """Change rates (``inbound_average``), and return those that are limited."""
        params = [uint(name.replace("_", "."), value) for name, value in values.items()]
        self.calls.domain_set_interface_parameters(self.test, "testnet0", params, 0)
        answer = self.calls.domain_get_interface_parameters(self.test, "aa:bb:cc:dd:ee:ff", 7, 0)
        return {name: value for name, value in to_dict(answer.params).items() if value}

    def test_directions(self) -> None:
        """A direction is replaced where its average or floor is given, and else left alone."""
        rates = {"inbound.average": 5, "inbound.peak": 6}
        self.assertEqual(self.change(inbound_average=5, inbound_peak=6), rates)
        self.assertEqual(self.change(inbound_peak=7, outbound_burst=1), rates)
        self.assertEqual(self.change(outbound_average=8), rates | {"outbound.average": 8})
        self.assertEqual(self.change(inbound_floor=9), {"inbound.floor": 9, "outbound.average": 8})
        self.assertEqual(self.change(inbound_average=0, outbound_average=0), {})
        self.assertIn("<bandwidth></bandwidth>", self.document(self.test))

    def test_unknown(self) -> None:
        """No such interface."""
        get = self.calls.domain_get_interface_parameters
        text = "invalid argument: 'eth9' is not a known interface"
        self.assertEqual(self.refusal(get, self.test, "eth9", 7, 0), (8, c.VIR_FROM_DOMAIN, text))
        self.assertEqual(get(self.test, "eth9", 0, 0), ((), 7))


class DiskTests(TuningCase):
    """Block I/O tune."""

    def change(self, *params: TypedParam) -> None:
        """Change limits of the disk."""
        self.calls.domain_set_block_io_tune(self.test, "vda", params, 0)

    def test_burst_first(self) -> None:
        """An average needs a maximum that is not below it."""
        text = "invalid argument: total_bytes_sec cannot be set higher than total_bytes_sec_max "
        refused = self.refusal(self.change, ullong("total_bytes_sec", 5))
        self.assertEqual(refused, (8, c.VIR_FROM_TEST, text))
        self.change(ullong("total_bytes_sec_max", 5), ullong("total_bytes_sec", 5), string("group_name", "g"))
        shown = "<iotune><total_bytes_sec>5</total_bytes_sec><total_bytes_sec_max>5</total_bytes_sec_max>"
        self.assertIn(f"{shown}<group_name>g</group_name></iotune>", self.document(self.test))
        answer = self.calls.domain_get_block_io_tune(self.test, "/guest/diskimage1", 20, STRINGS)
        self.assertEqual(to_dict(answer.params)["total_bytes_sec"], 5)

    def test_total_or_parts(self) -> None:
        """Not both; what was refused has changed nothing."""
        self.change(ullong("total_iops_sec_max", 5))
        text = "invalid argument: total and read/write of iops_sec_max cannot be set at the same time"
        self.assertEqual(self.refusal(self.change, ullong("read_iops_sec_max", 5))[2], text)
        self.assertNotIn("read_iops_sec_max", self.document(self.test))

    def test_bounds(self) -> None:
        """Limits and names of groups."""
        text = "argument unsupported: block I/O throttle limit value must be no more than 1000000000000000"
        refused = self.refusal(self.change, ullong("size_iops_sec", 10**15 + 1))
        self.assertEqual(refused, (74, c.VIR_FROM_TEST, text))
        long = string("group_name", "g" * (disk_tuning.MAX_GROUP + 1))
        self.assertEqual(self.refusal(self.change, long)[0], 8)


class PerfTests(TuningCase):
    """Performance events."""

    def test_events(self) -> None:
        """They stand in the document in libvirt's order, whichever was set first."""
        self.calls.domain_set_perf_events(self.test, [boolean("page_faults", True)], 0)
        self.calls.domain_set_perf_events(self.test, [boolean("cmt", False), boolean("mbmt", True)], 0)
        values = to_dict(self.calls.domain_get_perf_events(self.test, 0))
        self.assertEqual(len(values), 22)
        self.assertEqual([name for name, on in values.items() if on], ["mbmt", "page_faults"])
        shown = "<event name='cmt' enabled='no'/><event name='mbmt' enabled='yes'/><event name='page_faults'"
        self.assertIn(shown, self.document(self.test))


class IoThreadTests(TuningCase):
    """IO threads."""

    def ids(self) -> list[int]:
        """Return the threads of the guest that is off."""
        return [thread.iothread_id for thread in self.calls.domain_get_iothread_info(self.off, 0).info]

    def statistics(self, dom: Any) -> dict[str, Any]:
        """Return the statistics of a guest's threads."""
        (record,) = self.calls.connect_get_all_domain_stats([dom], c.VIR_DOMAIN_STATS_IOTHREAD, 0)
        return to_dict(record.params)

    def test_counted_threads_get_names(self) -> None:
        """Threads that are only counted are named as soon as their numbers no longer follow."""
        self.assertEqual(self.ids(), [1, 2, 3])
        self.calls.domain_add_iothread(self.off, 9, 0)
        self.assertIn("<iothreads>4</iothreads><iothreadids><iothread id='1'/>", self.document(self.off))
        self.calls.domain_del_iothread(self.off, 9, 0)
        self.assertNotIn("iothreadids", self.document(self.off))
        self.calls.domain_del_iothread(self.off, 2, 0)
        shown = "<iothreads>2</iothreads><iothreadids><iothread id='1'/><iothread id='3'/></iothreadids>"
        self.assertIn(shown, self.document(self.off))
        self.assertEqual(self.ids(), [1, 3])

    def test_pinning(self) -> None:
        """Shown in the order of threads; a thread that goes takes its pinning along."""
        self.calls.domain_pin_iothread(self.off, 3, b"\x05", 0)
        self.calls.domain_pin_iothread(self.off, 1, b"\x02", 0)
        pins = "<iothreadpin iothread='1' cpuset='1'/><iothreadpin iothread='3' cpuset='0,2'/>"
        self.assertIn(pins, self.document(self.off))
        maps = [thread.cpumap for thread in self.calls.domain_get_iothread_info(self.off, 0).info]
        self.assertEqual(maps, [b"\x02", b"\x03", b"\x05"])
        self.calls.domain_del_iothread(self.off, 1, 0)
        self.assertNotIn("<iothreadpin iothread='1'", self.document(self.off))

    def test_polling(self) -> None:
        """Threads that calls added are in the statistics while the guest runs."""
        self.assertEqual(self.statistics(self.test), {})
        self.calls.domain_add_iothread(self.test, 5, 0)
        params = [ullong("poll_max_ns", 7), uint("poll_shrink", 8)]
        self.calls.domain_set_iothread_params(self.test, 5, params, 0)
        figures = {"iothread.5.poll-max-ns": 7, "iothread.5.poll-grow": 0, "iothread.5.poll-shrink": 8}
        self.assertEqual(self.statistics(self.test), {"iothread.count": 1, **figures})
        self.calls.domain_destroy(self.test)
        self.assertEqual(self.statistics(self.test), {})

    def test_polling_of_a_document_s_thread(self) -> None:
        """Can be changed too, where libvirt fails without a reason."""
        self.calls.domain_create(self.off)
        self.calls.domain_set_iothread_params(self.off, 2, [uint("poll_grow", 3)], 0)
        self.assertEqual(self.statistics(self.off)["iothread.2.poll-grow"], 3)

    def test_bounds(self) -> None:
        """A guest gets a bounded number by calls; taking one away makes room."""
        self.patch(iothreads, "MAX_POLLING", 1)
        self.calls.domain_add_iothread(self.off, 9, 0)
        self.assertEqual(self.refusal(self.calls.domain_add_iothread, self.off, 10, 0)[0], 8)
        self.calls.domain_del_iothread(self.off, 9, 0)
        self.calls.domain_add_iothread(self.off, 10, 0)
        self.assertEqual(self.ids(), [1, 2, 3, 10])
