"""Files and folders, and the files they include."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.loader import MAX_SIZE, Loaded, load_files
from remotevirt.rpcgen.model import Constant


class LoaderTests(TestCase):
    """Each test writes its files into a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def load(self, *names: str, **files: str) -> Loaded:
        for name, text in files.items():
            (self.folder / f"{name}.x").write_text(text)
        return load_files([self.folder / name for name in names])

    def failure(self, *names: str, **files: str) -> str:
        error = self.assertRaises(RpcgenError, self.load, *names, **files)
        return str(error).removeprefix(f"{self.folder}/")

    def test_folder(self) -> None:
        """A folder stands for all the files in it, as one contract."""
        (self.folder / "set").mkdir()
        (self.folder / "set" / "one.x").write_text('%#include "two.h"\nstruct a { b x; };')
        (self.folder / "set" / "two.x").write_text("struct b { int x; };")
        loaded = self.load("set")
        self.assertEqual([each.name for each in loaded.own.definitions], ["a", "b"])
        self.assertEqual((loaded.included, loaded.includes, loaded.external_types), ((), (), ()))

    def test_included(self) -> None:
        """Types of an included file may be used, directly or not, but they are not the contract's own."""
        loaded = self.load(
            "a.x",
            a='%#include "b.h"\n%#include "b.h"\nstruct a { b x; opaque o[N]; };',
            b='%#include "c.h"\n%#include "a.h"\nstruct b { c x; };'
            "program P { version V { void A(b) = 1; } = 1; } = 5;",
            c="struct c { int x; }; const N = 4;",
        )
        self.assertEqual([each.name for each in loaded.own.definitions], ["a"])
        self.assertEqual([each.name for each in loaded.contract.structs], ["a", "b", "c"])
        self.assertEqual([Path(each).name for each in loaded.included], ["b.x", "c.x"])
        self.assertEqual((loaded.includes, loaded.own.programs), (("b.x",), ()))

    def test_dialect_included(self) -> None:
        """A contract in libvirt's dialect next to the one that uses its types."""
        program = "const T_PROGRAM = {0}; const T_PROTOCOL_VERSION = 1; enum t_procedure {{ T_PROC_A = 1 }};"
        loaded = self.load(
            "b.x",
            a=program.format(1).replace("T_", "R_").replace("t_", "r_")
            + "typedef opaque r_uuid[VIR_UUID_BUFLEN];",
            b='%#include "a.h"\n' + program.format(2) + "struct t_a_args { r_uuid x; };",
        )
        self.assertTrue(loaded.dialect)
        self.assertEqual([each.number for each in loaded.own.programs], [2])
        self.assertNotIn("VIR_UUID_BUFLEN", [each.name for each in loaded.own.constants])

    def test_external_types(self) -> None:
        """Where an included file is not at hand, unknown types are listed; else they are errors."""
        loaded = self.load("a.x", a='%#include "gone.h"\nstruct a { far x; away y<>; far z; };')
        self.assertEqual(loaded.external_types, ("far", "away"))
        self.assertEqual(self.failure("b.x", b="struct a { far x; };"), "b.x:1:12: unknown type far")

    def test_supplied_constants(self) -> None:
        """Public constants are known to what includes libvirt's headers; others need to be defined."""
        text = '%#include "internal.h"\nstruct a { opaque x[VIR_UUID_BUFLEN]; opaque y[OTHER]; };'
        self.assertEqual(self.failure("a.x", a=text), "a.x:2:48: unknown constant OTHER")
        loaded = load_files([self.folder / "a.x"], {"OTHER": 3})
        self.assertEqual(loaded.supplied, ("VIR_UUID_BUFLEN", "OTHER"))
        self.assertEqual(loaded.own["OTHER"], Constant("OTHER", 3))
        self.assertEqual(
            self.failure("b.x", b="struct a { opaque x[VIR_UUID_BUFLEN]; };"),
            "b.x:1:21: unknown constant VIR_UUID_BUFLEN",
        )

    def test_declared_wins(self) -> None:
        """A constant that the contract declares is not supplied."""
        loaded = self.load(
            "a.x", a='%#include "internal.h"\nconst VIR_UUID_BUFLEN = 8; typedef opaque u[VIR_UUID_BUFLEN];'
        )
        self.assertEqual((loaded.supplied, loaded.contract.constants[0].value), ((), 8))

    def test_unreadable(self) -> None:
        """What is missing, empty, too large or no text."""
        self.assertEqual(self.failure("a.x"), "a.x: No such file or directory")
        (self.folder / "empty").mkdir()
        self.assertEqual(self.failure("empty"), "empty: there is no .x file in this folder")
        (self.folder / "b.x").write_bytes(b"const \xff")
        self.assertEqual(self.failure("b.x"), "b.x: not UTF-8 text (byte 6)")
        with (self.folder / "c.x").open("wb") as file:
            os.truncate(file.fileno(), MAX_SIZE + 1)
        self.assertEqual(self.failure("c.x"), f"c.x: larger than {MAX_SIZE} bytes")

    def test_empty(self) -> None:
        """A contract of nothing is a contract."""
        self.assertEqual(self.load("a.x", a="").contract.definitions, ())

    def test_odd_includes(self) -> None:
        """Only quoted headers are looked for, and never through a name that no file can have."""
        lines = ["%#include <b.h>", "%#define A", f'%#include "{"x" * 5000}.h"', '%#include "\\0.h"', "%"]
        self.assertEqual(self.load("a.x", a="\n".join(lines), b="struct b { int x; };").included, ())
