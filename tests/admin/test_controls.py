"""What the admin program does to the rest of the daemon: threads, log, certificates, the daemon's end."""

from __future__ import annotations

from threading import Event

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.admin import Controls
from remotevirt.admin.workers import WORKERS_MAXIMUM
from remotevirt.errors import RemotevirtError
from remotevirt.rpc.message import Kind
from remotevirt.server import ServerFactory
from remotevirt.stubs import constants as vir
from tests.admin.fakes import ADMIN, LIBVIRTD, AdminWorld, FakeLogs, uint

NO_TLS = "internal error: no tls service found, unable to update tls files"


class WorkerTests(SynchronousTestCase):
    """The reactor's threads."""

    def setUp(self) -> None:
        self.world = AdminWorld(max_client_requests=1)
        self.admin = self.world.admin()

    def show(self) -> dict[str, int]:
        """What is shown."""
        return self.admin.params("server_get_threadpool_parameters", LIBVIRTD, 0)

    def refusal(self, **values: int) -> str:
        """What is said to values, none of which counts."""
        pool = self.world.pool
        before = (pool.min, pool.max)
        params = [uint(name, value) for name, value in values.items()]
        error = self.admin.refused("server_set_threadpool_parameters", LIBVIRTD, params, 0)
        self.assertEqual(before, (pool.min, pool.max))
        return error.message

    def set(self, **values: int) -> None:
        """Set some."""
        params = [uint(name, value) for name, value in values.items()]
        self.admin.call("server_set_threadpool_parameters", LIBVIRTD, params, 0)

    def test_order(self) -> None:
        """libvirtd's, which virt-admin prints."""
        wanted = {
            "minWorkers": 0,
            "maxWorkers": 10,
            "nWorkers": 0,
            "freeWorkers": 0,
            "prioWorkers": 0,
            "jobQueueDepth": 0,
        }
        self.assertEqual(list(wanted.items()), list(self.show().items()))

    def test_threads(self) -> None:
        """Busy ones, free ones, and work that waits for one."""
        release = Event()
        self.world.pool.start()
        self.addCleanup(self.world.pool.stop)
        self.addCleanup(release.set)
        self.set(minWorkers=2, maxWorkers=2)
        self.world.pool.callInThread(release.wait, 30.0)
        found = self.show()
        self.assertEqual((2, 1, 0), (found["nWorkers"], found["freeWorkers"], found["jobQueueDepth"]))
        for _ in range(4):
            self.world.pool.callInThread(release.wait, 30.0)
        found = self.show()
        self.assertEqual((2, 0, 3), (found["nWorkers"], found["freeWorkers"], found["jobQueueDepth"]))

    def test_waiting_calls(self) -> None:
        """Those of the server's clients, not those of another server's."""
        self.world.hypervisor.connect_get_version = Deferred
        client = self.world.opened()
        for _ in range(3):
            client.begin("connect_get_version")
        self.assertEqual(2, self.show()["jobQueueDepth"])
        other = self.admin.params("server_get_threadpool_parameters", ADMIN, 0)
        self.assertEqual(0, other["jobQueueDepth"])

    def test_set(self) -> None:
        """What is given changes, for all servers."""
        self.set(maxWorkers=20)
        self.set(minWorkers=3, prioWorkers=0)
        found = self.admin.params("server_get_threadpool_parameters", ADMIN, 0)
        self.assertEqual((3, 20, 0), (found["minWorkers"], found["maxWorkers"], found["prioWorkers"]))
        self.set()
        self.assertEqual((3, 20), (self.world.pool.min, self.world.pool.max))

    def test_refused(self) -> None:
        """In libvirtd's words, where it refuses too."""
        self.assertEqual(
            "invalid argument: minWorkers cannot be larger than maxWorkers", self.refusal(minWorkers=11)
        )
        self.assertEqual(
            "invalid argument: maxWorkers must not be switched from zero to non-zero and vice versa",
            self.refusal(maxWorkers=0),
        )
        self.assertEqual("argument unsupported: parameter 'nWorkers' not supported", self.refusal(nWorkers=1))
        self.assertEqual(
            f"invalid argument: maxWorkers cannot be larger than {WORKERS_MAXIMUM}",
            self.refusal(minWorkers=2**32 - 1, maxWorkers=2**32 - 1),
        )
        self.assertIn("prioWorkers", self.refusal(maxWorkers=15, prioWorkers=1))


