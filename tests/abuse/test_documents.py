"""Documents made to cost as much as possible, while somebody else uses the daemon."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice, product

from remotevirt.stubs.remote import PROGRAM
from remotevirt.xml.parse import MAX_ATTRIBUTES, MAX_BYTES, MAX_ELEMENTS
from tests.abuse.attack import (
    ANSWER_SECONDS,
    DEFINE_XML,
    GET_XML,
    AbuseTestCase,
    Neighbour,
    define,
    error_of,
)
from tests.wire import REMOTE, pack_string

(
    NETWORK_DEFINE,
    NETWORK_GET_XML,
    NETWORK_UPDATE,
    POOL_DEFINE,
    INTERFACE_DEFINE,
    DEVICE_CREATE,
    CREATE,
    SET_METADATA,
    LIST_DOMAINS,
    ALL_STATS,
) = (
    PROGRAM.by_name[name].number
    for name in (
        "network_define_xml",
        "network_get_xml_desc",
        "network_update",
        "storage_pool_define_xml",
        "interface_define_xml",
        "node_device_create_xml",
        "domain_create",
        "domain_set_metadata",
        "connect_list_all_domains",
        "connect_get_all_domain_stats",
    )
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DISKS = "".join(
    f"<disk type='file'><source file='/{name}'/><target dev='vd{name}' bus='virtio'/></disk>"
    for name in map("".join, islice(product(LETTERS, repeat=3), 2000))
)
"""As many disks as a guest may have, nearly."""

NEIGHBOUR_SECONDS = 1.0
"""The longest that a neighbour's call may take while a long document is worked on, on a machine with other
things to do. The interpreter lets the reactor have its turn every 5 ms; what takes longer is a collection of
garbage. Worked on in the reactor, the costliest would take two seconds and more."""


def domain(devices: str = "", more: str = "") -> str:
    """A guest's document."""
    return (
        "<domain type='test'><name>bomb</name><memory>1000</memory><os><type>hvm</type></os>"
        f"{more}<devices>{devices}</devices></domain>"
    )


def network(content: str) -> str:
    """A network's document."""
    return f"<network><name>bomb</name>{content}</network>"


def many(count: int, form: str) -> str:
    """A form filled in with numbers."""
    return "".join(form.replace("#", str(number)) for number in range(count))


def spread(count: int, form: str) -> str:
    """A form filled in with two bytes of numbers, as addresses want them."""
    return "".join(
        form.replace("#", str(number >> 8)).replace("%", str(number & 255)) for number in range(count)
    )


