"""Finding drivers: by specification and by URI."""

from __future__ import annotations

import contextlib
import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from remotevirt.drivers import DriverRegistry, DriverURI, IDriver, load_driver, registry
from remotevirt.drivers.registry import URI_MAXIMUM
from remotevirt.drivers.test.driver import TestDriver
from remotevirt.errors import VirError
from tests.strategies import bounded


@implementer(IDriver)
class Recording:
    """A driver that keeps the options it was made with."""

    name = "recording"
    schemes: Any = ("rec", "rec2")
    default_uri = "rec:///"

    def __init__(self, **options: Any) -> None:
        if "bad" in options:
            raise ValueError("bad is bad")
        if "strange" in options:
            raise TypeError("that is no number")
        self.options = options

    def open(self, uri: Any, client: Any) -> Any:
        """Open nothing."""


@implementer(IDriver)
class Strict(Recording):
    """A driver that knows its options."""

    def __init__(self, speed: str = "1") -> None:
        super().__init__(speed=speed)


class Needy(Recording):
    """A driver that wants to be told something."""

    def __init__(self, top_speed: str) -> None:
        super().__init__(top_speed=top_speed)


class NoDriver:
    """Something else."""


class SpecCase(SynchronousTestCase):
    """A module with drivers in it, to load from."""

    def setUp(self) -> None:
        module = ModuleType("rv_fake_drivers")
        for cls in (Recording, Strict, Needy, NoDriver):
            setattr(module, cls.__name__, cls)
        module.NUMBER = 7
        sys.modules["rv_fake_drivers"] = module  # what is imported meanwhile has to stay
        self.addCleanup(sys.modules.pop, "rv_fake_drivers")

    def options(self, text: str) -> dict[str, Any]:
        """The options that a driver is made with for this text."""
        driver = load_driver(f"rv_fake_drivers:Recording{text}")
        self.assertIsInstance(driver, Recording)
        found: dict[str, Any] = driver.options
        return found

    def refused(self, spec: str) -> str:
        """Why a specification is refused, in one line."""
        text = str(self.assertRaises(ValueError, load_driver, spec))
        self.assertNotIn("\n", text)
        return text


