"""Finding drivers: by ``--driver`` specification, and by URI scheme.

A specification is a name or ``package.module:Class``, followed by options in the manner of Twisted's
endpoint strings: ``test``, ``test:keep:files=/srv/nodes``, ``my.package:Driver:speed=3``. Names come from
the entry-point group ``remotevirt.drivers``, in which any installed package can register one.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from itertools import takewhile
from typing import Any

from zope.interface import Invalid
from zope.interface.verify import verifyObject

from remotevirt.description import fields
from remotevirt.drivers.base import DriverURI, IDriver
from remotevirt.stubs.errors import NoConnect

__all__ = ["GROUP", "DriverRegistry", "load_driver"]

URI_MAXIMUM = 4096
"""Longest URI that a client may ask for, in characters. Python's URL parser keeps what it parsed last, so
long ones would stay in memory when their clients are gone. libvirt's only bound is that of strings."""

GROUP = "remotevirt.drivers"
"""The entry-point group."""

OBJECTS = frozenset({"reactor"})
"""Parameters of a class that programs give it and no specification can: they are not texts."""

BUILTIN = {
    "fake": "remotevirt.testing.driver:FakeDriver",
    "qemu": "remotevirt.drivers.qemu.driver:QemuDriver",
    "test": "remotevirt.drivers.test.driver:TestDriver",
}
"""Drivers of our own, found even where the package's metadata is not installed."""


def load_driver(spec: str, state: str | None = None) -> Any:
    """Make the driver that a specification describes.

    Options are passed to the class as keyword arguments: ``keep`` as True, ``files=DIR`` as text.

    Args:
        spec: the specification.
        state: the daemon's folder for what must outlive it; passed as the option ``state`` to a class that
            has one, unless the specification says otherwise. None for no folder.

    Raises:
        ValueError: the text is no specification, there is no such driver, or it refuses the options.
    """
    words = fields(spec)
    target, taken = _find([word for word, _ in takewhile(lambda word: word[1] is None, words)])
    options: dict[str, Any] = {}
    for number, (name, value) in enumerate(words):
        if number < taken:
            continue
        key = name.replace("-", "_")
        if not key.isidentifier() or key in options:
            raise ValueError(f"{name!r} is no option, or is given twice")
        options[key] = True if value is None else value
    parameters = _parameters_of(target)
    if parameters is not None:
        if state is not None and "state" in parameters:
            options.setdefault("state", state)
        _check_options(options, parameters)
    try:
        driver = target(**options)
    except TypeError as error:
        raise ValueError(str(error)) from error
    try:
        verifyObject(IDriver, driver)
    except Invalid as error:
        raise ValueError(f"not a driver: {' '.join(str(error).split())}") from error
    return driver


def _parameters_of(target: Any) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a class by name; None if it takes any, or does not say."""
    try:
        parameters = dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return None
    return None if any(one.kind is one.VAR_KEYWORD for one in parameters.values()) else parameters


def _check_options(options: Iterable[str], parameters: Mapping[str, inspect.Parameter]) -> None:
    """Check the names of options against the parameters of the class that gets them.

    Raises:
        ValueError: there is no such option, or one is missing.
    """
    known = [name for name in parameters if name not in OBJECTS]
    for name in options:
        if name not in known:
            names = ", ".join(map(_typed, known)) or "none"
            raise ValueError(f"unknown option {_typed(name)!r}; known: {names}")
    for name in known:
        if name not in options and parameters[name].default is inspect.Parameter.empty:
            raise ValueError(f"it needs an option {_typed(name)!r}")


def _typed(name: str) -> str:
    """Return the name of an option as one types it."""
    return name.replace("_", "-")


def _find(positional: list[str]) -> tuple[Any, int]:
    """Return the class that the first word or two name, and how many words that took.

    Args:
        positional: the words before the first that has a value.
    """
    name = positional[0] if positional else ""
    if not name:
        raise ValueError("a driver needs a name, or package.module:Class")
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if found:
        try:
            return found[0].load(), 1
        except (ImportError, AttributeError) as error:
            raise ValueError(f"cannot load driver {name} ({found[0].value}): {error}") from error
    if name in BUILTIN:
        module, _, attribute = BUILTIN[name].partition(":")
        return getattr(importlib.import_module(module), attribute), 1
    if len(positional) < 2:
        known = sorted({*BUILTIN, *(point.name for point in entry_points(group=GROUP))})
        raise ValueError(f"no driver named {name!r}; known: {', '.join(known)}, or package.module:Class")
    try:
        return getattr(importlib.import_module(name), positional[1]), 2
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot load driver {name}:{positional[1]}: {error}") from error


class DriverRegistry:
    """The drivers of a daemon, by the URI schemes that they answer."""

    __slots__ = ("_by_scheme", "drivers")

    def __init__(self, drivers: Iterable[Any]) -> None:
        self.drivers = tuple(drivers)
        self._by_scheme: dict[str, Any] = {}
        for driver in self.drivers:
            for scheme in driver.schemes:
                if scheme in self._by_scheme:
                    raise ValueError(f"two drivers answer {scheme}: URIs")
                self._by_scheme[scheme] = driver

    def route(self, name: str | None) -> tuple[Any, DriverURI]:
        """Return the driver that a client's URI means, and the URI in parts.

        No URI, or an empty one, means the first driver's default.

        Raises:
            VirError: VIR_ERR_NO_CONNECT, nobody answers this URI.
        """
        if not name:
            if not self.drivers:
                raise NoConnect()
            name = str(self.drivers[0].default_uri)
        if len(name) > URI_MAXIMUM:
            raise NoConnect(f"{name[:256]}...")
        try:
            uri = DriverURI.parse(name)
        except ValueError:
            raise NoConnect(name[:256]) from None
        if not uri.scheme:
            raise NoConnect(f"URI '{name[:256]}' does not include a driver name")
        driver = self._by_scheme.get(uri.scheme)
        if driver is None:
            raise NoConnect(name[:256])
        return driver, uri
