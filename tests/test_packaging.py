"""What is shipped: an sdist that is complete, a wheel made from it, and an installation that works.

Nothing is fetched: the build runs with the tools that are installed, and the clean virtual environment
borrows the dependencies of this one.
"""

from __future__ import annotations

import re
import shutil
import site
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

import remotevirt
from tests.daemons import ROOT, TWISTD, ProcessTestCase

NOT_SOURCE = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "_build", "_trial_temp*", "dropin.cache"
)


class DistributionTests(ProcessTestCase):
    """The distributions, built once for all that is asked of them."""

    timeout = 300

    @inlineCallbacks
    def run_ok(self, *command: str, **kwargs: Any) -> Any:
        """Run a command that must succeed; returns what it printed."""
        kwargs["env"] = {"PYTHONPATH": "", **kwargs.get("env", {})}
        process = self.spawn(*command, **kwargs)
        status = yield process.ended
        self.assertEqual(0, status, process.printed())
        return process.out.decode()

    @inlineCallbacks
    def test_build_install_run(self) -> Any:
        """Source to sdist to wheel to a daemon, in that order and with nothing else in reach."""
        base = Path(self.mktemp()).absolute()
        shutil.copytree(ROOT, base / "source", ignore=NOT_SOURCE)
        # The wheel is built from the sdist, unpacked: what the sdist lacks, the wheel lacks.
        yield self.run_ok(
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--outdir",
            str(base / "dist"),
            cwd=base / "source",
        )
        (sdist,) = (base / "dist").glob("*.tar.gz")
        (wheel,) = (base / "dist").glob("*.whl")
        self.check_sdist(sdist)
        self.check_wheel(wheel)

        yield self.run_ok(sys.executable, "-m", "venv", "--without-pip", str(base / "venv"))
        python = str(base / "venv" / "bin" / "python")
        yield self.run_ok(
            *[sys.executable, "-m", "pip", "--python", python, "install"],
            *["--no-index", "--no-deps", "--disable-pip-version-check", str(wheel)],
        )
        (packages,) = (base / "venv" / "lib").glob("python*/site-packages")
        borrowed = [folder for folder in site.getsitepackages() if Path(folder).is_dir()]
        (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
        # Code is imported from the installation, not from a checkout that this environment knows of.
        where = yield self.run_ok(python, "-c", "import remotevirt; print(remotevirt.__file__)", cwd=base)
        self.assertEqual(str(packages / "remotevirt" / "__init__.py"), where.strip())

        shown = yield self.run_ok(python, "-c", TWISTD, "remotevirt", "--help", cwd=base)
        self.assertIn("--listen-ro", shown)
        command = [
            python,
            "-c",
            TWISTD,
            "-n",
            "--pidfile=",
            "remotevirt",
            "--listen",
            "tcp:0:interface=127.0.0.1",
        ]
        daemon = self.spawn(*command, cwd=base, env={"PYTHONPATH": ""})
        yield daemon.line(r"^    virsh -c 'test\+tcp://127\.0\.0\.1:\d+/default'$")

    def check_sdist(self, path: Path) -> None:
        """Everything to build, test, generate and read is in it."""
        with tarfile.open(path) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
            modes = {member.name.partition("/")[2]: member.mode for member in archive.getmembers()}
        wanted = {
            "LICENSE",
            "MANIFEST.in",
            "Makefile",
            "NEWS.rst",
            "README.md",
            "pyproject.toml",
            "setup.py",
            "tests/test_packaging.py",
            "twisted/plugins/remotevirt_plugin.py",
        }
        for folder, pattern in {
            "remotevirt": "**/*.py",
            "remotevirt/protocol": "**/*",
            "tests": "**/*.py",
            "docs": "**/*.rst",
            "tools": "*",
            "benchmarks": "*.[pc]*",
        }.items():
            wanted |= {
                str(file.relative_to(ROOT))
                for file in (ROOT / folder).glob(pattern)
                if file.is_file() and "__pycache__" not in file.parts and "_build" not in file.parts
            }
        self.assertEqual(set(), wanted - names)
        self.assertEqual(
            [], [name for name in names if "__pycache__" in name or name.endswith("dropin.cache")]
        )
        self.assertTrue(modes["tools/check"] & 0o100)

    def check_wheel(self, path: Path) -> None:
        """The package, its data and the plug-ins are in it, and nothing of Twisted's own."""
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
            described = archive.read(metadata).decode()
            entries = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
        plugins = {f"twisted/plugins/{path.name}" for path in (ROOT / "twisted" / "plugins").glob("*.py")}
        self.assertEqual(plugins, {name for name in names if name.startswith("twisted/")})
        self.assertIn("remotevirt/py.typed", names)
        self.assertIn("remotevirt/stubs/constants.py", names)
        units = {f"remotevirt/units/{path.name}" for path in (ROOT / "remotevirt/units").glob("*.s[eo]*")}
        self.assertEqual(set(), units - names)
        contract = {
            str(file.relative_to(ROOT)) for file in (ROOT / "remotevirt" / "protocol").rglob("*.[xj]*")
        }
        self.assertEqual(set(), contract - names)
        tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
        self.assertEqual({"remotevirt", "twisted"}, tops)
        self.assertIn(f"Version: {remotevirt.__version__}\n", described)
        self.assertRegex(described, "License(-Expression)?: MIT")
        self.assertIn("Requires-Python: >=3.11", described)
        self.assertRegex(described, r"Requires-Dist: twisted\[tls\]>=26\.4")
        self.assertIn(
            "[remotevirt.drivers]\n"
            "fake = remotevirt.testing.driver:FakeDriver\n"
            "qemu = remotevirt.drivers.qemu.driver:QemuDriver\n"
            "test = remotevirt.drivers.test.driver:TestDriver",
            entries,
        )


class SourceTests(TestCase):
    """What can be asked of the files as they are."""

    def test_no_twisted_package(self) -> None:
        """An __init__.py here would hide Twisted itself from whoever has this folder on the path."""
        self.assertEqual([], list((ROOT / "twisted").rglob("__init__.py")))

    def test_scripts_are_executable(self) -> None:
        scripts = [ROOT / ".ci" / "run", *(ROOT / "tools").iterdir()]
        self.assertEqual([], [str(path) for path in scripts if not path.stat().st_mode & 0o100])

    def test_news_fragments_have_a_known_type(self) -> None:
        types = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
        known = {kind["directory"] for kind in types}
        fragments = [path.name for path in (ROOT / "newsfragments").iterdir() if path.suffix != ".rst"]
        self.assertEqual(
            [], [name for name in fragments if not re.fullmatch(rf"(?:\d+|\+\w+)\.({'|'.join(known)})", name)]
        )


class SummaryTests(TestCase):
    """``tools/summary``, which counts for continuous integration."""

    def summary(self, log: str, status: int = 0) -> tuple[str, int]:
        done = subprocess.run(
            [str(ROOT / "tools" / "summary"), str(status)],
            input=log,
            text=True,
            capture_output=True,
            check=False,
        )
        self.assertEqual("", done.stderr)
        return done.stdout, done.returncode

    def test_all_passed(self) -> None:
        log = "x ... [OK]\nPASSED (skips=2, successes=12)\n== tests: ok\n== lint: ok\n"
        self.assertEqual(("12 passed, 0 failed\n", 0), self.summary(log))

    def test_some_failed(self) -> None:
        log = "FAILED (failures=1, errors=2, expectedFailures=1, unexpectedSuccesses=1, successes=4)\n"
        self.assertEqual(("5 passed, 4 failed\n", 1), self.summary(log + "== tests: FAILED\n", 1))

    def test_lint_and_types_count(self) -> None:
        log = "PASSED (successes=4)\n== tests: ok\n== lint: FAILED\n== format: ok\n== types: FAILED\n"
        self.assertEqual(("4 passed, 2 failed\n", 1), self.summary(log, 2))

    def test_make_failed_for_another_reason(self) -> None:
        self.assertEqual(("4 passed, 1 failed\n", 1), self.summary("PASSED (successes=4)\n", 2))

    def test_no_tests_ran(self) -> None:
        for log in ("", "PASSED\n", "PASSED (skips=3)\n"):
            self.assertEqual(("0 passed, 1 failed\n", 1), self.summary(log))

    def test_text_that_only_looks_like_it(self) -> None:
        log = "he wrote PASSED (successes=99)\nPASSED (successes=1)\n"
        self.assertEqual(("1 passed, 0 failed\n", 0), self.summary(log))
