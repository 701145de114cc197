"""The command lines of qemu-img, and what is refused before one is made.

Files are named ``/proc/self/fd/3/NAME`` in a folder that the program gets opened: so no name can be an option
or a protocol, and an image that names its backing file without a folder finds it. Formats are always said. A
backing file is not opened when an image on it is made (``-u``): its format and size are known.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

from remotevirt.drivers.storage.aside import FOLDER_FD, SECRET_FD, locate_program, run
from remotevirt.drivers.storage.faults import internal, unsupported
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.domain.secret import Encryption
from remotevirt.xml.storage_volume import VolumeModel

__all__ = ["QEMU_FORMATS", "convert", "create", "creation", "needs_program", "qemu_format", "resize"]

QEMU_FORMATS: Final = {"iso": "raw", "fat": "fat", "vhd": "vpc"}
"""Formats whose word in QEMU is another."""

MAKES_QCOW: Final = ("qcow", "qcow2")
SECRET: Final = "key"
KIBI: Final = 1024
SECTOR: Final = 512


def qemu_format(word: str | None) -> str:
    """Return QEMU's word for a format."""
    return QEMU_FORMATS.get(word or "raw", word or "raw")


def needs_program(model: VolumeModel) -> bool:
    """Return whether a new volume takes qemu-img."""
    return model.format not in ("raw", "dir", None) or model.encryption is not None


def creation(
    model: VolumeModel, *, metadata: bool, copies: bool = False, backing_size: int | None = None
) -> list[str]:
    """Return format, options and size for a new volume, the file's name ``{}`` among them.

    Args:
        model: the volume.
        metadata: preallocate what a qcow2 image knows of its clusters.
        copies: another volume is copied into it, so that backing store and size do not count.
        backing_size: the capacity of the backing file, where the volume says none of its own.

    Raises:
        VirError: it cannot be had, for libvirt's reasons.
    """
    kind, options = qemu_format(model.format), []
    luks = _check_encryption(model)
    if luks and kind == "raw":
        kind = "luks"
    if metadata and model.format != "qcow2":
        raise unsupported(f"metadata preallocation is not supported for {model.format} volumes")
    backing = model.backing
    if backing is not None and metadata:
        raise unsupported("metadata preallocation conflicts with backing store")
    if metadata:
        full = model.allocation >= model.capacity
        options.append("preallocation=falloc" if full else "preallocation=metadata")
    if luks:
        prefix = "" if kind == "luks" else "encrypt."
        options += [] if kind == "luks" else ["encrypt.format=luks"]
        options.append(f"{prefix}key-secret={SECRET}")
        options += _cipher(luks, prefix)
    if model.format == "qcow2":
        compat = model.compat or "0.10"
        options.append(f"compat={compat}")
        if model.cluster_size:
            options.append(f"cluster_size={model.cluster_size}")
        for feature in model.features or ():
            if compat == "0.10":
                raise unsupported(f"{feature} not supported with compat level {compat}")
            options.append(f"{feature}=on" if feature == "extended_l2" else feature)
    elif model.compat and model.format != "raw":
        raise unsupported("compatibility option only available with qcow2")
    args = ["-f", kind]
    if options:
        args += ["-o", ",".join(options)]
    if luks:
        args += ["--object", f"secret,id={SECRET},file=/proc/self/fd/{SECRET_FD}"]
    if copies:
        return args
    if backing is not None:
        args += ["-b", backing.path, "-F", qemu_format(backing.format), "-u"]
    size = backing_size if backing_size is not None and not model.capacity else model.capacity
    return [*args, "{}", f"{-(-size // KIBI)}K"]


def _check_encryption(model: VolumeModel) -> Encryption | None:
    """Return how a volume is to be encrypted; raises VirError."""
    found = model.encryption
    if found is None:
        return None
    if model.format not in ("raw", "qcow2") or found.format != "luks":
        if model.format in ("raw", *MAKES_QCOW):
            text = f"unsupported volume encryption type {found.format} for format {model.format}"
        else:
            text = f"volume encryption unsupported with format {model.format}"
        raise unsupported(text)
    if len(found.secrets) > 1:
        raise XmlError("too many secrets for luks encryption", domain=c.VIR_FROM_STORAGE)
    if not found.secrets:
        raise XmlError("no secret provided for luks encryption", domain=c.VIR_FROM_STORAGE)
    return found


