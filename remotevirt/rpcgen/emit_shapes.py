"""What the fields of a contract look like to the emitters: typedefs resolved, sizes known.

A declaration is resolved to a :class:`Shape`: what typedefs hide is looked through, and what has a fixed
size on the wire gets a code of :mod:`struct`. :class:`Shapes` also notes what the emitted text refers to,
so that its imports can be written.
"""

from __future__ import annotations

import attrs

from remotevirt.rpcgen.model import Bound, Contract, Declaration, Enum, Kind, Struct, Typedef, Union
from remotevirt.rpcgen.naming import class_name

__all__ = ["NUMBERS", "Shape", "Shapes"]

UNBOUNDED = Bound(None, 0xFFFFFFFF)

NUMBERS: dict[str, tuple[str, int, str]] = {
    # contract type: struct code, size on the wire, Python type
    "int": ("i", 4, "int"),
    "unsigned int": ("I", 4, "int"),
    "hyper": ("q", 8, "int"),
    "unsigned hyper": ("Q", 8, "int"),
    "float": ("f", 4, "float"),
    "double": ("d", 8, "float"),
    "bool": ("I", 4, "int"),
    "char": ("3xB", 4, "int"),
    "unsigned char": ("3xB", 4, "int"),
    "short": ("i", 4, "int"),
    "unsigned short": ("2xH", 4, "int"),
}


@attrs.frozen
class Shape:
    """A declaration with its typedefs resolved.

    ``kind`` and ``type`` are those of the innermost declaration; ``optional`` tells that a typedef or the
    declaration itself makes it optional.
    """

    kind: Kind
    type: str
    bound: Bound | None = None
    optional: bool = False


class Shapes:
    """Resolves declarations, and notes what is used.

    Args:
        contract: where names are looked up.

    Attributes:
        structs: struct codes that the emitted text refers to.
        used: contract names (structs, unions, enums, constants) that it refers to.
        helpers: names of :mod:`remotevirt.xdr` that it refers to.
    """

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.structs: set[str] = set()
        self.used: set[str] = set()
        self.helpers: set[str] = set()

    def shape(self, declaration: Declaration) -> Shape:
        """Resolve a declaration through its typedefs."""
        kind, type_, bound, optional = declaration.kind, declaration.type, declaration.bound, False
        if kind is Kind.OPTIONAL:
            kind, optional = Kind.SCALAR, True
        while kind is Kind.SCALAR:
            target = self.contract.get(type_)
            if not isinstance(target, Typedef):
                break
            inner = target.declaration
            kind, type_, bound = inner.kind, inner.type, inner.bound
            if kind is Kind.OPTIONAL:
                kind, optional = Kind.SCALAR, True
        return Shape(kind, type_, bound, optional)

    def python_type(self, declaration: Declaration) -> str:
        """Return the annotation of a field."""
        shape = self.shape(declaration)
        text = self._plain_type(shape)
        return f"{text} | None" if shape.optional else text

    def _plain_type(self, shape: Shape) -> str:
        if shape.kind is Kind.STRING:
            return "str"
        if shape.kind in (Kind.OPAQUE, Kind.OPAQUE_FIXED):
            return "bytes"
        if shape.kind in (Kind.FIXED_ARRAY, Kind.VARIABLE_ARRAY):
            if shape.type in ("char", "unsigned char"):
                return "bytes"
            return f"Sequence[{self.python_type(Declaration('item', shape.type))}]"
        if shape.type in NUMBERS:
            return NUMBERS[shape.type][2]
        self.used.add(shape.type)
        return class_name(shape.type)

    def least_size(self, declaration: Declaration, depth: int = 0) -> int:
        """Return the smallest size in bytes that a value can have on the wire."""
        shape = self.shape(declaration)
        if shape.optional or depth > 8:
            return 4
        if shape.kind is Kind.OPAQUE_FIXED and shape.bound:
            return ((shape.bound.value or 0) + 3) & ~3
        if shape.kind is Kind.FIXED_ARRAY and shape.bound:
            return (shape.bound.value or 0) * self.least_size(Declaration("item", shape.type), depth + 1)
        if shape.kind is not Kind.SCALAR:
            return 4
        if shape.type in NUMBERS:
            return NUMBERS[shape.type][1]
        target = self.contract[shape.type]
        if isinstance(target, Struct):
            return sum(self.least_size(field, depth + 1) for field in target.fields)
        if isinstance(target, Union):
            arms = [arm.field for arm in target.arms] + ([target.default] if target.has_default else [])
            return 4 + min((self.least_size(arm, depth + 1) if arm else 0) for arm in arms)
        return 4

    def _fixed_code(self, shape: Shape) -> tuple[str, int] | None:
        """Return struct code and size where a value can be part of a fused Struct."""
        if shape.optional:
            return None
        if shape.kind is Kind.OPAQUE_FIXED and shape.bound:
            size = shape.bound.value or 0
            padding = -size & 3
            return f"{size}s" + (f"{padding}x" if padding else ""), size + padding
        if shape.kind is not Kind.SCALAR:
            return None
        if shape.type in NUMBERS:
            code, size, _ = NUMBERS[shape.type]
            return code, size
        if isinstance(self.contract.get(shape.type), Enum):
            return "i", 4
        return None

    def _maximum(self, bound: Bound | None) -> str:
        bound = bound or UNBOUNDED
        if bound.name:
            self.used.add(bound.name)
            return bound.name
        return str(UNBOUNDED.value if bound.value is None else bound.value)

    def _helper(self, name: str) -> str:
        self.helpers.add(name)
        return name

    def _struct(self, codes: str) -> str:
        self.structs.add(codes)
        return f"_{codes}"
