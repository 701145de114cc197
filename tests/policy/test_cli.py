"""``remotevirt-policy``."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.policy.cli import ALLOWED, DENIED, FAILED, main
from remotevirt.policy.permissions import EVERY

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
EXAMPLE = str(EXAMPLES / "policy.toml")


class CommandTests(SynchronousTestCase):
    """Each command: what it prints, and its exit status."""

    def run_(self, *arguments: str) -> tuple[int, str, str]:
        """Run; return status, output and errors."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(arguments)
        return status, out.getvalue(), err.getvalue()

    def explain(self, *arguments: str) -> tuple[int, str]:
        """Ask the example."""
        status, out, err = self.run_("explain", EXAMPLE, *arguments)
        self.assertEqual("", err)
        return status, out

    def test_check(self) -> None:
        """A good one, a bad one, none."""
        self.assertEqual((ALLOWED, f"{EXAMPLE}: 6 rules allow, 1 deny\n", ""), self.run_("check", EXAMPLE))
        path = Path(self.mktemp())
        path.write_text("[[rule]]\nwho = '*'\nallow = 'al'\n")
        status, out, err = self.run_("check", str(path))
        self.assertEqual((FAILED, ""), (status, out))
        self.assertTrue(err.startswith(f"remotevirt-policy: {path}:3: rule 1: allow: no group 'al'"), err)
        self.assertEqual(FAILED, self.run_("check", str(path) + "x")[0])

    def test_explain(self) -> None:
        """The line that decides is the line of the file."""
        lines = Path(EXAMPLE).read_text().splitlines()
        for arguments, status, words in (
            (("--uid", "0", "--may", "domain:start"), ALLOWED, "allowed, by line"),
            (("--uid", "root", "--may", "domain:start"), ALLOWED, "allowed, by line"),
            (("--uid", "12345", "--may", "domain:start"), DENIED, "denied, as no rule allows it"),
            (
                ("--dn", "C=GB,O=Example,CN=admin-3", "--may", "secret:read_secure"),
                DENIED,
                "denied, by line",
            ),
            (("--sasl", "bob@EXAMPLE", "--may", "domain:stop", "--on", "name=web-1"), ALLOWED, "allowed, by"),
            (("--sasl", "bob@EXAMPLE", "--may", "domain:stop", "--on", "name=db"), DENIED, "no rule"),
            (
                ("--sasl", "bob@EXAMPLE", "--may", "domain:stop", "--on", "name=web-1", "--driver", "qemu"),
                DENIED,
                "no rule",
            ),
            (
                ("--sasl", "bob@EXAMPLE", "--may", "storage_vol:delete", "--on", "parent=web"),
                ALLOWED,
                "allowed",
            ),
            (("--sasl", "bob@EXAMPLE", "--may", "domain:stop"), DENIED, "--on and --document say more"),
        ):
            found, out = self.explain(*arguments)
            self.assertEqual(status, found, arguments)
            self.assertIn(words, out)
            if "by line" in out:
                number = int(out.split("by line ")[1].split(":")[0])
                self.assertRegex(lines[number - 1], "^(allow|deny) = ")

    def test_document(self) -> None:
        """Name, UUID and metadata of a document."""
        path = Path(self.mktemp())
        asked = ("--sasl", "blue/joe", "--transport", "tls", "--may", "domain:start", "--document", str(path))
        for tenant, status in (("blue", ALLOWED), ("red", DENIED)):
            path.write_text(
                "<domain><name>x</name><metadata>"
                f"<t xmlns='https://example.org/tenant'>{tenant}</t></metadata></domain>"
            )
            self.assertEqual(status, self.explain(*asked)[0])
        path.write_text("<domain>")
        self.assertEqual(FAILED, self.run_("explain", EXAMPLE, *asked)[0])
        path.unlink()
        self.assertEqual(FAILED, self.run_("explain", EXAMPLE, *asked)[0])

    def test_mistakes(self) -> None:
        """One line, status 2."""
        may = ("--may", "domain:start")
        for arguments in (
            (),
            ("x",),
            ("explain", EXAMPLE),
            ("explain", EXAMPLE, "--may", "domain:strat"),
            ("explain", EXAMPLE, "--may", "domain:*"),
            ("explain", EXAMPLE, *may, "--uid", "no such user"),
            ("explain", EXAMPLE, *may, "--gid", "no such group"),
            ("explain", EXAMPLE, *may, "--uid", "0", "--transport", "tls"),
            ("explain", EXAMPLE, *may, "--dn", "CN=x", "--transport", "tcp"),
            ("explain", EXAMPLE, *may, "--on", "name"),
            ("explain", EXAMPLE, *may, "--on", "color=blue"),
            ("explain", EXAMPLE, *may, "--on", "uuid=blue"),
            ("explain", EXAMPLE, "--may", "connect:read", "--document", EXAMPLE),
            ("permissions", "domain:x"),
        ):
            status, out, err = self.run_(*arguments)
            self.assertEqual((FAILED, ""), (status, out), arguments)
            self.assertEqual(1, err.count("\n"), err)

    def test_permissions(self) -> None:
        """All that libvirt has, and what needs them."""
        status, out, _ = self.run_("permissions")
        self.assertEqual(ALLOWED, status)
        self.assertEqual(len(EVERY), sum(1 for line in out.splitlines() if not line.startswith(" ")))
        _, out, _ = self.run_("permissions", "domain:getattr")
        self.assertIn("    domain_lookup_by_id\n", out)
        self.assertIn("    connect_list_domains (what it shows)\n", out)
        _, out, _ = self.run_("permissions", "domain:read_secure")
        self.assertIn("    domain_get_xml_desc (with some flags)\n", out)

    def test_reader_that_stops(self) -> None:
        """As ``head`` does."""
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "w") as closed, redirect_stdout(closed):
            kept = os.dup(write)
            try:
                self.assertEqual(FAILED, main(("permissions",)))
            finally:
                os.close(kept)
