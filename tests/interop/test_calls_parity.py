"""Sequences of calls to libvirtd's test driver and to ours: tuning, guests, IO threads, CPU baselines.

Each sequence goes over one connection to each daemon, and every answer is compared: values, errors with all
their fields, and the documents that come of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.cpu.x86_models import FEATURES, X86_MODELS
from remotevirt.stubs import remote
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.typed_params import boolean, int_, string, uint, ullong
from tests.interop.pair import Outcome, Pair, arguments, outcome_of
from tests.interop.test_wire_parity import Differences, label
from tests.wire import REMOTE, WireClient

Call = tuple[Any, ...]
"""A procedure's name, and the fields of its arguments."""

TEST = NonnullDomain("test", bytes.fromhex("6695eb01f6a4830479aa97f2502e193f"), 1)
GUEST = NonnullDomain("guest", bytes.fromhex("11111111222233334444555555555555"), -1)
GONE = NonnullDomain("gone", bytes.fromhex("99999999222233334444555555555555"), -1)

LIVE, CONFIG, STRINGS = 1, 2, 4


def document(extra: str = "", devices: str = "", vcpu: str = "<vcpu>2</vcpu>") -> str:
    """The document of the guest."""
    return (
        "<domain type='test'><name>guest</name><uuid>11111111-2222-3333-4444-555555555555</uuid>"
        f"<memory>65536</memory>{vcpu}{extra}<os><type>hvm</type></os><devices>{devices}</devices></domain>"
    )


def define(*parts: str) -> Call:
    """Define the guest."""
    return ("domain_define_xml", document(*parts))


def documents(dom: NonnullDomain = TEST) -> list[Call]:
    """Ask for the live and the persistent document."""
    return [("domain_get_xml_desc", dom, 0), ("domain_get_xml_desc", dom, 2)]


def texts(name: str, *values: str) -> list[list[TypedParam]]:
    """One list of parameters for each text."""
    return [[string(name, value)] for value in values]


def memory() -> Iterator[Call]:
    """Memory parameters."""
    get, change = "domain_get_memory_parameters", "domain_set_memory_parameters"
    for count in (0, 1, 3, 16, 17, -1):
        for flags in (0, LIVE, CONFIG, LIVE | CONFIG, 8):
            yield (get, TEST, count, flags)
    hard, soft, swap = "hard_limit", "soft_limit", "swap_hard_limit"
    for params in (
        [],
        [ullong(hard, 4096)],
        [uint(hard, 1)],
        [ullong("min_guarantee", 1)],
        [ullong(hard, 5000), ullong(swap, 4000)],
        [ullong(soft, 2**64 - 1)],
        [ullong(swap, 2**53 - 1)],
        [ullong(hard, 2**53)],
        [ullong(soft, 1), ullong(soft, 1)],
    ):
        for flags in (0, CONFIG, LIVE | CONFIG, 4):
            yield (change, TEST, params, flags)
    yield from documents()
    yield (change, TEST, [ullong(hard, 2**53 - 1), ullong(swap, 2**53 - 1)], LIVE)
    yield (change, TEST, [ullong(hard, 2**64 - 1)], CONFIG)
    yield (get, GONE, 0, 0)
    yield (get, GONE, 3, 0)
    yield (change, GONE, [ullong(hard, 1)], 0)


def block_io() -> Iterator[Call]:
    """Block I/O parameters."""
    get, change = "domain_get_blkio_parameters", "domain_set_blkio_parameters"
    for count in (0, 1, 6, 17):
        for flags in (0, STRINGS, STRINGS | CONFIG, 8):
            yield (get, TEST, count, flags)
    weights = (
        *("/dev/sda,300", "/dev/sda,300,/dev/sdb,400", "/dev/sda", "/dev/sda,abc", "", ",5", "/a,,", "/a,1,"),
        *(
            "/a,-1",
            "/a,4294967296",
            "/a,5,/a,6",
            "/dev/sda,0",
            "a b,200",
            "/z, 5",
            "/z,5 ",
            "/z,0x10",
            "/z,+5",
        ),
    )
    for params in (
        *([uint("weight", weight)] for weight in (500, 5, 0)),
        [int_("weight", 1)],
        [uint("bogus", 1)],
        [uint("weight", 600), string("device_weight", "/a"), string("device_read_iops_sec", "/q,7")],
        *texts("device_weight", *weights),
        *texts("device_read_bytes_sec", "/dev/sda,5000000000"),
        *texts("device_read_iops_sec", "/dev/sda,5000000000"),
    ):
        yield (change, TEST, params, 0)
    yield (change, TEST, [uint("weight", 700)], CONFIG)
    yield (get, TEST, 6, STRINGS)
    yield (get, TEST, 6, STRINGS | CONFIG)
    yield from documents()


