"""Log filters and outputs as strings: what is read, what is printed, what is refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.logs.settings import (
    MAX_PARTS,
    MAX_TEXT,
    Filter,
    Kind,
    Level,
    Output,
    parse_filters,
    parse_level,
    parse_outputs,
    show,
)

WORDS = st.from_regex(r"[!-9;-~]{1,12}", fullmatch=True)
LEVELS = st.sampled_from(list(Level))
MATCHES = st.from_regex(r"[!-),-9;-~]{0,12}", fullmatch=True).map(lambda text: text.strip("*"))
FILTERS = st.lists(st.builds(Filter, LEVELS, MATCHES), max_size=6)
OUTPUTS = st.lists(
    st.builds(Output, LEVELS, st.sampled_from([Kind.STDERR, Kind.STDOUT, Kind.JOURNALD]))
    | st.builds(Output, LEVELS, st.sampled_from([Kind.FILE, Kind.JSON]), WORDS.map("/{}".format))
    | st.builds(Output, LEVELS, st.just(Kind.SYSLOG), WORDS),
    unique_by=lambda output: (output.kind, output.where),
    max_size=6,
)


class FiltersTests(SynchronousTestCase):
    """``LEVEL:MATCH ...``"""

    def test_read(self) -> None:
        self.assertEqual((), parse_filters("  "))
        self.assertEqual(
            (Filter(Level.WARNING, "remote"), Filter(Level.ERROR, "event")),
            parse_filters("3:remote  4:event"),
        )

    def test_match_is_part_of_the_name_and_a_glob(self) -> None:
        for match, source, wanted in [
            ("tls", "remotevirt.transport.tls", True),
            ("transport", "remotevirt.transport.tls", True),
            ("server.*ess", "remotevirt.server.session", True),
            ("s[ae]rver", "remotevirt.server.session", True),
            ("session", "remotevirt.server.dispatch", False),
            ("server.tls", "remotevirt.serverxtls", False),
        ]:
            self.assertEqual(wanted, Filter(Level.INFO, match).matches(source), match)

    def test_printed_as_libvirtd_prints_them(self) -> None:
        """As libvirtd 9.0.0, measured: all of them, in order, with stars on both sides."""
        for text, wanted in [
            ("3:remote 4:event 1:remote", "3:*remote* 4:*event* 1:*remote*"),
            ("3:*remote* 4:*event", "3:*remote* 4:*event*"),
            ("1:+a", "1:*a*"),
            ("1:*", "1:*"),
        ]:
            self.assertEqual(wanted, show(parse_filters(text)))

    def test_refused(self) -> None:
        for text, why in {
            "remote": "log filter 'remote': it is LEVEL:MATCH",
            "1:": "log filter '1:': it is LEVEL:MATCH",
            "1:a 5:b": "log filter '5:b': a log level is 1 (debug), 2 (info), 3 (warning) or 4 (error), not ",
            "x:b": "not 'x'",
            ":b": "not ''",
            "1:a:b": "log filter '1:a:b': a name of a source has no colon",
            "1:a\0": "a zero byte",
            "1:a " * (MAX_PARTS + 1): f"more than {MAX_PARTS} log filters",
            "1:" + "a" * MAX_TEXT: f"more than {MAX_TEXT} characters",
        }.items():
            error = self.assertRaises(ValueError, parse_filters, text)
            self.assertIn(why, str(error))
            self.assertNotIn("\n", str(error))
            self.assertLess(len(str(error)), 300)

    @given(FILTERS)
    def test_what_is_printed_reads_back(self, filters: list[Filter]) -> None:
        self.assertEqual(tuple(filters), parse_filters(show(filters)))


class OutputsTests(SynchronousTestCase):
    """``LEVEL:KIND[:WHERE] ...``"""

    def test_read(self) -> None:
        text = "1:file:/var/log/a:b.log 3:stderr 2:stdout 4:syslog:vm 2:journald 1:json:/x"
        found = parse_outputs(text)
        self.assertEqual(Output(Level.DEBUG, Kind.FILE, "/var/log/a:b.log"), found[0])
        self.assertEqual(text, show(found))

    def test_the_later_of_two_counts(self) -> None:
        self.assertEqual("1:file:/b 4:file:/a", show(parse_outputs("3:file:/a 1:file:/b 4:file:/a")))

    def test_refused(self) -> None:
        for text, why in {
            "stderr": "log output 'stderr': a kind is one of stderr,",
            "1:paper": "a kind is one of stderr, stdout, file, json, syslog, journald",
            "0:stderr": "not '0'",
            "1:file": "file wants an absolute path: LEVEL:file:...",
            "1:file:": "file wants an absolute path",
            "1:json:x": "json wants an absolute path",
            "1:syslog": "syslog wants a name: LEVEL:syslog:...",
            "1:stderr:x": "stderr takes nothing more",
            "1:journald:": "journald takes nothing more",
        }.items():
            self.assertIn(why, str(self.assertRaises(ValueError, parse_outputs, text)))

    @given(OUTPUTS)
    def test_what_is_printed_reads_back(self, outputs: list[Output]) -> None:
        self.assertEqual(tuple(outputs), parse_outputs(show(outputs)))


class LevelTests(SynchronousTestCase):
    """A level on its own."""

    def test_read(self) -> None:
        self.assertEqual(list(Level), [parse_level(str(number)) for number in (1, 2, 3, 4)])

    def test_refused(self) -> None:
        for text in ("", "0", "5", "11", "debug", "\N{SUPERSCRIPT ONE}"):
            self.assertRaises(ValueError, parse_level, text)
