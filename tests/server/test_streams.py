"""Streams: bytes between a client and a driver, in both directions, and every way for one to end."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import DriverStream, Hole, StreamResult
from remotevirt.errors import VirError
from remotevirt.rpc.message import Kind, pack_abort, pack_hole, pack_message, pack_stream, vir_error
from remotevirt.server.limits import STREAM_BURST, STREAM_CHUNK, STREAM_QUEUE_MAXIMUM, STREAMS_MAXIMUM
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.errors import OperationFailed
from remotevirt.stubs.message import StreamHole
from remotevirt.stubs.remote import NonnullStorageVol
from tests.server.fakes import DOMAIN, Client, World

NUMBER = remote.PROGRAM.number
VOLUME = NonnullStorageVol("pool", "vol", "key")
DOWNLOAD = remote.PROGRAM.by_name["storage_vol_download"].number
SPARSE = vir.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM


class Tape(DriverStream):
    """A driver's end that notes what it is told.

    Attributes:
        out: what :meth:`read` returns, one after the other; an exception is raised.
        heard: what it was told, in order.
        answer: what :meth:`write` returns.
    """

    readable = True
    writable = True

    def __init__(self, *out: Any) -> None:
        self.out = deque(out)
        self.heard: list[Any] = []
        self.answer: Any = None

    def read(self, size: int) -> Any:
        item = self.out.popleft() if self.out else b""
        if isinstance(item, Exception):
            raise item
        return item

    def write(self, data: bytes) -> Any:
        self.heard.append(data)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def write_hole(self, length: int) -> Any:
        self.heard.append(Hole(length))

    def finish(self) -> Any:
        self.heard.append("finish")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def abort(self) -> None:
        self.heard.append("abort")


class StreamCase(SynchronousTestCase):
    """A driver with one volume, which is a tape; the console of a domain is another."""

    def setUp(self) -> None:
        self.world = World()
        self.tape = Tape()
        storage: Any = self.world.storage
        storage.storage_vol_download = lambda *args: StreamResult(self.tape, None)
        storage.storage_vol_upload = lambda *args: StreamResult(self.tape, None)
        self.world.hypervisor.domain_screenshot = lambda *args: StreamResult(self.tape, "image/png")
        self.world.hypervisor.connect_get_version = lambda: 7
        self.client = self.world.opened()

    def download(self, *out: Any, flags: int = 0, client: Client | None = None) -> int:
        """Begin a download of what the driver returns; the driver's end is for reading only."""
        self.tape = Tape(*out)
        self.tape.writable = False
        client = client or self.client
        serial = client.begin("storage_vol_download", VOLUME, 0, 0, flags)
        self.assertEqual(Kind.REPLY, client.answer(serial).kind)
        return serial

    def upload(self, flags: int = 0) -> int:
        """Begin an upload; the driver's end is for writing only."""
        self.tape = Tape()
        self.tape.readable = False
        serial = self.client.begin("storage_vol_upload", VOLUME, 0, 0, flags)
        self.assertEqual(Kind.REPLY, self.client.answer(serial).kind)
        return serial

    def put(
        self, serial: int, data: bytes = b"", name: str = "storage_vol_upload", finish: bool = False
    ) -> None:
        """Send a packet of the client's."""
        number = remote.PROGRAM.by_name[name].number
        self.client.send(pack_stream(NUMBER, 1, number, serial, data, finish))

    def finish(self, serial: int, name: str = "storage_vol_upload") -> None:
        """Send the client's finish."""
        self.put(serial, name=name, finish=True)

    def abort(self, serial: int, name: str = "storage_vol_upload") -> None:
        """Send the client's abort."""
        self.client.send(pack_abort(NUMBER, 1, remote.PROGRAM.by_name[name].number, serial))

    def kinds(self) -> list[tuple[Kind, bytes]]:
        """Kinds and payloads of the packets that have come."""
        return [(message.kind, message.payload) for message in self.client.take()]

    def failure(self) -> VirError:
        """The error of the one packet that has come."""
        (message,) = self.client.take()
        self.assertEqual(Kind.STREAM_ABORT, message.kind)
        return vir_error(message.payload)

    def open_streams(self) -> int:
        """How many streams the server holds for the client."""
        return len(self.client.protocol.streams)


