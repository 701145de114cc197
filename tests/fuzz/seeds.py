"""Where fuzzing begins: inputs of each target that mean something already."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.seeds import golden_payloads

__all__ = ["seeds"]

DATA = Path(__file__).resolve().parents[1]


def seeds(target: str) -> Iterator[bytes]:
    """The first inputs of a target, always in the same order."""
    yield from {
        "frames": _frames,
        "codecs": _codecs,
        "dispatch": _dispatch,
        "documents": _documents,
        "sasl": _sasl,
    }[target]()


def _calls() -> Iterator[bytes]:
    """Calls of real clients, whole messages."""
    for (program, procedure), payloads in sorted(golden_payloads().items()):
        for payload in payloads[:3]:
            header = struct.pack(">7I", 28 + len(payload), program, 1, procedure, 0, 9, 0)
            yield header + payload


def _frames() -> Iterator[bytes]:
    calls = list(_calls())
    for number in range(0, len(calls) - 3, 3):
        yield bytes([number % 40, number & 1]) + b"".join(calls[number : number + 3])
    yield bytes(2) + struct.pack(">8I", 32, 0x20008086, 1, 200, 4, 9, 0, 2) + bytes(2)


def _codecs() -> Iterator[bytes]:
    from tests.fuzz.targets import PROGRAMS, _structs

    structs = _structs()
    for program in PROGRAMS:
        for procedure in program.procedures.values():
            for payload in golden_payloads().get((program.number, procedure.number), ())[:2]:
                if procedure.args is not None:
                    yield struct.pack(">H", structs.index(procedure.args)) + payload


def _dispatch() -> Iterator[bytes]:
    calls = [call for call in _calls() if int.from_bytes(call[12:16]) != 2]
    for number, call in enumerate(calls):
        yield bytes([(8, 9, 12, 248)[number % 4]]) + call
    for number in range(0, len(calls) - 4, 4):
        yield b"\xf8" + b"".join(calls[number : number + 4])
    login = [struct.pack(">7I", 28, 0x20008086, 1, 67, 0, 1, 0)]
    start = struct.pack(">I", 4) + b"FAKE" + struct.pack(">II", 0, 0)
    login.append(struct.pack(">7I", 28 + len(start), 0x20008086, 1, 68, 0, 2, 0) + start)
    step = struct.pack(">II", 0, 0)
    login.append(struct.pack(">7I", 28 + len(step), 0x20008086, 1, 69, 0, 3, 0) + step)
    yield b"\xfa" + b"".join(login) + calls[0]


def _documents() -> Iterator[bytes]:
    recorded = json.loads((DATA / "drivers" / "documents.json").read_text())
    kinds = {"network": (1,), "pool": (3,), "volume": (5, 6), "interface": (7,), "device": (8,)}
    for kind, pairs in sorted(recorded.items()):
        for number in next((found for name, found in kinds.items() if name in kind), ()):
            for text, _ in pairs:
                yield bytes([number]) + text.encode("utf-8", "surrogateescape")
    for case in json.loads((DATA / "xml" / "data" / "documents.json").read_text())["cases"]:
        yield b"\0" + case["xml"].encode("utf-8", "surrogateescape")
    for path in sorted((DATA / "xml" / "data").glob("*.xml")):
        yield b"\0" + path.read_bytes()
    for section, text in ((2, "<host ip='10.0.0.2' name='a'/>"), (9, "<portgroup name='a'/>")):
        yield b"\2" + bytes([3, section]) + text.encode()
    yield b"\4<source><host name='a'/><dir path='/x'/></source>"
    yield b"\x0a<a xmlns='urn:y' b='1'><c/>text</a>"


def _sasl() -> Iterator[bytes]:
    yield b"\0n,,n=alice,r=abcdef\xffc=biws,r=abcdef,p=AAAA"
    yield b"\0n,a=alice,n=alice,r=abcdef\xff"
    yield b"\1\0alice\0pencil"
    yield b"\2y,,n=bob,r=x\xff\xff"
