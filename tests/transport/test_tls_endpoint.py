"""The endpoint of TLS: how it is written, and new certificates while it listens."""

from __future__ import annotations

from pathlib import Path

import attrs
from cryptography import x509
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.test.iosim import FakeTransport, connect
from twisted.trial.unittest import TestCase

from remotevirt.description import DescriptionError
from remotevirt.transport.pki import PKIError
from remotevirt.transport.settings import TLSSettings
from remotevirt.transport.tls import endpoint_from_fields
from tests.transport.handshakes import PEER, Deaf, Recorder, TLSTestCase
from tests.transport.pki import Authority


class ReloadTests(TLSTestCase):
    """New certificates for a listener that listens."""

    def serial(self, client: Recorder) -> int:
        """The serial number of the certificate that the server showed."""
        return int(client.transport.getPeerCertificate().get_serial_number())

    def replace(self, **files: bytes) -> None:
        for name, data in files.items():
            (self.folder / f"{name}.pem").write_bytes(data)

    def test_new_certificate_for_new_clients(self) -> None:
        factory = self.listen()
        old, pump = self.connect(factory, self.options(self.pair))
        certificate, key = self.authority.issue()
        self.replace(servercert=certificate, serverkey=key)
        self.endpoint.reload()
        new, _ = self.connect(factory, self.options(self.pair))
        self.assertNotEqual(self.serial(old), self.serial(new))
        self.assertEqual(x509.load_pem_x509_certificate(certificate).serial_number, self.serial(new))
        self.assertEqual(self.serial(new), self.endpoint.credentials.chain[0].serial_number)
        old.transport.write(b"still here")
        self.flow(pump)
        self.assertEqual(b"still here", self.behind.built[0].received)

    def test_broken_set_changes_nothing(self) -> None:
        factory = self.listen()
        before = self.endpoint.credentials
        certificate, key = self.authority.issue()
        for files, why in [
            ({"servercert": b"rubbish"}, "servercert.pem: holds no readable PEM certificate"),
            ({"servercert": certificate}, "serverkey.pem: is not the key of"),
            ({"servercert": self.authority.expired()[0]}, "servercert.pem"),
            ({"cacrl": b"rubbish"}, "cacrl.pem: holds no readable PEM revocation list"),
        ]:
            self.replace(**files)
            self.assertIn(why, str(self.assertRaises(PKIError, self.endpoint.reload)))
            self.assertIs(before, self.endpoint.credentials)
            client, _ = self.connect(factory, self.options(self.pair))
            self.assertEqual(before.chain[0].serial_number, self.serial(client))
        (self.folder / "cacrl.pem").unlink()
        self.replace(servercert=certificate, serverkey=key)
        self.endpoint.reload()
        self.assertIsNot(before, self.endpoint.credentials)

    def test_revocation_list_comes(self) -> None:
        factory = self.listen()
        self.replace(cacrl=self.authority.revoke(self.pair[0]))
        self.endpoint.reload()
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"", client.received)
        self.assertEqual(["the certificate has been revoked"], self.refusals())

    def test_other_settings(self) -> None:
        """The list of names is held against those whose handshake ends after it has changed."""
        factory = self.listen()
        self.endpoint.reload(TLSSettings(allowed_dns=["CN=nobody"]))
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"", client.received)
        self.endpoint.reload(TLSSettings())
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"\x01", client.received)

    def test_verification_comes(self) -> None:
        """Whoever was not asked for a certificate, but ends its handshake when one is needed, has none."""
        factory = self.listen(no_verify=True)
        server = factory.buildProtocol(PEER)
        client = Deaf(self.options(self.pair))
        transport = FakeTransport(server, isServer=True, peerAddress=PEER)
        pump = connect(server, transport, client, FakeTransport(client, isServer=False), greet=False)
        pump.pump()  # the hello, and what the server makes of it
        self.assertEqual(1, self.endpoint.handshakes)
        self.endpoint.reload(TLSSettings())
        self.flow(pump)
        self.assertEqual(["it showed no certificate"], self.refusals())
        self.assertEqual([], self.behind.built)

    def test_sanity_at_reload(self) -> None:
        self.listen(no_sanity=True)
        certificate, key = self.authority.expired()
        self.replace(servercert=certificate, serverkey=key)
        self.endpoint.reload()
        self.assertRaises(PKIError, self.endpoint.reload, TLSSettings())