def numa() -> Iterator[Call]:
    """NUMA parameters."""
    get, change = "domain_get_numa_parameters", "domain_set_numa_parameters"
    nodesets = texts("numa_nodeset", "", "abc", "17000", "0,3,^0", "0-1", "0,^0")
    modes = [[int_("numa_mode", mode)] for mode in (-1, 0, 1, 3, 4)]
    both = [[string("numa_nodeset", "0,2"), int_("numa_mode", 2)], [uint("numa_mode", 1)], []]
    yield (change, TEST, [int_("numa_mode", 2)], 0)
    for tune in ("", "<memory mode='strict' nodeset='0-1'/>", "<memory mode='preferred' placement='auto'/>"):
        yield define(f"<numatune>{tune}</numatune>" if tune else "")
        for params in (*nodesets, *modes, *both):
            yield (change, GUEST, params, 0)
            yield (get, GUEST, 2, STRINGS)
        yield ("domain_get_xml_desc", GUEST, 0)
        yield ("domain_create", GUEST)
        for params in (*modes, *nodesets):
            yield (change, GUEST, params, 0)
            yield (change, GUEST, params, CONFIG)
        yield from documents(GUEST)
        yield ("domain_destroy", GUEST)
    for count in (0, 1, 17):
        yield (get, TEST, count, STRINGS)


def interfaces() -> Iterator[Call]:
    """Interface parameters."""
    get, change = "domain_get_interface_parameters", "domain_set_interface_parameters"
    for device in ("testnet0", "aa:bb:cc:dd:ee:ff", "AA:BB:CC:DD:EE:FF", "", "nodev", "aa:bb:cc:dd:ee:f"):
        for flags in (0, LIVE | CONFIG, 8):
            yield (get, TEST, device, 7, flags)
    for name in ("average", "peak", "burst", "floor"):
        for way in ("inbound", "outbound"):
            yield (change, TEST, "testnet0", [uint(f"{way}.{name}", 100)], 0)
            yield (get, TEST, "testnet0", 7, 0)
            yield ("domain_get_xml_desc", TEST, 0)
    for values in (
        {"inbound.average": 0},
        {"outbound.average": 0},
        {"inbound.average": 5, "inbound.peak": 6, "inbound.burst": 7, "inbound.floor": 8},
        {"inbound.floor": 3, "outbound.peak": 2},
        {"inbound.average": 0, "inbound.floor": 0},
        {"bogus": 1},
    ):
        for flags in (0, CONFIG):
            yield (change, TEST, "testnet0", [uint(name, value) for name, value in values.items()], flags)
            yield from documents()
    for count in (0, 1, 17):
        yield (get, TEST, "testnet0", count, 0)


def disks() -> Iterator[Call]:
    """Block I/O tune."""
    get, change = "domain_get_block_io_tune", "domain_set_block_io_tune"
    for disk in (None, "", "vda", "/guest/diskimage1", "nodev"):
        for count in (0, 6, 20, 33):
            yield (get, TEST, disk, count, STRINGS)
    for name in ("total_bytes_sec", "write_iops_sec"):
        for suffix, value in (
            *(("", 5), ("_max", 5), ("", 5), ("_max_length", 5), ("", 0), ("_max", 0)),
            *(("_max_length", 10**15), ("_max_length", 10**15 + 1), ("_max", 2**64 - 1), ("_max", 9)),
        ):
            yield (change, TEST, "vda", [ullong(name + suffix, value)], 0)
        yield (get, TEST, "vda", 20, STRINGS)
    for params in (
        [],
        [uint("size_iops_sec", 1)],
        [string("group_name", "a<b")],
        [ullong("read_bytes_sec_max", 9)],
        [ullong("total_bytes_sec_max", 1), ullong("read_bytes_sec_max", 9)],
        [ullong("size_iops_sec", 9), string("group_name", "")],
    ):
        for flags in (0, CONFIG, LIVE | CONFIG):
            yield (change, TEST, "vda", params, flags)
    yield from documents()
    yield (get, TEST, "vda", 20, 0)


