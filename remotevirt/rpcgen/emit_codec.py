"""Emit one struct or union as a NamedTuple with a straight-line codec.

Fields are first resolved to *shapes*: what typedefs hide is looked through, and what has a fixed size on
the wire becomes a code of :mod:`struct`. Neighbouring fixed-size fields are then fused into one
``Struct``, and everything else becomes one expression (packing) and one statement or short loop
(unpacking) in terms of :mod:`remotevirt.xdr`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from remotevirt.rpcgen.emit_shapes import Shape, Shapes
from remotevirt.rpcgen.model import Contract, Declaration, Enum, Kind, Struct, Union
from remotevirt.rpcgen.naming import class_name, field_name

__all__ = ["CodecEmitter"]


def _fuse(codes: Iterable[str]) -> str:
    """Join struct codes, counting repeats: i, i, Q -> 2iQ."""
    fused: list[tuple[str, int]] = []
    for code in codes:
        if fused and fused[-1][0] == code and len(code) == 1:
            fused[-1] = (code, fused[-1][1] + 1)
        else:
            fused.append((code, 1))
    return "".join(code if count == 1 else f"{count}{code}" for code, count in fused)


def join(parts: Sequence[str]) -> str:
    """Return the expression that joins encodings, some of which may be starred."""
    if len(parts) > 1:
        return f'b"".join(({", ".join(parts)}))'
    return f'b"".join({parts[0][1:]})' if parts[0].startswith("*") else parts[0]


def nested(outer: str, name: str) -> str:
    """Return a local name for what is inside ``outer``, unlike the names outside."""
    return f"{outer}_{name}" if outer.startswith("item") else name


def spread(head: str, items: Sequence[str], tail: str) -> list[str]:
    """Return ``head(items)tail`` in one line, or with one item a line where that would be too long."""
    one_line = f"{head}({', '.join(items)}{',' if len(items) == 1 else ''}){tail}"
    if len(one_line) <= 96:
        return [one_line]
    return [f"{head}(", *(f"    {item}," for item in items), f"){tail}"]


class CodecEmitter(Shapes):
    """Emit the classes of one module.

    Args:
        contract: where names are looked up.
    """

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        procedures = [each for program in contract.programs for each in program.procedures]
        self.results = {procedure.ret for procedure in procedures}
        self.arguments = {procedure.args for procedure in procedures if not procedure.event}
        self.keepers: list[str] = []
        """Classes whose decoded values are kept."""

    # -- packing -----------------------------------------------------------------------------------

    def pack_lines(self, fields: Iterable[Declaration]) -> list[str]:
        """Return the body of a pack function whose fields are local variables."""
        checks: list[str] = []
        parts: list[str] = []
        run: list[tuple[str, str]] = []

        def close_run() -> None:
            if run:
                codes = _fuse(code for code, _ in run)
                names = ", ".join(name for _, name in run)
                parts.append(f"{self._struct(codes)}.pack({names})")
                run.clear()

        for field in fields:
            name = field_name(field.name)
            shape = self.shape(field)
            fixed = self._fixed_code(shape)
            if fixed:
                if shape.kind is Kind.OPAQUE_FIXED and shape.bound:
                    size = shape.bound.value
                    checks.append(f"if len({name}) != {size}:")
                    self._helper("XDRError")
                    checks.append(f'    raise XDRError(f"{field.name} of {{len({name})}} bytes, not {size}")')
                run.append((fixed[0], name))
                continue
            close_run()
            parts += self._pack_parts(shape, name)
        close_run()
        if len(parts) == 1 and not parts[0].startswith("*"):
            return [*checks, f"return {parts[0]}"]
        one_line = f"return {join(parts)}"
        if len(one_line) <= 100:
            return [*checks, one_line]
        return [*checks, 'return b"".join(', "    (", *(f"        {part}," for part in parts), "    )", ")"]

    def _pack_parts(self, shape: Shape, name: str) -> list[str]:
        """Return the expressions, some of them starred, that make a variable's encoding when joined."""
        if shape.kind in (Kind.FIXED_ARRAY, Kind.VARIABLE_ARRAY) and not shape.optional:
            return self._pack_array(shape, name)
        return [self._pack_one(shape, name)]

    def _pack_one(self, shape: Shape, name: str) -> str:
        if shape.optional:
            parts = self._pack_parts(attrs.evolve(shape, optional=False), name)
            inner = join(parts)
            return f"{self._helper('ABSENT')} if {name} is None else {self._helper('PRESENT')} + {inner}"
        if shape.kind is Kind.OPAQUE_FIXED:
            return f"{self._helper('pack_fixed_opaque')}({name}, {self._maximum(shape.bound)})"
        fixed = self._fixed_code(shape)
        if fixed:
            return f"{self._struct(fixed[0])}.pack({name})"
        if shape.kind is Kind.STRING:
            return f"{self._helper('pack_string')}({name}, {self._maximum(shape.bound)})"
        if shape.kind is Kind.OPAQUE:
            return f"{self._helper('pack_opaque')}({name}, {self._maximum(shape.bound)})"
        return f"{name}.pack()"

    def _pack_array(self, shape: Shape, name: str) -> list[str]:
        maximum = self._maximum(shape.bound)
        variable = shape.kind is Kind.VARIABLE_ARRAY
        if shape.type in ("char", "unsigned char"):
            return [f"{self._helper('pack_chars' if variable else 'pack_fixed_chars')}({name}, {maximum})"]
        item = self.shape(Declaration("item", shape.type))
        code = self._fixed_code(item)
        if code and len(code[0]) == 1 and variable:
            return [f'{self._helper("pack_numbers")}({name}, {maximum}, "{code[0]}")']
        inner = nested(name, "item")
        items = f"*[{join(self._pack_parts(item, inner))} for {inner} in {name}]"
        if variable:
            return [f"{self._helper('pack_count')}(len({name}), {maximum})", items]
        return [f"{self._helper('check_count')}(len({name}), {maximum})", items]

    # -- unpacking ---------------------------------------------------------------------------------

    def unpack_lines(self, fields: Iterable[Declaration]) -> list[str]:
        """Return statements that decode fields into local variables, advancing ``pos``."""
        lines: list[str] = []
        run: list[tuple[str, int, str]] = []
        enums: list[str] = []

        def close_run() -> None:
            if run:
                codes = _fuse(code for code, _, _ in run)
                names = [name for _, _, name in run]
                lines.extend(spread("", names, f" = {self._struct(codes)}.unpack_from(buf, pos)"))
                lines.append(f"pos += {sum(size for _, size, _ in run)}")
                run.clear()
            lines.extend(enums)
            enums.clear()

        for field in fields:
            name = field_name(field.name)
            shape = self.shape(field)
            fixed = self._fixed_code(shape)
            if fixed:
                run.append((*fixed, name))
                if isinstance(self.contract.get(shape.type), Enum):
                    self.used.add(shape.type)
                    enums.append(f"{name} = {self._helper('unpack_enum')}({class_name(shape.type)}, {name})")
                continue
            close_run()
            lines.extend(self._unpack_part(shape, name))
        close_run()
        return lines

    def _unpack_part(self, shape: Shape, name: str) -> list[str]:
        if shape.optional:
            inner = self._unpack_part(attrs.evolve(shape, optional=False), name)
            annotation = self._plain_type(shape)
            return [
                f"{name}: {annotation} | None = None",
                f"present, pos = {self._helper('unpack_optional')}(buf, pos)",
                "if present:",
                *(f"    {line}" for line in inner),
            ]
        fixed = self._fixed_code(shape)
        if fixed:
            lines = [f"({name},) = {self._struct(fixed[0])}.unpack_from(buf, pos)", f"pos += {fixed[1]}"]
            if isinstance(self.contract.get(shape.type), Enum):
                self.used.add(shape.type)
                lines.append(f"{name} = {self._helper('unpack_enum')}({class_name(shape.type)}, {name})")
            return lines
        if shape.kind is Kind.STRING:
            return [f"{name}, pos = {self._helper('unpack_string')}(buf, pos, {self._maximum(shape.bound)})"]
        if shape.kind is Kind.OPAQUE:
            return [f"{name}, pos = {self._helper('unpack_opaque')}(buf, pos, {self._maximum(shape.bound)})"]
        if shape.kind is Kind.SCALAR:
            self.used.add(shape.type)
            return [f"{name}, pos = {class_name(shape.type)}.unpack(buf, pos)"]
        return self._unpack_array(shape, name)

    def _unpack_array(self, shape: Shape, name: str) -> list[str]:
        maximum = self._maximum(shape.bound)
        variable = shape.kind is Kind.VARIABLE_ARRAY
        if shape.type in ("char", "unsigned char"):
            function = "unpack_chars" if variable else "unpack_fixed_chars"
            return [f"{name}, pos = {self._helper(function)}(buf, pos, {maximum})"]
        declaration = Declaration("item", shape.type)
        item = self.shape(declaration)
        code = self._fixed_code(item)
        is_enum = isinstance(self.contract.get(item.type), Enum)
        if code and len(code[0]) == 1 and variable and not is_enum:
            helper = self._helper("unpack_numbers")
            return [f'{name}, pos = {helper}(buf, pos, {maximum}, "{code[0]}", {code[1]})']
        lines: list[str] = []
        count, inner = maximum, nested(name, "item")
        if variable:
            count = nested(name, "count")
            least = self.least_size(declaration)
            lines.append(f"{count}, pos = {self._helper('unpack_count')}(buf, pos, {maximum}, {least})")
        return [
            *lines,
            f"{name}: list[{self.python_type(declaration)}] = []",
            f"for _ in range({count}):",
            *(f"    {line}" for line in self._unpack_part(item, inner)),
            f"    {name}.append({inner})",
        ]

    # -- classes -----------------------------------------------------------------------------------

    def struct(self, struct: Struct) -> list[str]:
        """Return the text of one struct's class."""
        name = class_name(struct.name)
        names = [field_name(field.name) for field in struct.fields]
        lines = [f"class {name}(NamedTuple):", *self._docstring(struct.name, struct.comment, struct.fields)]
        for field in struct.fields:
            lines.append(f"    {field_name(field.name)}: {self.python_type(field)}")
        body = self.pack_lines(struct.fields)
        if len(names) == 1 and struct.name in self.results:
            field = struct.fields[0]
            lines += [
                "",
                "    @staticmethod",
                f"    def encode({names[0]}: {self.python_type(field)}) -> bytes:",
                *(f"        {line}" for line in body),
                "",
                "    def pack(self) -> bytes:",
                "        return self.encode(self[0])",
            ]
        else:
            body = [*spread("", names, " = self"), *body]
            lines += ["", "    def pack(self) -> bytes:", *(f"        {line}" for line in body)]
        fields = self.unpack_lines(struct.fields)
        full = [*fields, *spread(f"return _new({name}, ", names, "), pos")]
        bodies = {"unpack": (name, full)}
        if struct.name in self.arguments:
            bodies["decode"] = ("Any", [*fields, *spread("return ", names, ", pos")])
        if self._is_reference(struct):
            bodies = {"unpack": (name, self._unpack_kept(struct)), "decode": (name, full)}
        for function, (kind, text) in bodies.items():
            signature = f"    def {function}(buf: bytes, pos: int) -> tuple[{kind}, int]:"
            lines += ["", "    @staticmethod", signature, *(f"        {line}" for line in text)]
        return lines

    def _is_reference(self, struct: Struct) -> bool:
        """Tell whether a struct names an object: a name first, and behind it only what has a fixed size."""
        shapes = [self.shape(field) for field in struct.fields]
        return (
            "_nonnull_" in struct.name
            and len(shapes) > 1
            and shapes[0].kind is Kind.STRING
            and not shapes[0].optional
            and all(self._fixed_code(shape) for shape in shapes[1:])
        )

    def _unpack_kept(self, struct: Struct) -> list[str]:
        """Return the body of an ``unpack`` that looks first whether it has decoded these bytes before."""
        name = class_name(struct.name)
        rest = sum((self._fixed_code(self.shape(field)) or ("", 0))[1] for field in struct.fields[1:])
        self.keepers.append(name)
        return [
            f"(size,) = {self._struct('I')}.unpack_from(buf, pos)",
            f"if size > {self._helper('KEPT_SIZE')}:",
            f"    return {name}.decode(buf, pos)",
            f"end = pos + (size + 3 & ~3) + {4 + rest}",
            "data = buf[pos:end]",
            f"kept = _kept_{name}.get(data)",
            "if kept is None:",
            f"    kept, end = {name}.decode(buf, pos)",
            f"    {self._helper('keep')}(_kept_{name}, data, kept)",
            "return kept, end",
        ]

    def _docstring(self, name: str, comment: str, fields: Iterable[Declaration]) -> list[str]:
        bounds = []
        for field in fields:
            shape = self.shape(field)
            if shape.bound and shape.kind in (Kind.VARIABLE_ARRAY, Kind.OPAQUE) and shape.bound.name:
                unit = "bytes" if shape.kind is Kind.OPAQUE else "elements"
                bounds.append(f"``{field.name}``: at most {shape.bound.name} {unit}.")
        text = " ".join(comment.split()).replace("\\", "/").replace('"', "'")
        lines = [f'    """{name}.' if not text else f'    """{name}: {text}']
        if bounds:
            return [*lines, "", *(f"    {bound}" for bound in bounds), '    """', ""]
        return [lines[0] + '"""', ""]

    def union(self, union: Union) -> list[str]:
        """Return the text of one union's class: the discriminant, and the value of its arm."""
        name = class_name(union.name)
        discriminant = field_name(union.discriminant.name)
        self._helper("XDRError")
        fields = [arm.field for arm in union.arms] + ([union.default] if union.has_default else [])
        kinds = list(dict.fromkeys("None" if field is None else self.python_type(field) for field in fields))
        lines = [
            f"class {name}(NamedTuple):",
            f'    """{union.name}: ``{discriminant}`` tells what ``value`` is."""',
            "",
            f"    {discriminant}: int",
            f"    value: {' | '.join(kinds)}",
            "",
            "    def pack(self) -> bytes:",
            f"        {discriminant}: int",
            "        value: Any",
            f"        {discriminant}, value = self",
        ]
        for condition, field in self._arms(union, discriminant):
            lines.append(f"        {condition}")
            lines += [f"            {line}" for line in self._pack_arm(discriminant, field)]
        if not union.has_default:
            lines.append(f'        raise XDRError(f"{union.name} has no arm {{{discriminant}}}")')
        lines += [
            "",
            "    @staticmethod",
            f"    def unpack(buf: bytes, pos: int) -> tuple[{name}, int]:",
            "        value: Any",
            f"        ({discriminant},) = {self._struct('i')}.unpack_from(buf, pos)",
            "        pos += 4",
        ]
        for condition, field in self._arms(union, discriminant):
            lines.append(f"        {condition}")
            if field is None:
                lines.append("            value = None")
            else:
                renamed = attrs.evolve(field, name="value")
                lines += [f"            {line}" for line in self.unpack_lines([renamed])]
            lines.append(f"            return _new({name}, ({discriminant}, value)), pos")
        if not union.has_default:
            lines.append(f'        raise XDRError(f"{union.name} has no arm {{{discriminant}}}")')
        return lines

    def _arms(self, union: Union, discriminant: str) -> list[tuple[str, Declaration | None]]:
        arms: list[tuple[str, Declaration | None]] = []
        for arm in union.arms:
            labels = []
            for case in arm.cases:
                if case.name:
                    self.used.add(case.name)
                labels.append(case.name or str(case.value))
            test = f"== {labels[0]}" if len(labels) == 1 else f"in ({', '.join(labels)})"
            arms.append((f"if {discriminant} {test}:", arm.field))
        if union.has_default:
            arms.append(("if True:  # any other value", union.default))
        return arms

    def _pack_arm(self, discriminant: str, field: Declaration | None) -> list[str]:
        head = Declaration(discriminant, "int")
        if field is None:
            return self.pack_lines([head])
        return self.pack_lines([head, attrs.evolve(field, name="value")])