class SpecTests(SpecCase):
    """Specifications."""

    def test_options(self) -> None:
        """Words are True, ``name=value`` is text, dashes become underscores."""
        for text, options in (
            ("", {}),
            (":keep", {"keep": True}),
            (":files=/srv/nodes", {"files": "/srv/nodes"}),
            (":keep:files=/srv:keep-more", {"keep": True, "files": "/srv", "keep_more": True}),
            (":empty=", {"empty": ""}),
            (":expression=a=b", {"expression": "a=b"}),
        ):
            self.assertEqual(options, self.options(text))

    def test_escapes(self) -> None:
        """A backslash takes the next character literally."""
        for text, options in (
            (r":files=C\:\\x", {"files": r"C:\x"}),
            (r":files=a\=b\:c", {"files": "a=b:c"}),
            (r":files=end\\", {"files": "end\\"}),
            (r":k\e\ep", {"keep": True}),
        ):
            self.assertEqual(options, self.options(text))

    def test_backslash_at_the_end(self) -> None:
        """It has nothing to take literally; nothing is dropped in silence."""
        for text in ("\\", ":files=/srv\\", ":files=a\\\\\\"):
            self.assertIn("backslash", self.refused(f"rv_fake_drivers:Recording{text}"))

    def test_bad_options(self) -> None:
        """Twice the same, none at all, no name."""
        for text in (":keep:keep", ":files=a:files=b", ":a-b:a_b", ":", ":=x", ":1x", ":a b"):
            self.assertIn("is no option", self.refused(f"rv_fake_drivers:Recording{text}"))

    def test_refused_by_the_driver(self) -> None:
        """Its own words; what it does not know is called unknown."""
        self.assertIn("bad is bad", self.refused("rv_fake_drivers:Recording:bad"))
        self.assertIn("that is no number", self.refused("rv_fake_drivers:Recording:strange"))
        self.assertIn("unknown option 'color'", self.refused("rv_fake_drivers:Strict:color=red"))
        self.assertEqual("it needs an option 'top-speed'", self.refused("rv_fake_drivers:Needy"))
        self.assertEqual({"speed": "3"}, load_driver("rv_fake_drivers:Strict:speed=3").options)

    def test_nothing_there(self) -> None:
        """No name, no such driver, no such module, no such class: each says so."""
        for spec in ("", ":", ":keep", "=x", "a=b:test"):
            self.assertIn("needs a name", self.refused(spec))
        self.assertIn("no driver named 'nonsense'; known: ", self.refused("nonsense"))
        self.assertIn("test", self.refused("nonsense"))
        self.assertIn("cannot load", self.refused("rv_no_such_module:Class"))
        self.assertIn("cannot load", self.refused("rv_fake_drivers:Nothing"))
        self.assertIn("cannot load", self.refused(".relative:Class"))

    def test_class_comes_before_options(self) -> None:
        """An option between module and class is not skipped."""
        self.assertIn("no driver named", self.refused("rv_fake_drivers:speed=3:Recording"))

    def test_no_driver(self) -> None:
        """A class that is none, and what is no class."""
        self.assertIn("not a driver", self.refused("rv_fake_drivers:NoDriver"))
        self.refused("rv_fake_drivers:NUMBER")

    def test_builtin(self) -> None:
        """The test driver is found by its name, with its options."""
        driver = load_driver("test:keep")
        self.assertIsInstance(driver, TestDriver)
        self.assertTrue(driver.keep)
        self.assertIn("keep", self.refused("test:keep=yes"))
        self.assertIn("unknown option 'kepe'; known: keep, files, state, newer", self.refused("test:kepe"))
        self.assertIn("known: state, user, images, monitor-timeout", self.refused("qemu:usr=x"))
        self.assertNotIn("reactor", self.refused("fake:wrold=x"))

    @bounded(200)
    @given(st.text(alphabet="ab:=\\-_/. ", max_size=20))
    def test_any_text(self, text: str) -> None:
        """Whatever the operator types: a driver, or ValueError."""
        with contextlib.suppress(ValueError):
            self.assertIsInstance(load_driver(f"rv_fake_drivers:Recording{text}"), Recording)


class EntryPointTests(SpecCase):
    """Drivers of other packages."""

    def install(self, *points: tuple[str, str]) -> None:
        """Let these entry points be installed."""
        found = EntryPoints(EntryPoint(name, value, registry.GROUP) for name, value in points)
        self.patch(registry, "entry_points", lambda group: found.select(group=group))

    def test_found_by_name(self) -> None:
        """With options."""
        self.install(("rec", "rv_fake_drivers:Recording"))
        self.assertEqual({"keep": True}, load_driver("rec:keep").options)

    def test_before_ours(self) -> None:
        """Whoever installs a driver under the name of one of ours means it."""
        self.install(("test", "rv_fake_drivers:Recording"))
        self.assertIsInstance(load_driver("test"), Recording)

    def test_broken(self) -> None:
        """One that cannot be loaded says which it is."""
        self.install(("gone", "rv_no_such_module:Driver"), ("odd", "rv_fake_drivers:Nothing"))
        for name in ("gone", "odd"):
            self.assertIn(f"cannot load driver {name} (rv_", self.refused(name))

    def test_named_among_the_known(self) -> None:
        """Who asks for an unknown one is told of it."""
        self.install(("rec", "rv_fake_drivers:Recording"))
        self.assertIn("known: fake, qemu, rec, test", self.refused("nonsense"))

    def test_group(self) -> None:
        """Only those of our group."""
        other = EntryPoints([EntryPoint("rec", "rv_fake_drivers:Recording", "other.group")])
        self.patch(registry, "entry_points", lambda group: other.select(group=group))
        self.assertIn("no driver named", self.refused("rec"))