def perf() -> Iterator[Call]:
    """Performance events."""
    for params in ([], [boolean("cmt", 1)], [int_("cmt", 1)], [boolean("x", 1)], [boolean("page_faults", 0)]):
        for flags in (0, CONFIG, LIVE | CONFIG, 4):
            yield ("domain_set_perf_events", TEST, params, flags)
    for flags in (0, CONFIG, LIVE | CONFIG, 8):
        yield ("domain_get_perf_events", TEST, flags)
    yield from documents()


def iothreads() -> Iterator[Call]:
    """IO threads."""
    add, drop, info = "domain_add_iothread", "domain_del_iothread", "domain_get_iothread_info"
    pin, tune, stats = "domain_pin_iothread", "domain_set_iothread_params", "connect_get_all_domain_stats"
    statistics = (stats, [TEST], 128, 0)
    for number, flags in ((0, 0), (1, 3), (1, 4), (1, 0), (1, 0), (5, 2), (4294967295, 0)):
        yield (add, TEST, number, flags)
    yield statistics
    for number, cpumap in ((1, b"\3"), (1, b""), (1, b"\0"), (9, b"\1"), (1, b"\0\0\0\x80")):
        yield (pin, TEST, number, cpumap, 0)
    for params in (
        [],
        [ullong("poll_max_ns", 2**63)],
        [uint("poll_max_ns", 5)],
        [uint("poll_grow", 2**32 - 1), uint("poll_shrink", 3)],
        [uint("thread_pool_min", 3)],
    ):
        yield (tune, TEST, 1, params, 0)
        yield (tune, TEST, 5, params, 0)
        yield (tune, TEST, 1, params, CONFIG)
    yield statistics
    for flags in (0, LIVE, CONFIG, LIVE | CONFIG):
        yield (info, TEST, flags)
    yield from documents()
    for number, flags in ((0, 0), (9, 0), (1, 2), (5, 2), (1, 0)):
        yield (drop, TEST, number, flags)
    yield statistics
    ids = "<iothreadids><iothread id='7'/><iothread id='2' thread_pool_max='4'/></iothreadids>"
    sched = "<iothreadsched iothreads='2,7' scheduler='fifo' priority='3'/>"
    tuning = f"<cputune><iothreadpin iothread='7' cpuset='1'/>{sched}</cputune>"
    uses = (
        "<disk type='file' device='disk'><driver name='qemu' iothread='7'/><source file='/x'/>"
        "<target dev='vda' bus='virtio'/></disk>"
        "<controller type='scsi' model='virtio-scsi'><driver iothread='2'/></controller>"
    )
    for definition in (
        define(f"<iothreads>4</iothreads>{ids}{tuning}", uses),
        define("<iothreads>3</iothreads>"),
        define("<iothreads>2</iothreads><cputune><iothreadpin iothread='2' cpuset='1,3'/></cputune>"),
        define("<iothreads>2</iothreads>", "", "<vcpu cpuset='0-4' current='1'>3</vcpu>"),
    ):
        yield definition
        for call in (
            *((drop, GUEST, number, 0) for number in (7, 2, 1)),
            (add, GUEST, 9, 0),
            (pin, GUEST, 3, b"\5", 0),
            (drop, GUEST, 9, 0),
        ):
            yield call
            yield (info, GUEST, 0)
            yield ("domain_get_xml_desc", GUEST, 0)


