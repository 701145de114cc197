"""Tables of the architecture and protocol pages, made from the code: states, limits, programs.

``stream-states``          the transition table of a stream
``keepalive-intervals``    what the keepalive counter asks for, interval by interval
``limits:: operator``      what an operator can set
``limits:: wire``          the bounds of the contract
``limits:: own``           the bounds that are ours
``programs``               the programs of the contract
"""

from __future__ import annotations

import re
from importlib import import_module
from inspect import getdoc
from pkgutil import iter_modules
from typing import Any

import attrs
from docutils import nodes
from sphinx.application import Sphinx
from tables import TableDirective, documented_constants, plain, show_number

from remotevirt import config, damper
from remotevirt.auth import kerberos, limiter, scram, users
from remotevirt.auth import plain as plain_mechanism
from remotevirt.auth import text as auth_text
from remotevirt.observe import audit, endpoint, status
from remotevirt.rpc import connection, framing
from remotevirt.rpc.keepalive import Keepalive, KeepaliveAction
from remotevirt.rpc.message import Kind
from remotevirt.rpc.stream import TRANSITIONS, StreamState
from remotevirt.server import limits
from remotevirt.server.daemon import PROGRAMS
from remotevirt.stubs import admin, keepalive, message, remote
from remotevirt.transport import connection as tls_connection
from remotevirt.transport import context, pki, settings
from remotevirt.xml import parse

OURS = (
    framing,
    connection,
    limits,
    settings,
    tls_connection,
    context,
    pki,
    config,
    parse,
    damper,
    audit,
    endpoint,
    status,
    auth_text,
    scram,
    plain_mechanism,
    kerberos,
    limiter,
    users,
)
"""Modules whose constants with MAX or a like word in their names are limits of our own."""

LIMIT_NAME = re.compile(r"(^|_)(MAX|MAXIMUM|HIGH|TIMEOUT)(_|$)")
LIBVIRT_DEFAULT = re.compile(r"\s*\(libvirtd: ([^)]+)\)")


class StreamStates(TableDirective):
    """A row for each state, a column for each kind of packet."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        kinds = [kind for kind in Kind if any(kind is packet for _, packet in TRANSITIONS)]
        rows = [
            [f"**{state.value}**"]
            + [
                next_state.value if (next_state := TRANSITIONS.get((state, kind))) else "not allowed"
                for kind in kinds
            ]
            for state in StreamState
        ]
        return self.table(["state", *(kind.value for kind in kinds)], rows, [2] + [2] * len(kinds))


class KeepaliveIntervals(TableDirective):
    """What happens at the end of each interval in which nothing was heard, with the default settings."""

    def run(self) -> list[nodes.Node]:
        """Let a counter run until it gives up."""
        defaults = limits.Limits()
        counter = Keepalive(defaults.keepalive_count)
        counter.heard()
        rows = []
        seconds = 0
        action = KeepaliveAction.NOTHING
        while action is not KeepaliveAction.DEAD:
            action = counter.tick()
            seconds += defaults.keepalive_interval
            nothing = "nothing: " if action is KeepaliveAction.NOTHING else ""
            rows.append([f"{seconds} s", nothing + action.value])
        return self.table(["after", "what the daemon does"], rows, [1, 4])


class Limits(TableDirective):
    """One of the three tables of limits."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table that the argument names."""
        make: dict[str, Any] = {"operator": self._operator, "wire": self._wire, "own": self._own}
        return make[self.arguments[0]]()  # type: ignore[no-any-return]

    def _operator(self) -> list[nodes.Node]:
        described = dict(
            re.findall(
                r"^    (\w+): (.+?)(?=^    \w+: |\Z)", getdoc(limits.Limits) or "", re.MULTILINE | re.DOTALL
            )
        )
        rows = []
        for field in attrs.fields(limits.Limits):
            text = plain(described[field.name])
            theirs = LIBVIRT_DEFAULT.search(text)
            text = LIBVIRT_DEFAULT.sub("", text)
            rows.append(
                [f"``{field.name}``", str(field.default), theirs[1] if theirs else "has no such key", text]
            )
        return self.table(["key", "default", "libvirtd's", "meaning"], rows, [4, 1, 2, 8])

    def _wire(self) -> list[nodes.Node]:
        found = {name: value for name, value in vars(message).items() if name.endswith("_MAX")}
        for info in iter_modules(remote.__path__):
            module = import_module(f"{remote.__name__}.{info.name}")
            found |= {name: value for name, value in vars(module).items() if name.endswith("_MAX")}
        rows = [[f"``{name}``", show_number(value)] for name, value in sorted(found.items())]
        return self.table(["bound", "value, libvirt's and ours"], rows, [3, 2])

    def _own(self) -> list[nodes.Node]:
        rows = [
            [
                f"``{name}``",
                show_number(value),
                f"``{module.__name__.removeprefix('remotevirt.')}``",
                plain(text),
            ]
            for module in OURS
            for name, (value, text) in documented_constants(module).items()
            if LIMIT_NAME.search(name) and isinstance(value, int | float)
        ]
        return self.table(["limit", "value", "module", "what it bounds"], rows, [4, 3, 3, 9])


class Programs(TableDirective):
    """Each program, its numbers, and how many calls and events it has."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        served = {program.number for program in PROGRAMS}
        rows = []
        for program in (*PROGRAMS, keepalive.PROGRAM, admin.PROGRAM):
            events = sum(procedure.event for procedure in program.procedures.values())
            rows.append(
                [
                    program.name,
                    f"``{program.number:#010x}``",
                    str(program.version),
                    str(len(program.procedures) - events),
                    str(events),
                    "yes" if program.number in served or program is keepalive.PROGRAM else "",
                ]
            )
        return self.table(
            ["program", "number", "version", "calls", "events", "served"], rows, [2, 2, 1, 1, 1, 1]
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("stream-states", StreamStates)
    app.add_directive("keepalive-intervals", KeepaliveIntervals)
    app.add_directive("limits", Limits)
    app.add_directive("programs", Programs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
