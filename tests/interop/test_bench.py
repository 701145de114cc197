"""The load generator measures what is there, and the benchmark runs from end to end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import bench
from tests.interop.daemons import Remotevirt
from tests.interop.pair import start
from tests.interop.peers import require, run


class RpcloadTests(SynchronousTestCase):
    """The C program, against remotevirt."""

    def setUp(self) -> None:
        require("cc")
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.program = str(stack.enter_context(bench.compiled()))
        self.daemon = Remotevirt()
        start(self, self.daemon)

    def _measure(self, *options: str, address: str | None = None) -> dict[str, Any]:
        output = run([self.program, "-t", "0.2", "-w", "0", *options, address or str(self.daemon.unix)])
        self.assertEqual(output.status, 0, output.err)
        report: dict[str, Any] = json.loads(output.out)
        return report

    def test_compiles_without_warnings(self) -> None:
        """With all of the compiler's usual warnings as errors."""
        command = [
            "cc",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-std=c11",
            "-o",
            "/dev/null",
            str(bench.SOURCE),
        ]
        self.assertEqual(run(command).err, "")

    def test_calls(self) -> None:
        """Replies are counted, timed and weighed, over both transports."""
        for address in (str(self.daemon.unix), f"127.0.0.1:{self.daemon.tcp_port}"):
            report = self._measure("-c", "3", "-d", "7", address=address)
            self.assertEqual((report["connections"], report["depth"], report["errors"]), (3, 7, 0))
            self.assertGreater(report["calls"], 21)
            # connect_get_version: a header and one number of 64 bits. The last reply may be there in part.
            self.assertTrue(0 <= report["bytes_in"] - report["calls"] * 36 < 3 * 36)
            self.assertTrue(0 < report["p50_us"] <= report["p99_us"])

    def test_error_replies_are_counted(self) -> None:
        """A daemon that refuses is not measured as a fast one."""
        output = run([self.program, "-t", "0.1", "-p", "9999", str(self.daemon.unix)])
        report = json.loads(output.out)
        self.assertGreater(report["errors"], 0)
        self.assertEqual(report["errors"], report["calls"])
        self.assertIn("code 39: unknown procedure: 9999", output.err)

    def test_large_replies(self) -> None:
        """A reply larger than what one read brings is put together."""
        report = self._measure("-p", "7", "-d", "300")
        self.assertEqual(report["errors"], 0)
        self.assertGreater(report["bytes_in"] / report["calls"], 1000)

    def test_connections(self) -> None:
        """Whole connections are counted."""
        self.assertGreater(self._measure("-m", "connect")["connects"], 1)

    def test_idle_clients(self) -> None:
        """Idle clients stay until the standard input ends."""
        output = run([self.program, "-m", "idle", "-c", "20", str(self.daemon.unix)])
        self.assertEqual(json.loads(output.out)["connections"], 20)

    def test_failures_are_clear(self) -> None:
        """One line on the standard error, a status that tells usage from failure, no result."""
        unix = str(self.daemon.unix)
        for status, text, options in (
            (3, "cannot connect to /no/such/socket: No such file or directory", ["/no/such/socket"]),
            (3, "no connection driver available for nonsense:///x", ["-u", "nonsense:///x", unix]),
            (2, "not a socket's path nor ADDRESS:PORT", ["nowhere"]),
            (2, "-d wants a number", ["-d", "many", unix]),
            (2, "-a: not hexadecimal", ["-a", "zz", unix]),
            (2, "no mode swim", ["-m", "swim", unix]),
            (2, "usage: rpcload", []),
        ):
            output = run([self.program, *options])
            self.assertEqual((output.status, output.out), (status, ""), str(options))
            self.assertIn(text, output.err)

    def test_daemon_that_goes_away(self) -> None:
        """A daemon that ends while it is measured is a failure, not a result."""
        command = [self.program, "-t", "30", str(self.daemon.unix)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as load:
            assert load.stderr is not None
            self.daemon.stop()
            self.assertEqual(load.wait(20), 3)
            self.assertIn("rpcload: ", load.stderr.read())


class BenchTests(SynchronousTestCase):
    """The whole benchmark, short."""

    def test_quick_run(self) -> None:
        """Every workload is measured on both daemons, and the report holds what the table shows."""
        require("cc", "libvirtd")
        report = Path(self.mktemp())
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = bench.main(["--quick", "--json", str(report)])
        self.assertEqual(status, 0, err.getvalue())
        rows = json.loads(report.read_text())["rows"]
        self.assertEqual({row["workload"] for row in rows}, {workload.label for workload in bench.WORKLOADS})
        for row in rows:
            self.assertGreater(row["libvirtd"], 0, row)
            self.assertGreater(row["remotevirt"], 0, row)
            self.assertIn(row["workload"], out.getvalue())

    def test_missing_compiler(self) -> None:
        """What is missing is said in one line."""
        self.patch(os, "environ", {})
        self.patch(shutil, "which", lambda _: None)
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(bench.main(["--quick"]), 2)
        self.assertEqual(err.getvalue(), "bench: no C compiler: install gcc, or name one in CC\n")

    def test_targets(self) -> None:
        """A ratio is held against its target in the right direction."""
        more, less = bench.Target("rate", 8.0), bench.Target("p50_us", 1.0, at_most=True)
        self.assertEqual([more.reached(ratio) for ratio in (7.9, 8.0)], [False, True])
        self.assertEqual([less.reached(ratio) for ratio in (1.0, 1.1)], [True, False])
        row = bench.Row("calls", "rate", 100.0, 750.0, more)
        self.assertIn("NOT REACHED", bench.table([row]))
        self.assertIn(">= 8", bench.table([row]))
