"""The configuration file: its grammar, its keys, and the line number in every complaint."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt import config
from remotevirt.config import Config, ConfigError, Setting, load, parse, read_text
from remotevirt.config.grammar import MAX_NUMBER
from remotevirt.config.model import MAX_FILE
from remotevirt.logs import Level
from remotevirt.logs.settings import parse_filters, parse_outputs
from tests.interop.peers import require

UUID = "8d9ac0b4-7d7c-4b0e-9a3d-5d2b6d6b3f11"


class GrammarTests(TestCase):
    """Text to settings."""

    def refused(self, text: str) -> str:
        error = self.assertRaises(ConfigError, parse, text, "f")
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_nothing(self) -> None:
        for text in ("", "\n\n", "# only a comment", "  \t\n#\n"):
            self.assertEqual({}, parse(text))

    def test_values(self) -> None:
        text = (
            'a = "text # not a comment"  # a comment\n'
            "b='it is \"quoted\"'\n"
            "\n"
            "c = -12\n"
            "d = [ ]\n"
            "e = [ \"x\", 1,\n  # within\n  'y',\n]\n"
            'f = """two\nlines"""\n'
            "g = 1"
        )
        self.assertEqual(
            {
                "a": Setting("text # not a comment", 1),
                "b": Setting('it is "quoted"', 2),
                "c": Setting(-12, 4),
                "d": Setting([], 5),
                "e": Setting(["x", 1, "y"], 6),
                "f": Setting("two\nlines", 10),
                "g": Setting(1, 12),
            },
            parse(text),
        )

    def test_line_ends_of_other_systems(self) -> None:
        self.assertEqual({"a": Setting(1, 1), "b": Setting(2, 2)}, parse("a = 1\r\nb = 2\r\n"))

    def test_refused(self) -> None:
        for text, why in {
            "a": "f:1: '=' is wanted after a",
            "\na = ": "f:2: a value is wanted, not the end of the file",
            "a = \nb = 1": "f:1: a value is wanted, not the end of the line",
            "a = b": "f:1: a value is wanted, not 'b'",
            "= 1": "f:1: a key is wanted, not '='",
            "1 = 1": "f:1: a key is wanted, not '1'",
            "a = 1 2": "f:1: the end of the line is wanted, not '2'",
            "a = 1\n\nb = 2 c": "f:3: the end of the line is wanted, not 'c'",
            "a = 1\na = 2": "f:2: a is already set in line 1",
            'a = 1\nb = "x\n"': "f:2: the string is not closed",
            "a = 'x": "f:1: the string is not closed",
            "a = [ 1,\n2": "f:1: the list is not closed",
            "a = [\n1\n2 ]": "f:3: ',' or ']' is wanted, not '2'",
            "a = [ [ 1 ] ]": "f:1: a value is wanted, not '['",
            "a = 99999999999": "f:1: the number 99999999999 is out of range",
            "a = " + "9" * 10_000: "is out of range",
            "a.b = 1": "f:1: unexpected '.'",
            "a = 1\n$": "f:2: unexpected '$'",
            "a = \x00": "f:1: unexpected '\\x00'",
        }.items():
            self.assertIn(why, self.refused(text))

    @given(
        st.dictionaries(
            st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
            st.integers(-MAX_NUMBER, MAX_NUMBER)
            | st.text(st.characters(codec="utf-8", exclude_characters='"\n'), max_size=9),
            max_size=5,
        )
    )
    def test_what_is_written_is_read(self, values: dict[str, str | int]) -> None:
        text = "".join(
            f'{key} = "{v}"\n' if isinstance(v, str) else f"{key}={v}\n" for key, v in values.items()
        )
        self.assertEqual(values, {key: setting.value for key, setting in parse(text).items()})

    @given(st.text("ab=12[],#'\"\n ", max_size=30))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            parse(text)
        except ConfigError as error:
            self.assertRegex(str(error), r"^<config>:\d+: .")


class ConfigTests(TestCase):
    """Settings to meaning."""

    def load(self, text: str | bytes) -> Config:
        self.path = self.mktemp()
        Path(self.path).write_bytes(text.encode() if isinstance(text, str) else text)
        return load(self.path)

    def refused(self, text: str | bytes) -> str:
        error = self.assertRaises(ConfigError, self.load, text)
        self.assertTrue(str(error).startswith(self.path), str(error))
        self.assertNotIn("\n", str(error))
        return str(error).removeprefix(self.path)

    def test_defaults(self) -> None:
        self.assertEqual(Config(), self.load("# nothing\n"))

    def test_every_key(self) -> None:
        values = {
            "listen_tcp": ("1", True),
            "listen_tls": ("1", True),
            "listen_addr": ('"::"', "::"),
            "tcp_port": ('"1"', 1),
            "tls_port": ("2", 2),
            "unix_sock_dir": ('"/run/x"', Path("/run/x")),
            "unix_sock_group": ('"libvirt"', "libvirt"),
            "unix_sock_rw_perms": ('"0770"', 0o770),
            "unix_sock_ro_perms": ('"666"', 0o666),
            "unix_sock_admin_perms": ('"0710"', 0o710),
            "admin_socket": ('"/run/admin"', Path("/run/admin")),
            "metrics_listen": ('"tcp:9177:interface=127.0.0.1"', "tcp:9177:interface=127.0.0.1"),
            "ca_file": ('"/a"', Path("/a")),
            "cert_file": ('"/b"', Path("/b")),
            "key_file": ('"/c"', Path("/c")),
            "crl_file": ('"/d"', Path("/d")),
            "tls_no_sanity_certificate": ("1", True),
            "tls_no_verify_certificate": ("1", True),
            "tls_allowed_dn_list": ('["C=GB,*", "CN=x"]', ("C=GB,*", "CN=x")),
            "tls_priority": ('"NORMAL"', "NORMAL"),
            "auth_unix_rw": ('"sasl"', "sasl"),
            "auth_unix_ro": ('"sasl"', "sasl"),
            "auth_tcp": ('"none"', "none"),
            "auth_tls": ('"sasl"', "sasl"),
            "tcp_min_ssf": ("0", 0),
            "sasl_allowed_username_list": ("[]", ()),
            "sasl_users_file": ('"/users"', Path("/users")),
            "sasl_mechanisms": ('["SCRAM-SHA-256"]', ("SCRAM-SHA-256",)),
            "policy_file": ('"/policy"', Path("/policy")),
            "audit_file": ('"journald"', "journald"),
            "audit_logging": ("1", True),
            "max_clients": ("1", 1),
            "max_queued_clients": ("2", 2),
            "max_anonymous_clients": ("0", 0),
            "max_peer_clients": ("3", 3),
            "max_client_requests": ("4", 4),
            "max_unsent_bytes": ("65536", 65536),
            "keepalive_interval": ("-1", -1),
            "keepalive_count": ("0", 0),
            "handshake_timeout": ("1", 1),
            "auth_timeout": ("2", 2),
            "frame_timeout": ("3", 3),
            "drain_timeout": ("0", 0),
            "idle_timeout": ("120", 120),
            "admin_max_clients": ("1", 1),
            "admin_max_queued_clients": ("2", 2),
            "admin_max_client_requests": ("3", 3),
            "admin_keepalive_interval": ("4", 4),
            "admin_keepalive_count": ("6", 6),
            "log_level": ("3", Level.WARNING),
            "log_filters": ('"3:remote 4:event"', parse_filters("3:remote 4:event")),
            "log_outputs": ('"1:stderr"', parse_outputs("1:stderr")),
            "drivers": ('["test:keep"]', ("test:keep",)),
            "state_dir": ('"/var/lib/vm"', Path("/var/lib/vm")),
        }
        self.assertEqual(set(config.KEYS), set(values))
        found = self.load("".join(f"{key} = {text}\n" for key, (text, _) in values.items()))
        for key, (_, value) in values.items():
            self.assertEqual(value, getattr(found, key), key)
            self.assertNotEqual(getattr(Config(), key), value, f"{key}: the test shows nothing")
        self.assertEqual((), found.notes)

    def test_every_field_has_a_key(self) -> None:
        fields = {field.name for field in attrs.fields(Config)}
        self.assertEqual(fields - {"notes"}, set(config.KEYS))
        self.assertEqual(set(), set(config.KEYS) & set(config.IGNORED))
        self.assertLess(config.OWN, set(config.KEYS))

    def test_keys_without_meaning(self) -> None:
        found = self.load("min_workers = 5\n\nmax_clients = 7\novs_timeout = 5\n")
        self.assertEqual(7, found.max_clients)
        self.assertEqual(
            (
                f"{self.path}:1: min_workers has no effect here: {config.IGNORED['min_workers'][1]}",
                f"{self.path}:4: ovs_timeout has no effect here: no Open vSwitch is called",
            ),
            found.notes,
        )
        self.assertEqual(":1: prio_workers wants a number of at least 0", self.refused("prio_workers = 'x'"))

    def test_what_cannot_be_had_is_refused(self) -> None:
        """Whoever asks for a protection that is not there gets no daemon without it."""
        for text, why in {
            'auth_unix_rw = "polkit"': "policy_file says what each local user may do",
            'auth_unix_ro = "polkit"': "policy_file says what each local user may do",
            'auth_tcp = "polkit"': 'auth_tcp wants "none" or "sasl"',
            'access_drivers = [ "polkit" ]': "policy_file says who may do what",
            "audit_level = 2": "audit_file keeps a trail",
        }.items():
            self.assertIn(why, self.refused(text))
        self.assertEqual(2, len(self.load('access_drivers = [ "nop" ]\naudit_level = 1').notes))

    def test_unknown_key(self) -> None:
        self.assertEqual(
            ":2: unknown key max_client (is max_clients meant?)", self.refused("\nmax_client = 1")
        )
        self.assertEqual(":1: unknown key min_worker (is min_workers meant?)", self.refused("min_worker = 1"))
        self.assertEqual(":1: unknown key colour", self.refused("colour = 'red'"))

    def test_wrong_values(self) -> None:
        for text, wanted in {
            "listen_tcp = 2": "listen_tcp wants 0 or 1",
            'listen_tcp = "1"': "listen_tcp wants 0 or 1",
            "listen_tcp = [1]": "listen_tcp wants 0 or 1",
            "listen_addr = 1": "listen_addr wants a string",
            'listen_addr = ""': "listen_addr wants a string",
            "tcp_port = 65536": "tcp_port wants a port from 0 to 65535",
            'tls_port = "x"': "tls_port wants a port",
            'tls_port = "\N{ARABIC-INDIC DIGIT ONE}"': "tls_port wants a port",
            "tls_port = [1]": "tls_port wants a port",
            'unix_sock_dir = "run"': "unix_sock_dir wants an absolute path",
            "unix_sock_rw_perms = 770": 'unix_sock_rw_perms wants permissions such as "0770"',
            'unix_sock_ro_perms = "0888"': "unix_sock_ro_perms wants permissions",
            'unix_sock_ro_perms = "7777"': "unix_sock_ro_perms wants permissions",
            "max_clients = 0": "max_clients wants a number of at least 1",
            'max_clients = "9"': "max_clients wants a number",
            "keepalive_interval = -2": "keepalive_interval wants a number of at least -1",
            "auth_timeout = 86401": "auth_timeout wants a number from 1 to 86400",
            "tls_allowed_dn_list = [ 1 ]": "tls_allowed_dn_list wants a list of strings",
            'tls_allowed_dn_list = "CN=x"': "tls_allowed_dn_list wants a list of strings",
            'audit_file = "trail"': 'audit_file wants an absolute path or "journald"',
            "log_level = 5": "log_level wants 1 (debug), 2 (info), 3 (warning) or 4 (error)",
            'log_level = "1"': "log_level wants 1 (debug)",
            'log_filters = "x"': "log filter 'x': it is LEVEL:MATCH",
            'log_outputs = "1:file:log"': "log output '1:file:log': file wants an absolute path",
            "log_outputs = 1": 'log_outputs wants a string "LEVEL:KIND[:WHERE] ..."',
            'host_uuid = "00000000-0000-0000-0000-000000000000"': "host_uuid wants a UUID whose digits",
            'host_uuid = "x"': "host_uuid wants a UUID whose digits",
            'host_uuid_source = "dice"': 'host_uuid_source wants "smbios" or "machine-id"',
        }.items():
            found = self.refused(f"# one\n\n{text}\n")
            self.assertTrue(found.startswith(":3: "), found)
            self.assertIn(wanted, found)

    def test_unreadable_files(self) -> None:
        self.assertEqual(":2: not UTF-8 text", self.refused(b"# one\n\xff\n"))
        self.assertEqual(f": larger than {MAX_FILE} bytes", self.refused(b"#" * (MAX_FILE + 1)))
        error = self.assertRaises(ConfigError, load, "/nonexistent")
        self.assertEqual("/nonexistent: No such file or directory", str(error))


class TextTests(TestCase):
    """A key's value as a command line says it."""

    def test_quotes_may_be_left_out(self) -> None:
        for key, text, value in [
            ("listen_addr", "::1", "::1"),
            ("listen_addr", '"::1"', "::1"),
            ("max_clients", "7", 7),
            ("keepalive_interval", "-1", -1),
            ("tcp_port", "7", 7),
            ("unix_sock_rw_perms", "0770", 0o770),
            ("tls_allowed_dn_list", "['a', 'b']", ("a", "b")),
            ("tls_allowed_dn_list", "a", ("a",)),
            ("log_filters", "1:x 2:y", parse_filters("1:x 2:y")),
        ]:
            self.assertEqual(value, read_text(key, text))

    def test_refused(self) -> None:
        for key, text, why in [
            ("max_clients", "many", "max_clients wants a number of at least 1"),
            ("max_clients", "99999999999999999999", "max_clients wants a number"),
            ("max_client", "1", "unknown key max_client (is max_clients meant?)"),
            ("min_workers", "1", "min_workers has no effect here"),
            ("tls_allowed_dn_list", "['a'", "value:1: the list is not closed"),
            ("listen_addr", "'a'\nlisten_tcp = 1", "listen_addr wants one value"),
        ]:
            self.assertIn(why, str(self.assertRaises(ConfigError, read_text, key, text)))