class EndpointStringTests(TestCase):
    """``libvirttls:PORT:pki=DIR[:interface=ADDR]``."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.folder = str(Authority().server_folder(Path(self.mktemp())))

    def test_port_and_interface(self) -> None:
        endpoint = endpoint_from_fields(
            self.reactor, ["16514"], {"pki": self.folder, "interface": "127.0.0.1"}
        )
        self.successResultOf(endpoint.listen(Factory()))
        (listening,) = self.reactor.tcpServers
        self.assertEqual((16514, 50, "127.0.0.1"), (listening[0], *listening[2:]))

    def test_every_interface_by_default(self) -> None:
        self.successResultOf(
            endpoint_from_fields(self.reactor, ["0"], {"pki": self.folder, "backlog": "9"}).listen(Factory())
        )
        self.assertEqual((9, ""), self.reactor.tcpServers[0][2:])

    def test_ipv6(self) -> None:
        for given, meant in {"::": "::", "::1": "::1", "[::1]": "::1"}.items():
            endpoint = endpoint_from_fields(self.reactor, ["0"], {"pki": self.folder, "interface": given})
            self.successResultOf(endpoint.listen(Factory()))
            self.assertEqual(meant, self.reactor.tcpServers[-1][3])

    def test_settings(self) -> None:
        pki = {"pki": self.folder}
        defaults = TLSSettings(allowed_dns=["CN=a"], max_handshakes=7)
        self.assertEqual(TLSSettings(), endpoint_from_fields(self.reactor, ["0"], pki).settings)
        self.assertEqual(defaults, endpoint_from_fields(self.reactor, ["0"], pki, defaults).settings)
        found = endpoint_from_fields(
            self.reactor, ["0", "noverify"], pki | {"priority": "NORMAL:-VERS-TLS1.2"}, defaults
        )
        self.assertEqual(
            attrs.evolve(defaults, no_verify=True, priority="NORMAL:-VERS-TLS1.2"), found.settings
        )

    def test_bad_settings(self) -> None:
        for bad, why in [
            ({"handshake_timeout": 0}, "handshake_timeout: more than 0 is wanted, not 0"),
            ({"max_handshakes": -1}, "max_handshakes: more than 0"),
            ({"max_peer_handshakes": 0}, "max_peer_handshakes: more than 0"),
            ({"priority": "SYSTEM"}, "TLS priority 'SYSTEM': SYSTEM is not among"),
        ]:
            error = self.assertRaises(ValueError, TLSSettings, **bad)
            self.assertIn(why, str(error))

    def test_refused(self) -> None:
        pki = {"pki": self.folder}
        for words, options, why in [
            ([], pki, "it is libvirttls:PORT:pki=DIR"),
            (["1", "2"], pki, "it is libvirttls:PORT:pki=DIR"),
            (["1", "noverify", "noverify"], pki, "it is libvirttls:PORT:pki=DIR"),
            (["1"], pki | {"priority": "NORMAL:+MD5"}, "'NORMAL:+MD5': +MD5 is not offered here"),
            (["1"], {}, "it is libvirttls:PORT:pki=DIR"),
            (["x"], pki, "port: a number from 0 to 65535"),
            (["1"], pki | {"backlog": "-1"}, "backlog: a number"),
            (["1"], pki | {"interfaces": "::"}, "unknown option interfaces="),
        ]:
            error = self.assertRaises(DescriptionError, endpoint_from_fields, self.reactor, words, options)
            self.assertIn(why, str(error))

    def test_bad_certificates(self) -> None:
        self.assertRaises(PKIError, endpoint_from_fields, self.reactor, ["1"], {"pki": "/nonexistent"})
