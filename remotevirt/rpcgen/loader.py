"""From file names to a contract: reads files, follows their includes, parses, resolves.

A line ``%#include "types.h"`` says that a file uses the types of ``types.x``, which is looked for beside it.
Definitions of an included file are there to be used, but do not count as the contract's own, and its
program is left out. Where the included file is not at hand, as with libvirt's C headers, the types
that stay unknown are listed and not refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from remotevirt.rpcgen.dialect import add_programs, included_files, is_dialect, public_constants
from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.model import Contract
from remotevirt.rpcgen.parser import parse
from remotevirt.rpcgen.resolve import resolve
from remotevirt.rpcgen.syntax import Document

__all__ = ["MAX_FILES", "MAX_SIZE", "Loaded", "load_files"]

MAX_SIZE = 16 * 2**20
"""A longer file is no contract: libvirt's largest takes 200 KiB."""

MAX_FILES = 1000
"""A contract of more files, included ones counted, is a mistake."""


@attrs.frozen
class Loaded:
    """A contract, and what is known of where it came from.

    Attributes:
        contract: all definitions, those of included files too, and its own programs.
        files: the names of its own files.
        included: the names of the files it uses.
        includes: how it names them, ``types.x``.
        supplied: constants that none of them declares, but that are known.
        external_types: types that none of them declares.
        dialect: whether it is written in libvirt's dialect.
    """

    contract: Contract
    files: tuple[str, ...]
    included: tuple[str, ...]
    includes: tuple[str, ...]
    supplied: tuple[str, ...]
    external_types: tuple[str, ...]
    dialect: bool

    @property
    def own(self) -> Contract:
        """The contract without the definitions of included files."""
        foreign = frozenset(self.included)
        definitions = tuple(
            definition
            for definition in self.contract.definitions
            if definition.location is not None and definition.location.file not in foreign
        )
        return Contract(definitions, self.contract.programs)


def load_files(paths: Sequence[Path], defines: Mapping[str, int] | None = None) -> Loaded:
    """Load one contract.

    Args:
        paths: its files; a folder stands for all ``.x`` files in it.
        defines: values of constants that the files use and nobody declares.

    Raises:
        RpcgenError: a file cannot be read, or what stands there makes no sense.
    """
    files = [file for path in paths for file in _expand(path)]
    own = [parse(_read(file), str(file)) for file in files]
    mine = {file.resolve() for file in files}
    seen = set(mine)
    included: list[Document] = []
    includes: list[str] = []
    complete = True
    waiting = list(zip(files, own, strict=True))
    while waiting:
        file, document = waiting.pop()
        for name in included_files(document):
            other = file.parent / name
            if not other.is_file():
                complete = False
                continue
            if file in files and other.resolve() not in mine:
                includes.append(name)
            if other.resolve() not in seen:
                seen.add(other.resolve())
                if len(seen) > MAX_FILES:
                    raise RpcgenError(f"{file}: more than {MAX_FILES} files belong to this contract")
                included.append(parse(_read(other), str(other)))
                waiting.append((other, included[-1]))
    dialect = any(map(is_dialect, own))
    foreign = dialect or any(document.passthrough for document in own)
    documents = [add_programs(document) for document in own]
    documents += [attrs.evolve(add_programs(document), programs=()) for document in included]
    supplied = {**(public_constants() if foreign else {}), **(defines or {})}
    resolved = resolve(documents, supplied, allow_external_types=not complete)
    return Loaded(
        resolved.contract,
        tuple(document.file for document in own),
        tuple(document.file for document in included),
        tuple(dict.fromkeys(includes)),
        resolved.supplied,
        resolved.external_types,
        dialect,
    )


def _expand(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    files = sorted(path.glob("*.x"))
    if not files:
        raise RpcgenError(f"{path}: there is no .x file in this folder")
    yield from files


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:  # perhaps a pipe: its size shows only when it is read
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise RpcgenError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_SIZE:
        raise RpcgenError(f"{path}: larger than {MAX_SIZE} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RpcgenError(f"{path}: not UTF-8 text (byte {error.start})") from error