class RouteTests(SynchronousTestCase):
    """From a URI to its driver."""

    def setUp(self) -> None:
        self.first, self.second = Recording(), Recording()
        self.second.schemes = ("other",)
        self.registry = DriverRegistry([self.first, self.second])

    def test_schemes(self) -> None:
        """Each driver answers its own, with or without a transport, in any case."""
        for text, driver in (
            ("rec:///", self.first),
            ("rec2:///x", self.first),
            ("other:///", self.second),
            ("other+tls://host/x", self.second),
            ("REC:///", self.first),
        ):
            self.assertIs(driver, self.registry.route(text)[0], text)

    def test_default(self) -> None:
        """Without a URI: the first driver's."""
        for name in (None, ""):
            driver, uri = self.registry.route(name)
            self.assertIs(self.first, driver)
            self.assertEqual("rec:///", uri.text)

    def test_no_drivers(self) -> None:
        """Then there is no default either."""
        for name in (None, "", "rec:///"):
            self.assertEqual(5, self.assertRaises(VirError, DriverRegistry([]).route, name).code)

    def test_two_drivers_one_scheme(self) -> None:
        """Somebody made a mistake."""
        error = self.assertRaises(ValueError, DriverRegistry, [self.first, Recording()])
        self.assertIn("two drivers answer rec: URIs", str(error))

    def test_unknown(self) -> None:
        """Error 5, with a text of bounded length."""
        for name in ("nobody:///", "+tcp:///", "rec", "//host/x", "rec://[half", "x" * 3000 + ":///", "\0"):
            error = self.assertRaises(VirError, self.registry.route, name)
            self.assertEqual(5, error.code, name)
            self.assertLess(len(error.message), 400)

    def test_words_as_libvirtds(self) -> None:
        """What the error says."""
        for name, detail in (
            ("nobody:///x", "nobody:///x"),
            ("rec", "URI 'rec' does not include a driver name"),
            ("//host/x", "URI '//host/x' does not include a driver name"),
        ):
            error = self.assertRaises(VirError, self.registry.route, name)
            self.assertEqual(f"no connection driver available for {detail}", error.message)

    def test_long_uris_are_not_kept(self) -> None:
        """What is too long is not even parsed: the parser would remember it."""
        self.registry.route("rec:///" + "x" * (URI_MAXIMUM - 7))
        before = urlsplit.cache_info().misses
        for number in range(10):
            name = f"rec:///{number}" + "x" * URI_MAXIMUM
            self.assertEqual(5, self.assertRaises(VirError, self.registry.route, name).code)
        self.assertEqual(before, urlsplit.cache_info().misses)

    @bounded(200)
    @given(st.text(max_size=60), st.sampled_from(("", "rec:", "rec://", "rec:///", "other+x://")))
    def test_any_text(self, text: str, head: str) -> None:
        """A client may ask for anything: a driver, or error 5."""
        try:
            driver, uri = self.registry.route(head + text)
        except VirError as error:
            self.assertEqual(5, error.code)
        else:
            self.assertIn(uri.scheme, driver.schemes)


class URITests(SynchronousTestCase):
    """The parts of a URI."""

    def test_parts(self) -> None:
        """Scheme without transport, path decoded, parameters with the last one winning."""
        uri = DriverURI.parse("test+unix://user@host:1/a%2Fb%20c?x=1&y=&x=2&socket=/run/s")
        self.assertEqual("test", uri.scheme)
        self.assertEqual("/a/b c", uri.path)
        self.assertEqual({"x": "2", "y": "", "socket": "/run/s"}, dict(uri.query))

    def test_too_many_parameters(self) -> None:
        """Are no URI."""
        DriverURI.parse("test:///?" + "&".join(f"a{n}=1" for n in range(64)))
        self.assertRaises(ValueError, DriverURI.parse, "test:///?" + "&".join(f"a{n}=1" for n in range(65)))