class LibvirtTests(TestCase):
    """libvirt's own file."""

    def test_all_of_it_is_read(self) -> None:
        """Each example in it in force, and all its keys known."""
        require("libvirtd")
        shipped = Path("/etc/libvirt/libvirtd.conf").read_text()
        text = re.sub(r"^#([a-z_]+ ?= ?.*)$", r"\1", shipped, flags=re.MULTILINE)
        keys = set(re.findall(r"^([a-z_]+) ?=", text, flags=re.MULTILINE))
        self.assertGreater(len(keys), 50)
        for asked, instead in {
            r'(auth_unix_r[ow]) = "polkit"': r'\1 = "none"',
            r"(audit_level) = 2": r"\1 = 1",
            r'(access_drivers) = \[ "polkit" \]': r"\1 = []",
            r"0(0{7}-0000-0000-0000-0{12})": r"1\1",
        }.items():
            text, changed = re.subn(asked, instead, text)
            self.assertGreater(changed, 0, asked)
        found = Config.from_settings(parse(text))
        self.assertEqual(set(), keys - set(config.KEYS) - set(config.IGNORED))
        self.assertEqual(keys & set(config.IGNORED), {note.split()[1] for note in found.notes})
        self.assertEqual(set(), (set(config.KEYS) - config.OWN) - keys, "a key that is not libvirtd's")