class DownloadTests(StreamCase):
    """From the driver to the client."""

    def test_whole(self) -> None:
        """Data, the empty packet that ends it, the client's finish, the server's."""
        serial = self.download(b"one", b"two")
        data, end = Kind.STREAM_DATA, (Kind.STREAM_DATA, b"")
        self.assertEqual([(data, b"one"), (data, b"two"), end], self.kinds())
        self.assertEqual([], self.tape.heard)
        self.finish(serial, "storage_vol_download")
        self.assertEqual([(Kind.STREAM_FINISH, b"")], self.kinds())
        self.assertEqual(["finish"], self.tape.heard)
        self.assertEqual(0, self.open_streams())

    def test_result_of_the_call(self) -> None:
        """The reply carries what the procedure returns besides the stream."""
        self.tape = Tape(b"png")
        serial = self.client.begin("domain_screenshot", DOMAIN, 0, 0)
        reply = self.client.answer(serial)
        self.assertEqual(("image/png",), remote.DomainScreenshotRet.unpack(reply.payload, 0)[0])
        self.assertEqual([(Kind.STREAM_DATA, b"png"), (Kind.STREAM_DATA, b"")], self.kinds())

    def test_driver_that_takes_its_time(self) -> None:
        """What it returns may come later; other calls are answered meanwhile."""
        later: Deferred[bytes] = Deferred()

        async def coroutine() -> bytes:
            return b"second"

        self.download(later, coroutine())
        self.assertEqual([], self.client.take())
        self.assertEqual(7, self.client.result("connect_get_version"))
        later.callback(b"first")
        self.assertEqual([b"first", b"second", b""], [payload for _, payload in self.kinds()])

    def test_sizes(self) -> None:
        """The driver is asked for what a packet holds."""
        asked: list[int] = []

        def read(size: int) -> bytes:
            asked.append(size)
            return b""

        self.patch(Tape, "read", lambda tape, size: read(size))
        self.download()
        self.assertEqual([STREAM_CHUNK], asked)

    def test_slow_client(self) -> None:
        """While the client does not read, the driver is not asked; memory stays bounded."""
        client = self.world.opened(reads=False)
        self.tape = Tape(*[bytes(STREAM_CHUNK)] * 100)
        client.begin("storage_vol_download", VOLUME, 0, 0, 0)
        self.world.turn()
        self.assertLess(len(client.wire.unread), 2 * STREAM_CHUNK)
        self.assertEqual(99, len(self.tape.out))
        client.wire.reads = True
        client.wire.read()
        while self.tape.out:
            before = len(self.tape.out)
            self.world.turn()
            self.assertLess(len(self.tape.out), before)
        self.assertEqual(100 * STREAM_CHUNK, sum(len(message.payload) for message in client.take()))

    def test_others_have_their_turn(self) -> None:
        """A stream that never waits does not keep the reactor: after a burst it waits for the next turn."""
        client = self.world.opened()
        self.download(*[bytes(STREAM_CHUNK)] * 100, client=client)
        self.assertEqual(100 - STREAM_BURST // STREAM_CHUNK, len(self.tape.out))

    def test_holes(self) -> None:
        """In a sparse stream."""
        self.download(b"a", Hole(1 << 40), b"b", flags=SPARSE)
        packets = self.kinds()
        self.assertEqual(
            [Kind.STREAM_DATA, Kind.STREAM_HOLE, Kind.STREAM_DATA, Kind.STREAM_DATA], [k for k, _ in packets]
        )
        self.assertEqual(StreamHole(1 << 40, 0), StreamHole.unpack(packets[1][1], 0)[0])

    def test_drivers_nonsense(self) -> None:
        """A hole nobody asked for, or what is no bytes: an internal error, and the log has it."""
        for wrong in (Hole(5), "text", None, Hole(0)):
            flags = SPARSE if wrong == Hole(0) else 0
            self.download(wrong, flags=flags)
            self.assertEqual(vir.VIR_ERR_INTERNAL_ERROR, self.failure().code)
            self.assertEqual(1, len(self.flushLoggedErrors(TypeError)))
            self.assertEqual(["abort"], self.tape.heard)
        self.assertEqual(0, self.open_streams())

    def test_driver_fails(self) -> None:
        """Its error ends the stream."""
        self.download(b"part", OperationFailed("the disk is gone"))
        data, end = self.client.take()
        self.assertEqual((b"part", Kind.STREAM_ABORT), (data.payload, end.kind))
        self.assertIn("the disk is gone", vir_error(end.payload).message)
        self.assertEqual(["abort"], self.tape.heard)

    def test_data_to_a_stream_for_reading(self) -> None:
        """Ends it, with libvirtd's words."""
        serial = self.download()
        self.kinds()
        self.put(serial, b"xyz", "storage_vol_download")
        error = self.failure()
        self.assertEqual(
            (vir.VIR_ERR_RPC, vir.VIR_FROM_STREAMS, "stream had unexpected termination"),
            (error.code, error.domain, error.message),
        )

    def test_wrong_answer_of_a_driver(self) -> None:
        """A driver that does not give a stream is a bug."""
        storage: Any = self.world.storage
        storage.storage_vol_download = lambda *args: None
        error = self.client.error("storage_vol_download", VOLUME, 0, 0, 0)
        self.assertEqual(vir.VIR_ERR_INTERNAL_ERROR, error.code)
        self.assertEqual(1, len(self.flushLoggedErrors(TypeError)))


class UploadTests(StreamCase):
    """From the client to the driver."""

    def test_whole(self) -> None:
        """Data in order, then the finish, answered when the driver has taken everything."""
        serial = self.upload()
        for data in (b"one", b"two"):
            self.put(serial, data)
        later: Deferred[None] = Deferred()
        self.tape.answer = later
        self.finish(serial)
        self.assertEqual(([b"one", b"two", "finish"], []), (self.tape.heard, self.client.take()))
        later.callback(None)
        self.assertEqual([(Kind.STREAM_FINISH, b"")], self.kinds())
        self.assertEqual(0, self.open_streams())

    def test_slow_driver(self) -> None:
        """It gets one packet at a time; when enough waits, the client is not read from until it goes on."""
        serial = self.upload()
        packet = bytes(256 * 1024)
        waiting: list[Deferred[None]] = []

        def write(tape: Tape, data: bytes) -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.patch(Tape, "write", write)
        sent = 0
        while self.client.wire.reading:
            self.put(serial, packet)
            sent += 1
            self.assertLess(sent * len(packet), 2 * STREAM_QUEUE_MAXIMUM + 2 * len(packet))
        self.assertEqual(1, len(waiting))
        for number in range(sent):
            waiting[number].callback(None)
        self.assertEqual(sent, len(waiting))
        self.assertTrue(self.client.wire.reading)
        self.finish(serial)
        self.assertEqual([(Kind.STREAM_FINISH, b"")], self.kinds())

    def test_many_small_packets(self) -> None:
        """Those that waited are taken in one go, however many; they count for more than their bytes."""
        serial = self.upload()
        first: Deferred[None] = Deferred()
        self.tape.answer = first
        self.put(serial, b"x")
        count = 0
        self.tape.answer = None
        while self.client.wire.reading:
            self.put(serial, b"y")
            count += 1
            self.assertLess(count, STREAM_QUEUE_MAXIMUM // 64)
        first.callback(None)
        self.assertEqual([b"x"] + [b"y"] * count, self.tape.heard)
        self.assertTrue(self.client.wire.reading)

    def test_holes(self) -> None:
        """Of a sparse upload."""
        serial = self.upload(vir.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
        number = remote.PROGRAM.by_name["storage_vol_upload"].number
        self.client.send(pack_hole(NUMBER, 1, number, serial, 4096))
        self.assertEqual([Hole(4096)], self.tape.heard)
        self.client.send(pack_hole(NUMBER, 1, number, serial, -1))
        self.assertEqual(vir.VIR_ERR_RPC, self.failure().code)

    def test_hole_without_leave(self) -> None:
        """Of one that is not."""
        serial = self.upload()
        number = remote.PROGRAM.by_name["storage_vol_upload"].number
        self.client.send(pack_hole(NUMBER, 1, number, serial, 4096))
        self.assertEqual(vir.VIR_ERR_RPC, self.failure().code)
        self.assertEqual(["abort"], self.tape.heard)

    def test_driver_refuses(self) -> None:
        """Data or the finish: its error, once; what still comes is dropped."""
        for data in (b"data", b""):
            serial = self.upload()
            self.tape.answer = OperationFailed("full")
            self.put(serial, data) if data else self.finish(serial)
            self.assertIn("full", self.failure().message)
            self.put(serial, b"more")
            self.finish(serial)
            self.assertEqual([], self.client.take())
            self.assertEqual("abort", self.tape.heard[-1])

    def test_bug_in_a_driver(self) -> None:
        """Is an internal error that says nothing of it."""
        serial = self.upload()
        self.tape.answer = ZeroDivisionError("secret")
        self.put(serial, b"x")
        error = self.failure()
        self.assertEqual(vir.VIR_ERR_INTERNAL_ERROR, error.code)
        self.assertNotIn("secret", error.message)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_nothing_after_the_finish(self) -> None:
        """Data behind it ends the stream."""
        serial = self.upload()
        self.tape.answer = Deferred()
        self.finish(serial)
        self.put(serial, b"late")
        self.assertIn("finish", self.failure().message)


class EndTests(StreamCase):
    """Aborts, nonsense, and clients that go."""

    def test_client_aborts(self) -> None:
        """The server answers with a finish, as libvirtd does, and the driver is told."""
        serial = self.upload()
        self.put(serial, b"x")
        self.abort(serial)
        self.assertEqual([(Kind.STREAM_FINISH, b"")], self.kinds())
        self.assertEqual([b"x", "abort"], self.tape.heard)
        self.abort(serial)
        self.assertEqual([], self.client.take())

    def test_client_aborts_while_the_driver_works(self) -> None:
        """What the driver is at is cancelled."""
        cancelled: list[object] = []
        later: Deferred[bytes] = Deferred(cancelled.append)
        serial = self.download(later)
        self.abort(serial, "storage_vol_download")
        self.assertEqual(([later], ["abort"]), (cancelled, self.tape.heard))
        self.assertEqual([(Kind.STREAM_FINISH, b"")], self.kinds())

    def test_client_vanishes(self) -> None:
        """Every stream is aborted, once."""
        tapes = []
        for _ in range(3):
            self.upload()
            tapes.append(self.tape)
        self.client.vanish()
        self.client.protocol.connectionLost()
        self.assertEqual([["abort"]] * 3, [tape.heard for tape in tapes])

    def test_client_vanishes_before_the_stream_opens(self) -> None:
        """A stream that a driver gives to nobody is aborted."""
        result: Deferred[StreamResult[None]] = Deferred()
        storage: Any = self.world.storage
        storage.storage_vol_download = lambda *args: result
        self.client.begin("storage_vol_download", VOLUME, 0, 0, 0)
        self.client.vanish()
        tape = Tape(b"data")
        result.callback(StreamResult(tape, None))
        self.assertEqual(["abort"], tape.heard)

    def test_unexpected_status(self) -> None:
        """As libvirtd says it."""
        serial = self.download()
        self.kinds()
        self.client.send(pack_message(NUMBER, 1, DOWNLOAD, 3, serial, 7, b"abc"))
        self.assertEqual("stream aborted with unexpected status 7", self.failure().message)

    def test_strangers(self) -> None:
        """Packets of no stream, or of one with another procedure, are dropped."""
        serial = self.download()
        self.kinds()
        self.put(serial + 1, b"x", "storage_vol_download")
        self.put(serial, b"x", "storage_vol_upload")
        self.client.send(pack_message(NUMBER, 1, DOWNLOAD, 3, serial + 9, 7, b"abc"))
        self.assertEqual([], self.client.take())
        self.assertTrue(self.client.lives)
        self.assertEqual(1, self.open_streams())

    def test_same_serial(self) -> None:
        """A second stream with the serial of one that is open is refused; the first goes on."""
        serial = self.upload()
        arguments = remote.StorageVolUploadArgs(VOLUME, 0, 0, 0).pack()
        number = remote.PROGRAM.by_name["storage_vol_upload"].number
        self.client.send(pack_message(NUMBER, 1, number, 0, serial, 0, arguments))
        self.assertEqual(vir.VIR_FROM_STREAMS, vir_error(self.client.answer(serial).payload).domain)
        self.put(serial, b"still")
        self.assertEqual([b"still"], self.tape.heard)

    def test_too_many(self) -> None:
        """A client has so many and no more."""
        for _ in range(STREAMS_MAXIMUM):
            self.upload()
        error = self.client.error("storage_vol_upload", VOLUME, 0, 0, 0)
        self.assertIn(str(STREAMS_MAXIMUM), error.message)
        self.assertEqual(STREAMS_MAXIMUM, self.open_streams())

    def test_many_at_once(self) -> None:
        """Each gets its own bytes."""
        serials = {}
        for number in range(20):
            serial = self.upload()
            serials[serial] = (number, self.tape)
        for part in range(3):
            for serial, (number, _) in serials.items():
                self.put(serial, bytes([number, part]))
        for number, tape in serials.values():
            self.assertEqual([bytes([number, part]) for part in range(3)], tape.heard)

    def test_duplex(self) -> None:
        """A console reads and writes at once."""
        self.world.hypervisor.domain_open_console = lambda *args: StreamResult(self.tape, None)
        echo: Deferred[bytes] = Deferred()
        self.tape = Tape(echo)
        serial = self.client.begin("domain_open_console", DOMAIN, None, 0)
        self.client.answer(serial)
        self.put(serial, b"ls\n", "domain_open_console")
        self.assertEqual([b"ls\n"], self.tape.heard)
        echo.callback(b"file\n")
        self.assertEqual((Kind.STREAM_DATA, b"file\n"), self.kinds()[0])
