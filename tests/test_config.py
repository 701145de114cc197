"""The configuration file: its grammar, its keys, and the line number in every complaint."""

from __future__ import annotations

from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt import config
from remotevirt.config import Config, ConfigError, Setting, load, parse


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
            st.integers(-config.MAX_NUMBER, config.MAX_NUMBER)
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
        return str(error).removeprefix(self.path)

    def test_defaults(self) -> None:
        self.assertEqual(Config(), self.load("# nothing\n"))

    def test_every_key(self) -> None:
        found = self.load(
            """
            listen_tcp = 1
            listen_tls = 0
            listen_addr = "::"
            tcp_port = "1"
            tls_port = 2
            unix_sock_dir = "/run/x"
            unix_sock_group = "libvirt"
            unix_sock_rw_perms = "0770"
            unix_sock_ro_perms = "666"
            ca_file = "/a"
            cert_file = "/b"
            key_file = "/c"
            crl_file = "/d"
            auth_unix_rw = "none"
            auth_unix_ro = "none"
            auth_tcp = "none"
            auth_tls = "none"
            max_clients = 1
            max_client_requests = 2
            keepalive_interval = -1
            keepalive_count = 0
            """
        )
        self.assertEqual(
            Config(
                listen_tcp=True,
                listen_tls=False,
                listen_addr="::",
                tcp_port=1,
                tls_port=2,
                unix_sock_dir=Path("/run/x"),
                unix_sock_group="libvirt",
                unix_sock_rw_perms=0o770,
                unix_sock_ro_perms=0o666,
                ca_file=Path("/a"),
                cert_file=Path("/b"),
                key_file=Path("/c"),
                crl_file=Path("/d"),
                max_clients=1,
                max_client_requests=2,
                keepalive_interval=-1,
                keepalive_count=0,
            ),
            found,
        )

    def test_every_field_has_a_key(self) -> None:
        self.assertEqual({field.name for field in attrs.fields(Config)}, set(config._KEYS))

    def test_unknown_key(self) -> None:
        self.assertEqual(
            ":2: unknown key max_client (is max_clients meant?)", self.refused("\nmax_client = 1")
        )
        self.assertEqual(":1: unknown key colour", self.refused("colour = 'red'"))

    def test_wrong_values(self) -> None:
        for text, wanted in {
            "listen_tcp = 2": "listen_tcp wants 0 or 1",
            'listen_tcp = "1"': "listen_tcp wants 0 or 1",
            "listen_addr = 1": "listen_addr wants a string",
            "tcp_port = 65536": "tcp_port wants a port from 0 to 65535",
            'tls_port = "x"': "tls_port wants a port",
            "tls_port = [1]": "tls_port wants a port",
            'unix_sock_dir = "run"': "unix_sock_dir wants an absolute path",
            "unix_sock_rw_perms = 770": 'unix_sock_rw_perms wants permissions such as "0770"',
            'unix_sock_ro_perms = "0888"': "unix_sock_ro_perms wants permissions",
            'unix_sock_ro_perms = "7777"': "unix_sock_ro_perms wants permissions",
            "max_clients = 0": "max_clients wants a number of at least 1",
            'max_clients = "9"': "max_clients wants a number",
            "keepalive_interval = -2": "keepalive_interval wants a number of at least -1",
            'auth_tcp = "sasl"': 'auth_tcp wants "none": no other authentication is served yet',
        }.items():
            self.assertIn(f":3: {wanted}", self.refused(f"# one\n\n{text}\n"))

    def test_unreadable_files(self) -> None:
        self.assertEqual(":2: not UTF-8 text", self.refused(b"# one\n\xff\n"))
        self.assertEqual(f": larger than {config.MAX_FILE} bytes", self.refused(b"#" * (config.MAX_FILE + 1)))
        error = self.assertRaises(ConfigError, load, "/nonexistent")
        self.assertEqual("/nonexistent: No such file or directory", str(error))