def guests() -> Iterator[Call]:
    """Keys, signals, file systems, passwords, memory."""
    for state in ("running", "domain_suspend", "domain_destroy"):
        if state != "running":
            yield (state, TEST)
        for codeset in (0, 9, 10, 2**32 - 1):
            for keys in ([], [30], [0], [30, 999], [1] * 16):
                yield ("domain_send_key", TEST, codeset, 0, keys, 0)
        yield ("domain_inject_nmi", TEST, 0)
        yield ("domain_inject_nmi", TEST, 1)
        for pid, signal in ((0, 1), (1, 9), (1, 64), (1, 65), (1, 2**32 - 1), (-1, 15), (42, 1)):
            yield ("domain_send_process_signal", TEST, pid, signal, 0)
        for points in ([], ["/"], ["/", "/x"], ["/boot", "/boot"], [""]):
            yield ("domain_fsfreeze", TEST, points, 0)
            yield ("domain_fsthaw", TEST, points[:1], 0)
        for point in (None, "", "/", "/nosuch"):
            yield ("domain_fstrim", TEST, point, 1024, 0)
        yield ("domain_get_fsinfo", TEST, 0)
        for user, password in ((None, "x"), ("root", None), ("root", "x")):
            yield ("domain_set_user_password", TEST, user, password, 1)
        for offset, size in ((0, 0), (250, 300), (2**64 - 1, 8), (0, 4194305)):
            for flags in (0, 1, 3, 4):
                yield ("domain_memory_peek", TEST, offset, size, flags)
        for path in ("", "vda"):
            yield ("domain_block_peek", TEST, path, 0, 16, 0)
        yield ("domain_get_security_label_list", TEST)
        yield ("domain_get_launch_security_info", TEST, 0)
        for params in ([], [string("sev-secret", "x")]):
            yield ("domain_set_launch_security_state", TEST, params, 0)


def addresses() -> Iterator[Call]:
    """Addresses of interfaces."""
    networks = (
        "<ip address='10.1.2.1' netmask='255.255.0.0'/>",
        "<ip address='10.2.0.1' prefix='28'><dhcp><range start='10.2.0.5' end='10.2.0.9'/></dhcp></ip>",
        "<ip family='ipv6' address='fd00::fff8' prefix='64'/>",
        "<ip address='255.255.255.250' prefix='8'/>",
    )
    for number, ip in enumerate(networks):
        uuid = f"<uuid>22222222-2222-3333-4444-55555555555{number}</uuid>"
        yield ("network_create_xml", f"<network><name>n{number}</name>{uuid}{ip}</network>")
    cards = "".join(
        f"<interface type='network'><mac address='52:54:00:00:00:0{number}'/>"
        f"<source network='{name}'/></interface>"
        for number, name in enumerate(("n0", "n1", "n2", "n3", "default"))
    )
    bridge = (
        "<interface type='bridge'><mac address='52:54:00:00:01:01'/><source bridge='br0'/>"
        "<target dev='t0'/></interface>"
    )
    lost = "<interface type='network'><mac address='52:54:00:00:02:01'/><source network='no'/></interface>"
    for devices in (cards, bridge + cards, bridge + lost, bridge * 3, ""):
        yield ("domain_create_xml", document("", devices), 0)
        for source in (0, 1, 2, 3, 2**32 - 1):
            yield ("domain_interface_addresses", GUEST, source, 0)
        yield ("domain_destroy", GUEST)
        yield ("domain_interface_addresses", GUEST, 3, 0)
    yield ("domain_interface_addresses", TEST, 0, 1)


def host() -> Iterator[Call]:
    """Calls about the host."""
    for sizes, counts, cells in (([2048], [1], 1), ([], [], 1), ([2048], [], 1), ([2048], [1], 0)):
        yield ("node_alloc_pages", sizes, counts, 0, cells, 0)
        yield ("node_get_free_pages", sizes, 0, cells, 0)
    yield ("node_get_free_pages", [4], 0, 2000, 0)
    yield ("node_set_memory_parameters", [], 0)
    yield ("node_set_memory_parameters", [uint("shm_pages_to_scan", 100)], 0)
    for count in (0, 64, 65, -1):
        yield ("node_get_memory_parameters", count, 0)
    secret = remote.NonnullSecret(bytes(16), 0, "x")
    yield ("secret_set_value", secret, b"", 0)
    yield ("secret_set_value", secret, b"value", 0)


def cpu(arch: str, model: str, features: Any = (), vendor: str | None = None, extra: str = "") -> str:
    """The document of a host's CPU."""
    maker = f"<vendor>{vendor}</vendor>" if vendor else ""
    having = "".join(f"<feature name='{feature}'/>" for feature in features)
    return f"<cpu><arch>{arch}</arch><model>{model}</model>{maker}{extra}{having}</cpu>"


