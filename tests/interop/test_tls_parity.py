"""Whom the real libvirtd lets in over TLS, we let in; whom it turns away, we turn away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.x509 import BasicConstraints, ExtendedKeyUsage
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread

from tests.interop import test_tls
from tests.interop.daemons import Libvirtd
from tests.interop.peers import require
from tests.transport.pki import Authority, key_usage

Pair = tuple[bytes, bytes]


class ListingLibvirtd(Libvirtd):
    """A libvirtd with further lines in its configuration."""

    lines: Sequence[str] = ()

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        command = super()._command()
        with open(self.directory / "libvirtd.conf", "a") as file:
            file.writelines(f"{line}\n" for line in self.lines)
        return command


def name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


class ParityTests(test_tls.EndpointTestCase):
    """The same clients at both doors."""

    @inlineCallbacks
    def compare(self, clients: Mapping[str, Pair | None], lines: Sequence[str] = (), **settings: Any) -> Any:
        """Each client is let in, or not, by both alike; returns the names of those who are let in."""
        require("libvirtd")
        folders = {
            label: None
            if pair is None
            else self.authority.client_folder(self.folder / "clients" / label, pair)
            for label, pair in clients.items()
        }

        def theirs() -> dict[str, bool]:
            libvirtd = ListingLibvirtd(pki=self.server)
            libvirtd.lines = lines
            with libvirtd:
                return {
                    label: test_tls.first_bytes(self.authority, folder, libvirtd.tls_port) == b"\x01"
                    for label, folder in folders.items()
                }

        expected = yield deferToThread(theirs)
        yield self.listen(**settings)
        found = {}
        for label, folder in folders.items():
            first = yield deferToThread(test_tls.first_bytes, self.authority, folder, self.port)
            found[label] = first == b"\x01"
        self.assertEqual(expected, found)
        return {label for label, accepted in found.items() if accepted}

    @inlineCallbacks
    def test_certificates(self) -> Any:
        sign = self.authority.sign
        client = ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        server = ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        accepted = yield self.compare(
            {
                "plain": sign("client"),
                "full": sign(
                    "client",
                    (BasicConstraints(False, None), True),
                    (key_usage("digital_signature", "key_encipherment"), True),
                    (client, True),
                ),
                "long": sign(name(*[(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)] * 20)),
                "none": None,
                "foreign": Authority().issue("client"),
                "expired": self.authority.expired("client"),
                "nameless": sign(x509.Name([])),
                "server": sign("client", (server, True)),
                "authority": sign("client", (BasicConstraints(True, None), True)),
                "silent": sign("client", (key_usage("key_encipherment"), True)),
            }
        )
        self.assertEqual({"plain", "full", "long"}, accepted)

    @inlineCallbacks
    def test_names(self) -> Any:
        common, org, country = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.COUNTRY_NAME
        patterns = ["C=GB,O=Red?Hat,CN=*", r"O=a\, b,*", "CN=[xy]", "CN=exact", "CN=sp*ce"]
        names = {
            "question": name((country, "GB"), (org, "Red Hat"), (common, "a,b/c")),
            "question-two": name((country, "GB"), (org, "Red  Hat"), (common, "a")),
            "order": name((common, "a"), (org, "Red Hat"), (country, "GB")),
            "comma": name((org, "a, b"), (common, "x")),
            "bracket": name((common, "[xy]")),
            "bracket-as-set": name((common, "x")),
            "exact": name((common, "exact")),
            "capital": name((common, "EXACT")),
            "longer": name((common, "exactly")),
            "inside": name((org, "x"), (common, "exact")),
            "newline": name((common, "sp\nce")),
            "umlaut": name((country, "GB"), (org, "RedüHat"), (common, "x")),
        }
        quoted = ", ".join(f'"{pattern}"' for pattern in patterns)
        accepted = yield self.compare(
            {label: self.authority.sign(subject) for label, subject in names.items()},
            [f"tls_allowed_dn_list = [{quoted}]"],
            allowed_dns=patterns,
        )
        self.assertEqual({"question", "comma", "bracket", "exact", "newline", "umlaut"}, accepted)

    @inlineCallbacks
    def test_empty_list(self) -> Any:
        accepted = yield self.compare(
            {"plain": self.authority.sign("client")}, ["tls_allowed_dn_list = []"], allowed_dns=[]
        )
        self.assertEqual(set(), accepted)

    @inlineCallbacks
    def test_nobody_is_verified(self) -> Any:
        """The list says nothing then."""
        clients = {"plain": self.authority.sign("a"), "none": None, "foreign": Authority().issue("client")}
        accepted = yield self.compare(
            clients,
            ["tls_no_verify_certificate = 1", 'tls_allowed_dn_list = ["CN=nobody"]'],
            no_verify=True,
            allowed_dns=["CN=nobody"],
        )
        self.assertEqual(set(clients), accepted)