class LogTests(SynchronousTestCase):
    """The log's settings."""

    def setUp(self) -> None:
        self.logs = FakeLogs()
        self.admin = AdminWorld(Controls(logs=self.logs)).admin()

    def test_filters(self) -> None:
        """Absent when there are none, else text and count."""
        self.assertEqual((None, 0), self.admin.call("connect_get_logging_filters", 0))
        self.admin.call("connect_set_logging_filters", "1:*qemu* 3:*rpc*", 0)
        self.assertEqual(("1:*qemu* 3:*rpc*", 2), self.admin.call("connect_get_logging_filters", 0))
        self.admin.call("connect_set_logging_filters", None, 0)
        self.assertEqual((None, 0), self.admin.call("connect_get_logging_filters", 0))

    def test_outputs(self) -> None:
        self.admin.call("connect_set_logging_outputs", "1:file:/tmp/x 3:stderr", 0)
        self.assertEqual(("1:file:/tmp/x 3:stderr", 2), self.admin.call("connect_get_logging_outputs", 0))
        self.admin.call("connect_set_logging_outputs", None, 0)
        self.assertEqual(("3:stderr", 1), self.admin.call("connect_get_logging_outputs", 0))

    def test_bad(self) -> None:
        """The client is told what is wrong."""
        error = self.admin.refused("connect_set_logging_filters", "bad", 0)
        self.assertEqual(vir.VIR_ERR_INVALID_ARG, error.code)
        self.assertEqual("invalid argument: Malformed format for filter 'bad'", error.message)
        error = self.admin.refused("connect_set_logging_outputs", "bad", 0)
        self.assertEqual("invalid argument: Malformed format for log output 'bad'", error.message)


class DaemonTests(SynchronousTestCase):
    """Certificates, and the daemon's end."""

    def setUp(self) -> None:
        self.told: list[object] = []
        self.fails: Exception | None = None
        self.world = AdminWorld(
            Controls(
                reload_tls=self.reload,
                set_timeout=self.told.append,
                shutdown=lambda: self.told.append("shutdown"),
            )
        )
        self.admin = self.world.admin()

    def reload(self) -> None:
        """Read again."""
        self.told.append("reload")
        if self.fails is not None:
            raise self.fails

    def test_tls(self) -> None:
        """Of a server that has it."""
        ServerFactory(self.world.daemon.server, transport="tls")
        self.admin.call("server_update_tls_files", LIBVIRTD, 0)
        self.assertEqual(["reload"], self.told)

    def test_no_tls(self) -> None:
        """Of a server that has none, or where nothing could read them."""
        self.assertEqual(NO_TLS, self.admin.refused("server_update_tls_files", LIBVIRTD, 0).message)
        world = AdminWorld()
        ServerFactory(world.daemon.server, transport="tls")
        self.assertEqual(NO_TLS, world.admin().refused("server_update_tls_files", LIBVIRTD, 0).message)
        self.assertEqual([], self.told)

    def test_bad_certificates(self) -> None:
        """The client is told; a bug stays inside."""
        ServerFactory(self.world.daemon.server, transport="tls")
        self.fails = RemotevirtError("cacert.pem: no certificate")
        error = self.admin.refused("server_update_tls_files", LIBVIRTD, 0)
        self.assertEqual("internal error: cacert.pem: no certificate", error.message)
        self.fails = KeyError("secret")
        error = self.admin.refused("server_update_tls_files", LIBVIRTD, 0)
        self.assertEqual("internal error: unexpected failure in server_update_tls_files", error.message)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_timeout(self) -> None:
        self.admin.call("connect_set_daemon_timeout", 30, 0)
        self.admin.call("connect_set_daemon_timeout", 0, 0)
        self.assertEqual([30, 0], self.told)

    def test_shutdown(self) -> None:
        """After the reply."""
        reply = self.admin.reply("connect_daemon_shutdown", 0)
        self.assertIs(Kind.REPLY, reply.kind)
        self.assertEqual([], self.told)
        self.world.turn()
        self.assertEqual(["shutdown"], self.told)
