"""Emitted codecs of shapes that libvirt's contracts do not have, held to the reference codec."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import XDRError
from remotevirt.rpcgen.emit import Source, emit_stubs
from remotevirt.rpcgen.loader import load_files
from remotevirt.rpcgen.reference import ReferenceCodec

CONTRACT = (
    r"""
/* A backslash \ and """
    + '"""'
    + r""" quotes. */
typedef int odd_row<3>;
typedef odd_row odd_rows<2>;
typedef opaque odd_tag[5];
typedef odd_tag odd_tags<4>;
typedef string odd_name<8>;
typedef odd_name odd_names[2];
struct false { short count; unsigned short pos; float item; bool self; };
struct odd_pair { false ends[2]; };
struct odd_shapes {
    odd_rows rows;
    odd_row *perhaps;
    odd_tags tags;
    odd_tag *tag;
    odd_names names;
    hyper three[3];
    char letters[3];
    unsigned char more<6>;
    odd_pair pairs<2>;
    double numbers<>;
};
"""
)

END = {"count": -2, "pos": 65535, "item": 0.5, "self": True}
VALUE = {
    "rows": [[1, -2, 3], []],
    "perhaps": [7],
    "tags": [b"abcde", b"\0\1\2\3\4"],
    "tag": None,
    "names": ["one", "zwölf"],
    "three": [1, -1, 2**62],
    "letters": b"xyz",
    "more": b"\0\xff",
    "pairs": [{"ends": [END, END]}],
    "numbers": [0.25, -1.0],
}


class OddShapesTests(SynchronousTestCase):
    """A contract with nested arrays, fixed arrays, optional arrays and reserved names."""

    def setUp(self) -> None:
        path = Path(self.mktemp() + ".x")
        path.write_text(CONTRACT)
        contract = load_files([path]).contract
        self.reference = ReferenceCodec(contract)
        files = emit_stubs([Source("odd", contract, [path.stem], {})], ())
        self.module: dict[str, Any] = {"__name__": "odd"}
        exec(compile(files["odd.py"], "odd.py", "exec"), self.module)

    def make(self, **changes: Any) -> Any:
        """Make the struct of VALUE, with some fields changed."""
        fields = {**VALUE, **changes}
        end = self.module["False_"](*END.values())
        fields["pairs"] = [self.module["OddPair"](fields.get("ends", [end, end]))]
        fields.pop("ends", None)
        return self.module["OddShapes"](**fields)

    def test_same_bytes(self) -> None:
        """The emitted encoding is the reference codec's, and decodes to the same values."""
        shapes = self.make()
        data = shapes.pack()
        self.assertEqual(data, self.reference.pack("odd_shapes", VALUE))
        self.assertEqual(self.module["OddShapes"].unpack(data + b"more", 0), (shapes, len(data)))

    def test_optional_array_absent(self) -> None:
        """An optional array that is not there takes a word."""
        data = self.make(perhaps=None, tag=b"54321").pack()
        self.assertEqual(data, self.reference.pack("odd_shapes", {**VALUE, "perhaps": None, "tag": b"54321"}))

    def test_sizes_enforced(self) -> None:
        """What has a fixed size must have it, and what has a bound keeps it."""
        end = self.module["False_"](*END.values())
        changes: tuple[dict[str, Any], ...] = (
            {"names": ["one"]},
            {"three": [1, 2]},
            {"letters": b"wxyz"},
            {"tags": [b"four"]},
            {"tag": b"sixsix"},
            {"ends": [end]},
            {"rows": [[1, 2, 3, 4]]},
            {"rows": [[], [], []]},
            {"more": b"seven.."},
        )
        for change in changes:
            self.assertRaises(XDRError, self.make(**change).pack)
