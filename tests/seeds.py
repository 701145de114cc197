"""Payloads to attack with: plausible ones, those of real clients, and what chance makes of them.

Everything is drawn from a ``random.Random``, so that a seed says what was sent.
"""

from __future__ import annotations

import json
import struct
import types
import typing
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from remotevirt.errors import XDRError
from remotevirt.procedures import Procedure
from remotevirt.rpc.message import HEADER_SIZE

__all__ = ["WORDS", "golden_payloads", "mutate", "plausible"]

GOLDEN = Path(__file__).parent / "data" / "golden"

WORDS = (
    0,
    1,
    2,
    3,
    7,
    16,
    255,
    256,
    1024,
    4096,
    65535,
    1 << 20,
    1 << 22,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
)
"""Numbers at which something may change."""

UUID = bytes.fromhex("6695eb01f6a48304 79aa97f2502e193f".replace(" ", ""))
"""Of libvirt's built-in guest "test"."""

TEXTS = (
    "test",
    "default",
    "default-pool",
    "eth1",
    "computer",
    "vda",
    "",
    "a" * 2000,
    "\u20ac\U0001f600",
    "%s%n",
    "../../etc/passwd",
    "<domain type='test'><name>x</name><memory>1</memory><os><type>hvm</type></os></domain>",
    "<network><name>x</name></network>",
    "<a>&b;</a>",
    "test:///default",
)


@cache
def golden_payloads() -> dict[tuple[int, int], tuple[bytes, ...]]:
    """What real clients sent: (program, procedure) -> payloads."""
    found: dict[tuple[int, int], dict[bytes, None]] = {}
    for path in sorted(GOLDEN.glob("*.json")):
        for message in json.loads(path.read_text())["messages"]:
            data = bytes.fromhex(message["hex"])
            if message["from"] == "client" and int.from_bytes(data[16:20]) == 0:
                key = int.from_bytes(data[4:8]), int.from_bytes(data[12:16])
                found.setdefault(key, {})[data[4 + HEADER_SIZE :]] = None
    return {key: tuple(payloads) for key, payloads in found.items()}


def plausible(procedure: Procedure, random: Random) -> bytes:
    """A payload that decodes, of values that may mean something."""
    if procedure.args is None:
        return b""
    for _ in range(30):
        try:
            packed: bytes = _value(procedure.args, random, 0).pack()
        except (XDRError, struct.error):
            continue
        return packed
    return bytes(4 * random.randrange(8))


def mutate(data: bytes, random: Random, most: int = 4) -> bytes:
    """These bytes with a few changed, removed, repeated or added."""
    changed = bytearray(data)
    for _ in range(random.randint(1, most)):
        place = random.randrange(len(changed) + 1)
        how = random.randrange(6)
        if how == 0 and place < len(changed):
            changed[place] = random.randrange(256)
        elif how == 1:
            place &= ~3
            changed[place : place + 4] = random.choice(WORDS).to_bytes(4)
        elif how == 2:
            del changed[place : place + random.randint(1, 8)]
        elif how == 3:
            changed[place:place] = random.randbytes(random.randint(1, 8))
        elif how == 4:
            changed[place:place] = changed[place : place + random.randint(1, 64)]
        else:
            del changed[place:]
    return bytes(changed)


def _value(hint: Any, random: Random, depth: int) -> Any:
    """A value of a field of a generated struct."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        choices = [one for one in inner if one is not type(None)]
        if type(None) in inner and (depth > 4 or random.random() < 0.3):
            return None
        return _value(random.choice(choices), random, depth)
    if origin is not None:
        count = 0 if depth > 4 else random.choice((0, 1, 2, 3))
        return [_value(inner[0], random, depth + 1) for _ in range(count)]
    if hint is str:
        return random.choice(TEXTS)
    if hint is bytes:
        return random.choice((UUID, UUID, b"", b"\0", random.randbytes(random.randrange(40))))
    if hint is bool:
        return random.random() < 0.5
    if hint is float:
        return random.choice((0.0, 1.5, float("inf"), float("nan")))
    fields = getattr(hint, "_fields", None)
    if fields is not None:
        hints = typing.get_type_hints(hint)
        return hint(*(_value(hints[name], random, depth + 1) for name in fields))
    if isinstance(hint, type) and issubclass(hint, int):
        return random.choice((0, 0, 1, 1, 2, -1, *WORDS))
    return random.choice((0, 1))
