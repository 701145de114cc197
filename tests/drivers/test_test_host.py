"""The pretended host, to the byte, and the limits of its calls."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.trial.unittest import TestCase

from remotevirt.drivers.test.host import CPU_STATS
from remotevirt.errors import VirError
from tests.drivers.driving import hypervisor


class HostTests(TestCase):
    """Calls about the connection and the host."""

    def setUp(self) -> None:
        self.calls = hypervisor()

    def assert_refused(self, call: object, *arguments: object, code: int, message: str) -> None:
        """Check the error of a call."""
        error = self.assertRaises(VirError, call, *arguments)
        self.assertEqual((error.code, error.message), (code, message))

    def test_capabilities(self) -> None:
        """The document is a real libvirtd's (9.0.0, recorded), byte for byte."""
        expected = Path(__file__).with_name("capabilities.xml").read_text()
        self.assertEqual(self.calls.connect_get_capabilities(), expected)

    def test_connection(self) -> None:
        """What a connection says of itself."""
        self.assertEqual(self.calls.connect_get_type(), "TEST")
        self.assertEqual(self.calls.connect_get_version(), 2)
        self.assertEqual(self.calls.connect_get_lib_version(), 9000000)
        self.assertEqual(self.calls.connect_get_hostname(), socket.gethostname())
        self.assertEqual(self.calls.connect_get_uri(), "test:///default")
        self.assertEqual(self.calls.connect_is_secure(), 1)
        self.assertEqual(self.calls.connect_get_max_vcpus("anything"), 32)

    def test_features(self) -> None:
        """Of the features of virDrvFeature only descriptors, strings and network updates."""
        supported = [number for number in range(1, 20) if self.calls.connect_supports_feature(number)]
        self.assertEqual(supported, [8, 9, 16])

    def test_node_info(self) -> None:
        """The model fills its 32 bytes."""
        info = self.calls.node_get_info()
        self.assertEqual(info.model, b"i686" + bytes(28))
        self.assertEqual(tuple(info)[1:], (3145728, 16, 1400, 2, 2, 2, 2))

    def test_memory(self) -> None:
        """Free memory of all, memory of each cell, and what lies outside."""
        self.assertEqual(self.calls.node_get_free_memory(), 3145728)
        cells = self.calls.node_get_cells_free_memory
        self.assertEqual(cells(0, 1024), [2097152, 4194304])
        self.assertEqual(cells(1, 1), [4194304])
        self.assert_refused(cells, 2, 1, code=8, message="invalid argument: Range exceeds available cells")
        function = "virNodeGetCellsFreeMemory"
        self.assert_refused(cells, -1, 1, code=8, message=f"startCell in {function} must be zero or greater")
        self.assert_refused(cells, 0, 0, code=8, message=f"maxCells in {function} must be greater than zero")
        self.assert_refused(cells, 0, -1, code=39, message="maxcells must be non-negative")
        self.assert_refused(cells, 0, 1025, code=39, message="maxcells > REMOTE_NODE_MAX_CELLS")

    def test_cpu_stats(self) -> None:
        """The number first, then the figures; ``nparams`` is 0 where there are figures."""
        stats = self.calls.node_get_cpu_stats
        self.assertEqual(stats(-1, 0, 0), ((), 4))
        self.assertEqual(stats(5, 2, 0), (CPU_STATS[:2], 0))
        self.assert_refused(stats, 0, 17, 0, code=1, message="internal error: nparams too large")
        self.assert_refused(stats, 0, -1, 0, code=1, message="internal error: nparams must be non-negative")
        text = "cpuNum in virNodeGetCPUStats only accepts -1 as a negative value"
        self.assert_refused(stats, -2, 4, 0, code=8, message=text)
        text = "unsupported flags (0x5) in function testNodeGetCPUStats"
        self.assert_refused(stats, -1, 4, 5, code=8, message=text)

    def test_cpu_map(self) -> None:
        """Map and count only where they are asked for."""
        self.assertEqual(self.calls.node_get_cpu_map(1, 1, 0), (b"\x15", 3, 8))
        self.assertEqual(self.calls.node_get_cpu_map(0, 1, 0), (b"", 3, 8))
        self.assertEqual(self.calls.node_get_cpu_map(1, 0, 0), (b"\x15", 0, 8))

    def test_cpu_models(self) -> None:
        """Names by architecture; three kinds of architectures that have none."""
        names = self.calls.connect_get_cpu_model_names
        models = names("x86_64", 1, 0)
        self.assertEqual((models.models[0], models.ret), ("486", 58))
        self.assertEqual(names("x86_64", 0, 0), ((), 58))
        self.assertEqual(names("aarch64", 1, 0), ((), 0))
        self.assert_refused(
            names, "zz", 1, 0, code=8, message="invalid argument: cannot find architecture zz"
        )
        text = "this function is not supported by the connection driver: 'riscv64' architecture is not "
        self.assert_refused(names, "riscv64", 1, 0, code=3, message=f"{text}supported by CPU driver")

    def test_free_pages(self) -> None:
        """The call that libvirt's own driver never completes."""
        pages = self.calls.node_get_free_pages
        text = "Library function returned error but did not set virError"
        self.assert_refused(pages, [4], 0, 1, 0, code=1, message=text)
        text = "npages in virNodeGetFreePages must not be zero"
        self.assert_refused(pages, [], 0, 1, 0, code=8, message=text)

    def test_security_model(self) -> None:
        """Texts with their zero bytes, as they travel."""
        self.assertEqual(self.calls.node_get_security_model(), (b"testSecurity\0", b"\0"))
