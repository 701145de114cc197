"""Methods in steps: what is done at once, what is done aside, and what happens in between."""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults, inlineCallbacks
from twisted.trial.unittest import TestCase

from remotevirt.drivers.documents import LARGE, Steps, Work, in_steps
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError
from tests.drivers.driving import connect


def where(text: str) -> tuple[str, int]:
    """What reads a document here: returns the thread it was called in."""
    if text.startswith("bad"):
        raise XmlError("bad")
    return text[:4], threading.get_ident()


class Methods:
    """Some methods in steps."""

    def __init__(self) -> None:
        self.ended: list[Any] = []

    @in_steps
    def read(self, text: str) -> Steps[tuple[str, int]]:
        """Read one document."""
        try:
            result: tuple[str, int] = yield Work(len(text), where, text)
        except BaseException as error:
            self.ended.append(type(error))
            raise
        self.ended.append(result[0])
        return result

    @in_steps
    def read_three(self, text: str) -> Steps[list[str]]:
        """Read a short one, a long one, and a short one."""
        found = []
        for part in (text, text + "x" * LARGE, text):
            name, _ = yield Work(len(part), where, part)
            found.append(name)
        return found

    @in_steps
    def forgive(self, text: str) -> Steps[str]:
        """Go on after an error."""
        try:
            yield Work(len(text), where, text)
        except VirError as error:
            return error.message
        return "fine"


class InStepsTests(TestCase):
    """The decorator."""

    def test_short(self) -> None:
        """A short document is read at once, in the thread of the reactor."""
        self.assertEqual(Methods().read("text"), ("text", threading.get_ident()))
        self.assertRaises(XmlError, Methods().read, "bad")
        self.assertEqual(Methods().forgive("bad"), "XML error: bad")

    @inlineCallbacks
    def test_long(self) -> Any:
        """A long one is read in another, and errors come out as they are."""
        text, thread = yield Methods().read("text" + "x" * LARGE)
        self.assertEqual(text, "text")
        self.assertNotEqual(thread, threading.get_ident())
        yield self.assertFailure(Methods().read("bad" + "x" * LARGE), XmlError)
        self.assertEqual((yield Methods().forgive("bad" + "x" * LARGE)), "XML error: bad")

    @inlineCallbacks
    def test_several(self) -> Any:
        """A method may have any number of steps."""
        self.assertEqual((yield Methods().read_three("text")), ["text"] * 3)

    @inlineCallbacks
    def test_cancelled(self) -> Any:
        """A method that nobody waits for any more ends where it is; whose turn had not come is never read."""
        methods = Methods()
        calls = [methods.read(f"{number:4}" + "x" * LARGE) for number in range(3)]
        for call in calls[:2]:
            call.cancel()
            yield self.assertFailure(call, CancelledError)
        self.assertEqual(methods.ended, [CancelledError, CancelledError])
        yield calls[2]
        self.assertEqual(methods.ended[2:], ["   2"])


class DriverTests(TestCase):
    """Long documents of the embedded hypervisor."""

    @inlineCallbacks
    def test_order(self) -> Any:
        """Short calls overtake a long one; long ones keep their order."""
        calls: Any = connect().network
        order: list[str] = []
        long = network_xml("long", f"<forward mode='private'>{many_ways(3000)}</forward>")
        first = calls.network_define_xml(long)
        second = calls.network_define_xml(long.replace("long", "next"))
        self.assertIsInstance(first, Deferred)
        first.addCallback(lambda ref: order.append(ref.name))
        second.addCallback(lambda ref: order.append(ref.name))
        order.append(calls.network_define_xml(network_xml("short", "")).name)
        yield gatherResults([first, second])
        self.assertEqual(order, ["short", "long", "next"])

    @inlineCallbacks
    def test_updates_are_not_lost(self) -> Any:
        """Changes of a large network that run into one another all take effect."""
        calls: Any = connect().network
        ref = yield calls.network_define_xml(network_xml("long", many_groups(1500)))
        updates = [
            calls.network_update(
                ref,
                c.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
                c.VIR_NETWORK_SECTION_PORTGROUP,
                -1,
                f"<portgroup name='new{number}'/>",
                0,
            )
            for number in range(3)
        ]
        yield gatherResults(updates)
        text = yield calls.network_get_xml_desc(ref, 0)
        for number in range(3):
            self.assertIn(f"new{number}", text)


def network_xml(name: str, content: str) -> str:
    """A network's document."""
    return f"<network><name>{name}</name>{content}</network>"


def many_ways(count: int) -> str:
    """Ways out of a network."""
    return "".join(f"<interface dev='e{number}'/>" for number in range(count))


def many_groups(count: int) -> str:
    """Port groups of a network."""
    return "".join(f"<portgroup name='group{number}'/>" for number in range(count))
