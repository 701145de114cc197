"""The dispatcher by itself: what it looks up, and how often."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.rpc.message import pack_call
from remotevirt.server.dispatch import Dispatcher
from remotevirt.stubs import remote
from remotevirt.stubs.errors import NoDomain
from remotevirt.stubs.remote import (
    ConnectListAllDomainsArgs,
    ConnectListAllDomainsRet,
)
from tests.server.dispatching import GET_VERSION, NUMBER, Boom
from tests.server.fakes import DOMAIN


class RowTests(SynchronousTestCase):
    """The dispatcher by itself: what it looks up, and how often."""

    def setUp(self) -> None:
        self.found: list[str] = []
        programs = {(NUMBER, 1): remote.PROGRAM}
        owner: Any = None  # an ordinary call needs none
        self.dispatcher = Dispatcher(programs, self, owner)

    def find(self, program: Any, procedure: Any) -> Any:
        """Find a method for anything."""
        self.found.append(procedure.name)
        if procedure.name == "connect_get_type":
            raise NoDomain("not yet")
        if procedure.name == "connect_get_hostname":
            raise Boom("find")
        return lambda *args: 7, None

    def test_once_for_each_procedure(self) -> None:
        """A method is looked up at its first call, and again after ``forget``."""
        for _ in range(3):
            self.dispatcher.dispatch(pack_call(NUMBER, 1, GET_VERSION, 1)[4:])
        self.assertEqual(["connect_get_version"], self.found)
        self.dispatcher.forget()
        self.dispatcher.dispatch(pack_call(NUMBER, 1, GET_VERSION, 1)[4:])
        self.assertEqual(2, len(self.found))

    def test_refusals_are_not_kept(self) -> None:
        """What is not allowed now may be later."""
        frame = pack_call(NUMBER, 1, 3, 1)[4:]
        for _ in range(2):
            self.dispatcher.dispatch(frame)
        self.assertEqual(["connect_get_type"] * 2, self.found)

    def test_bug_in_find(self) -> None:
        """An exception while looking is an internal error too."""
        self.dispatcher.dispatch(pack_call(NUMBER, 1, 59, 1)[4:])
        self.assertEqual(1, len(self.flushLoggedErrors(Boom)))
        self.assertIn(b"internal error", b"".join(self.dispatcher.out))

    def test_bulk(self) -> None:
        """Large replies are counted, small ones are not."""
        self.dispatcher.dispatch(pack_call(NUMBER, 1, GET_VERSION, 1)[4:])
        self.assertEqual(0, self.dispatcher.bulk)
        number = remote.PROGRAM.by_name["connect_list_all_domains"].number
        ret = ConnectListAllDomainsRet([DOMAIN] * 100, 100)
        self.patch(self, "find", lambda program, procedure: (lambda *args: ret, None))
        frame = pack_call(NUMBER, 1, number, 1, ConnectListAllDomainsArgs(1, 0).pack())[4:]
        self.dispatcher.dispatch(frame)
        self.assertEqual(len(ret.pack()), self.dispatcher.bulk)