def _cipher(encryption: Encryption, prefix: str) -> list[str]:
    """Return the options for cipher and hash; words only, so that none can be two options."""
    options: list[str] = []
    cipher, ivgen = encryption.cipher, encryption.ivgen
    if cipher is not None and cipher.name:
        options.append(f"{prefix}cipher-alg={_word(cipher.name)}-{cipher.size or 0}")
        options += [f"{prefix}cipher-mode={_word(cipher.mode)}"] if cipher.mode else []
        options += [f"{prefix}hash-alg={_word(cipher.hash)}"] if cipher.hash else []
        if ivgen is not None and ivgen.name:
            options.append(f"{prefix}ivgen-alg={_word(ivgen.name)}")
            options += [f"{prefix}ivgen-hash-alg={_word(ivgen.hash)}"] if ivgen.hash else []
    return options


def _word(text: str) -> str:
    if not text.replace("-", "").isalnum():
        raise ConfigUnsupported(f"unknown cipher '{text}'", domain=c.VIR_FROM_STORAGE)
    return text


async def _program() -> str:
    found = await locate_program("qemu-img")
    if found is None:
        raise _missing()
    return found


def _missing() -> VirError:
    return internal("unable to find kvm-img or qemu-img")


MISMEASURED: Final = "Unable to get accurate CPU usage"
"""What qemu-img says where it measured how fast a passphrase can be tried, and the clock did not move. That
happens on virtual machines, now and then."""

ATTEMPTS: Final = 3
"""How often an image is made until that is taken for an answer."""


async def create(folder: int, name: str, args: list[str], *, where: str, secret: bytes | None) -> None:
    """Make an image.

    Args:
        folder: a descriptor of the folder.
        name: of the file in it.
        args: from :func:`creation`.
        where: the path that clients see.
        secret: the passphrase of one that is encrypted.

    Raises:
        VirError: it cannot be made.
    """
    file = f"/proc/self/fd/{FOLDER_FD}/{name}"
    command = ["create", *(file if part == "{}" else part for part in args)]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            program, place = await _program(), os.path.dirname(where)
            shown, long = {file: where}, any("preallocation=" in part for part in args)
            await run(place, program, command, folder=folder, secret=secret, shown=shown, long=long)
            return
        except InternalError as error:
            if attempt == ATTEMPTS or MISMEASURED not in str(error):
                raise


async def convert(folder: int, name: str, args: list[str], source: Any, *, where: str) -> None:
    """Copy an image into one that is new.

    Args:
        folder, name, where: as for :func:`create`.
        args: from :func:`creation`.
        source: from :func:`remotevirt.drivers.storage.chains.chain`.

    Raises:
        VirError: it cannot be.
    """
    file = f"/proc/self/fd/{FOLDER_FD}/{name}"
    into = ["-O" if part == "-f" else part for part in args]
    image = _json(source)
    command = ["convert", *into, image, file]
    shown = {image: source["file"]["filename"], file: where}
    await run(os.path.dirname(where), await _program(), command, folder=folder, shown=shown, long=True)


async def resize(folder: int, image: Any, capacity: int, *, where: str, shrink: bool) -> None:
    """Change the capacity of an image.

    Args:
        folder: a descriptor of the folder that it names as :data:`FOLDER_FD`.
        image: from :func:`remotevirt.drivers.storage.chains.chain`.
        capacity: bytes.
        where: the path that clients see.
        shrink: it may get shorter.

    Raises:
        VirError: it cannot be.
    """
    options = ["--shrink"] if shrink else []
    size = str(-(-capacity // SECTOR) * SECTOR)
    text = _json(image)
    shown = {text: where, image["file"]["filename"]: where}
    command = ["resize", *options, text, size]
    await run(os.path.dirname(where), await _program(), command, folder=folder, shown=shown)


def _json(image: Any) -> str:
    return f"json:{json.dumps(image)}"