def bombs() -> Iterator[tuple[str, int, str]]:
    """What it is, the procedure that is called, and the document."""
    entities = many(60, "<!ENTITY e# '&x;&x;'>")
    yield "entities", DEFINE_XML, f"<!DOCTYPE d [{entities}]>" + domain()
    quadratic = f"<!DOCTYPE d [<!ENTITY a '{'x' * 100_000}'>]><domain>{'&a;' * 100_000}</domain>"
    yield "quadratic entities", DEFINE_XML, quadratic
    yield "an entity of the host", DEFINE_XML, "<!DOCTYPE d SYSTEM 'file:///etc/passwd'>" + domain()
    yield "nesting", DEFINE_XML, "<a>" * 200_000 + "</a>" * 200_000
    yield "100,000 attributes", DEFINE_XML, domain("<x " + many(100_000, "a#='' ") + "/>")
    yield "too many attributes", DEFINE_XML, domain("<x " + many(MAX_ATTRIBUTES + 1, "a#='' ") + "/>")
    yield "100,000 namespaces", DEFINE_XML, domain("<x " + many(100_000, "xmlns:a#='' ") + "/>")
    yield "20,000 disks", DEFINE_XML, domain(many(20_000, "<disk><target dev='vda'/></disk>"))
    yield "2,000 disks", DEFINE_XML, domain(DISKS)
    scsi = "<address bus='0' target='0' unit='#'/>"
    host = f"<hostdev mode='subsystem' type='scsi'><source><adapter name='h'/>{scsi}</source></hostdev>"
    yield "2,000 devices of the host", DEFINE_XML, domain(many(2000, host))
    yield "2,000 serial ports", DEFINE_XML, domain("<serial type='pty'/>" * 2000)
    yield "2,000 controllers", DEFINE_XML, domain("<controller type='scsi'/>" * 2000)
    yield "elements without meaning", DEFINE_XML, domain("", "<a/>" * (MAX_ELEMENTS - 20))
    yield "comments", DEFINE_XML, domain("", "<!---->" * (MAX_ELEMENTS - 20))
    yield "comments in front", DEFINE_XML, "<!---->" * (MAX_ELEMENTS - 20) + domain()
    yield "comments that do not end", DEFINE_XML, "<!--" * (MAX_BYTES // 5)
    yield "instructions that do not end", DEFINE_XML, "<?a " * (MAX_BYTES // 5)
    yield "white space", DEFINE_XML, " " * (MAX_BYTES - 1000) + domain()
    yield "a declaration", DEFINE_XML, "<?xml " + "encoding " * (MAX_BYTES // 10)
    yield "a long text", DEFINE_XML, domain("", f"<title>{'x' * (MAX_BYTES - 1000)}</title>")
    yield "references", DEFINE_XML, domain("", f"<description>{'&amp;' * 600_000}</description>")
    backing = "<backingStore type='file'><format type='raw'/><source file='/x'/>"
    chain = backing * 240 + "</backingStore>" * 240
    yield "a deep chain", DEFINE_XML, domain(f"<disk><source file='/a'/><target dev='vda'/>{chain}</disk>")
    yield (
        "hosts of a disk",
        DEFINE_XML,
        domain(
            "<disk type='network'><source protocol='rbd' name='a'>"
            + "<host name='a' port='1'/>" * 28_000
            + "</source><target dev='vda'/></disk>"
        ),
    )
    ip = "<ip family='ipv4' address='10.#.%.1' prefix='8'/>"
    yield (
        "addresses of a card",
        DEFINE_XML,
        domain(f"<interface type='ethernet'>{spread(28_000, ip)}</interface>"),
    )
    yield "a set of CPUs", DEFINE_XML, domain("", f"<vcpu cpuset='0-4095,{many(300_000, '^#,')}1'>4</vcpu>")
    yield "ranges of CPUs", DEFINE_XML, domain("", f"<vcpu cpuset='{'0-999999,' * 300_000}1'>4</vcpu>")
    for number in ("4294967295", "1000000", "16385", "-1", "9" * 100_000):
        yield f"{number[:12]} CPUs", DEFINE_XML, domain("", f"<vcpu>{number}</vcpu>")
        yield f"{number[:12]} KiB", DEFINE_XML, domain().replace(">1000<", f">{number}<")
        yield f"{number[:12]} threads", DEFINE_XML, domain("", f"<iothreads>{number}</iothreads>")
        yield (
            f"cell {number[:12]}",
            DEFINE_XML,
            domain(
                "",
                f"<cpu><numa><cell id='{number[:30]}' cpus='{number[:30]}' memory='1'/></numa></cpu>",
            ),
        )
        yield (
            f"{number[:12]} slots",
            DEFINE_XML,
            domain("", f"<maxMemory slots='{number}'>{number}</maxMemory>"),
        )
        yield (
            f"{number[:12]} queues",
            DEFINE_XML,
            domain(
                f"<controller type='virtio-serial' index='{number}' ports='{number}' vectors='{number}'/>"
                f"<channel type='pty'><target type='virtio'/><address type='virtio-serial' "
                f"controller='{number[:30]}' bus='0' port='{number[:30]}'/></channel>"
            ),
        )
    pin = "<vcpupin vcpu='#' cpuset='0-4095'/>"
    yield "pinned CPUs", DEFINE_XML, domain("", f"<vcpu>29000</vcpu><cputune>{many(29_000, pin)}</cputune>")
    thread = "<iothread id='1#'/>"
    yield (
        "numbered threads",
        DEFINE_XML,
        domain("", f"<iothreadids>{many(29_000, thread)}</iothreadids>"),
    )
    subnet = "<bridge name='b'/><ip address='10.0.0.1' prefix='8'><dhcp>{}</dhcp></ip>"
    lease = "<range start='10.1.#.%' end='10.1.#.%'/>"
    yield "ranges of a network", NETWORK_DEFINE, network(subnet.format(spread(28_000, lease)))
    lease = "<host mac='52:54:00:00:0#:0%' ip='10.2.#.%'/>"
    yield "hosts of a network", NETWORK_DEFINE, network(subnet.format(spread(10, lease) * 2500))
    ways = many(29_000, "<interface dev='e#'/>")
    yield "ways out", NETWORK_DEFINE, network(f"<forward mode='private'>{ways}</forward>")
    yield "port groups", NETWORK_DEFINE, network(many(29_000, "<portgroup name='p#'/>"))
    name = "<host ip='10.1.#.%'><hostname>h</hostname></host>"
    yield "names", NETWORK_DEFINE, network(f"<dns>{spread(14_000, name)}</dns>")
    yield "subnets", NETWORK_DEFINE, network(spread(29_000, "<ip address='10.#.%.1' prefix='24'/>"))
    hosts = "<host name='a' port='1'/>" * 29_000
    yield (
        "hosts of a pool",
        POOL_DEFINE,
        (f"<pool type='rbd'><name>p</name><source>{hosts}<name>x</name></source></pool>"),
    )
    bonds = many(29_000, "<interface type='ethernet' name='e#'/>")
    yield "a bond", INTERFACE_DEFINE, f"<interface type='bond' name='b'><bond>{bonds}</bond></interface>"
    capabilities = "<capability type='scsi_host'><wwnn>1</wwnn></capability>" * 14_000
    yield "capabilities", DEVICE_CREATE, f"<device><parent>computer</parent>{capabilities}</device>"


class DocumentTests(AbuseTestCase):
    """What a document can cost, and whom."""

    fresh = True

    def test_bombs(self) -> None:
        """Each is answered within 4 s of processor time, and a neighbour's calls are answered in between."""
        slow = []
        with self.attack("bombs", slack=160 << 20), Neighbour(self.daemon.unix) as neighbour:
            client = self.client()
            client.socket.settimeout(60)
            for name, procedure, document in bombs():
                payload = define(document)
                if procedure in (POOL_DEFINE, INTERFACE_DEFINE, DEVICE_CREATE):
                    payload += bytes(4)
                neighbour.waits.clear()
                before = self.processor_seconds()
                reply = client.call(REMOTE, procedure, payload)
                spent = self.processor_seconds() - before
                self.assertIn(reply.status, (0, 1), name)
                if reply.status:
                    error = error_of(reply)
                    self.assertNotIn("unexpected failure", error, name)
                    self.assertLessEqual(len(error.encode()), 1024, name)
                worst = neighbour.worst
                if spent > ANSWER_SECONDS or worst > NEIGHBOUR_SECONDS:
                    slow.append(f"{name}: {spent:.2f} s of the processor, a neighbour waited {worst:.2f} s")
            client.close()
        self.assertIsNone(neighbour.failure)
        self.assertEqual(slow, [])
        self.assert_no_bugs()

    def test_long_answers(self) -> None:
        """What a client has stored at its largest is shown, changed and listed without holding anybody up."""
        slow = []
        client = self.client()
        client.socket.settimeout(60)
        guest = client.call(REMOTE, DEFINE_XML, define(domain(DISKS))).payload
        groups = network(many(28_000, "<portgroup name='p#'/>"))
        net = client.call(REMOTE, NETWORK_DEFINE, define(groups)).payload
        for number in range(2000):
            client.send(REMOTE, DEFINE_XML, define(domain().replace("bomb", f"guest{number}")))
        for _ in range(2000):
            self.assertEqual(client.receive().status, 0)
        change = struct.pack(">IIi", 3, 9, -1) + pack_string("<portgroup name='new'/>") + bytes(4)
        calls = {
            "a guest's document": (GET_XML, guest + bytes(4)),
            "a title": (SET_METADATA, guest + struct.pack(">iI", 1, 1) + pack_string("x") + bytes(12)),
            "the document, anew": (GET_XML, guest + bytes(4)),
            "a start": (CREATE, guest),
            "a network's document": (NETWORK_GET_XML, net + bytes(4)),
            "an update of a network": (NETWORK_UPDATE, net + change),
            "all guests": (LIST_DOMAINS, struct.pack(">iI", 1, 0)),
            "all statistics": (ALL_STATS, bytes(12)),
        }
        with Neighbour(self.daemon.unix) as neighbour:
            for name, (procedure, payload) in calls.items():
                neighbour.waits.clear()
                before = self.processor_seconds()
                reply = client.call(REMOTE, procedure, payload)
                spent = self.processor_seconds() - before
                self.assertEqual(reply.status, 0, f"{name}: {reply.payload!r:.300}")
                if spent > ANSWER_SECONDS or neighbour.worst > NEIGHBOUR_SECONDS:
                    slow.append(f"{name}: {spent:.2f} s, a neighbour waited {neighbour.worst:.2f} s")
        self.assertIsNone(neighbour.failure)
        self.assertEqual(slow, [])
        self.assert_serves("long answers")
        self.assert_no_bugs()