def odd_cpus() -> Iterator[Call]:
    """CPU documents that are wrong, or of other architectures."""
    penryn = cpu("x86_64", "Penryn")
    for documents in (
        *(
            [],
            [""],
            ["<cpu"],
            ["<x/>"],
            ["<cpu/>"],
            ["<cpu mode='custom'/>"],
            ["<cpu><arch>x86_64</arch></cpu>"],
        ),
        *([cpu("foo", "x")], [cpu("x86_64", "NoSuch")], [cpu("x86_64", "Penryn", ["bogus"])]),
        *([cpu("x86_64", "Penryn", ["vmx", "vmx"])], [cpu("x86_64", "Penryn", [""])], [penryn, "<cpu"]),
        *([cpu("x86_64", "Penryn", [], vendor)] for vendor in ("Intel", "AMD", "Bogus")),
        [cpu("x86_64", "Penryn", [], "Intel"), cpu("x86_64", "Opteron_G2")],
        [penryn, cpu("x86_64", "Opteron_G2", [], "Intel")],
        [penryn, cpu("ppc64", "POWER8")],
        *([cpu("aarch64", "x", ["a"])], [cpu("s390x", "z13")], [cpu("mips", "x")], [cpu("ppc64", "foo")]),
        *([cpu("ppc64", "POWER8"), cpu("ppc64", model, [], "IBM")] for model in ("POWER8", "POWER9")),
        *([cpu("ppc64", "POWERPC_e5500", [], vendor)] for vendor in ("IBM", "Freescale", "Intel")),
        *(
            [cpu("x86_64", "Penryn", [], None, extra)]
            for extra in (
                "<topology sockets='0' cores='1' threads='1'/>",
                "<microcode version='x'/>",
                "<signature/>",
                "<counter name='tsc' frequency='x'/>",
                "<cache/>",
                "<maxphysaddr mode='x'/>",
            )
        ),
    ):
        yield ("connect_baseline_cpu", documents, 0)
    yield ("connect_baseline_cpu", [penryn], 2)
    yield ("connect_baseline_hypervisor_cpu", None, None, None, None, [], 0)
    yield ("connect_baseline_hypervisor_cpu", None, None, None, None, [penryn], 0)


def cpus() -> Iterator[Call]:
    """Every model alone, and any models and features together."""
    names = list(X86_MODELS)
    for name in names:
        yield ("connect_baseline_cpu", [cpu("x86_64", name)], 1)
    chance = random.Random(20221)
    for _ in range(300):
        hosts = [
            cpu(
                chance.choice(("x86_64", "i686")),
                chance.choice(names),
                chance.sample(FEATURES, chance.choice((0, 1, 10, 30))),
                chance.choice((None, None, "Intel", "AMD", "Hygon")),
            )
            for _ in range(chance.choice((1, 2, 3)))
        ]
        yield ("connect_baseline_cpu", hosts, chance.choice((0, 0, 1)))


class SequenceTests(SynchronousTestCase):
    """Each sequence of calls has the same answers."""

    def setUp(self) -> None:
        self.pair = Pair(self)
        self.differences = Differences(self)

    def compare(self, sequence: Callable[[], Iterable[Call]]) -> None:
        """Make the calls of a sequence, on one connection to each daemon, and compare the answers."""
        calls = list(sequence())

        def exchange(client: WireClient) -> list[Outcome]:
            client.open()
            answers = []
            for name, *fields in calls:
                number = remote.PROGRAM.by_name[name].number
                answers.append(outcome_of(client.call(REMOTE, number, arguments(name, *fields))))
            return answers

        libvirtd, ours = self.pair.each(exchange)
        for step, (call, theirs, own) in enumerate(zip(calls, libvirtd, ours, strict=True)):
            self.differences.compare(f"{sequence.__name__} {step}: {label(*call)}", (theirs, own))

    def test_tuning(self) -> None:
        """Parameters of memory, block I/O, NUMA, interfaces and disks; events; IO threads."""
        for sequence in (memory, block_io, numa, interfaces, disks, perf, iothreads):
            self.compare(sequence)
        self.differences.check()

    def test_guests(self) -> None:
        """What is done to a guest that runs, is paused, or is off; its addresses on networks of all kinds."""
        for sequence in (addresses, guests):
            self.compare(sequence)
        self.differences.check()

    def test_host(self) -> None:
        """Pages, memory tuning, secrets; CPU baselines, of hundreds of combinations."""
        for sequence in (host, odd_cpus, cpus):
            self.compare(sequence)
        self.differences.check()
