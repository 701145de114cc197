"""Which pools are active: one file each, so that a daemon that is started anew finds them active still.

The files say nothing after a reboot of the host, and so are kept under the boot's name. They need not be on
the disk for the same reason: what a process has written, the next one reads.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

from twisted.logger import Logger

__all__ = ["ActivePools"]

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
MAX_DOCUMENT: Final = 4 * 1024 * 1024
"""Bytes of a file; documents come in smaller."""

log = Logger()


class ActivePools:
    """The files of active pools.

    Args:
        folder: where they are kept; made if it is not there.

    Raises:
        OSError: it cannot be used.
    """

    def __init__(self, folder: str) -> None:
        try:
            boot = str(UUID(BOOT_ID.read_text().strip()))
        except (OSError, ValueError):
            boot = "unknown"
        self._folder = Path(folder) / f"active-{boot}"
        for old in Path(folder).glob("active-*"):
            if old != self._folder:
                shutil.rmtree(old, ignore_errors=True)
        self._folder.mkdir(0o700, parents=True, exist_ok=True)

    def documents(self) -> Iterator[str]:
        """Yield the definitions of the pools that were active."""
        for path in sorted(self._folder.glob("*.xml")):
            try:
                with path.open("rb") as file:
                    yield file.read(MAX_DOCUMENT).decode("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                log.error("{path} is left out: {error}", path=path, error=error)

    def keep(self, uuid: bytes, document: str) -> None:
        """Note that a pool is active, with the definition in force; the log says if that fails."""
        path = self._path(uuid)
        draft = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            draft.write_bytes(document.encode("utf-8"))
            os.replace(draft, path)
        except OSError as error:
            log.error("{path} cannot be written: {error}", path=path, error=error)
            draft.unlink(missing_ok=True)

    def drop(self, uuid: bytes) -> None:
        """Note that a pool is not active any more."""
        try:
            self._path(uuid).unlink(missing_ok=True)
        except OSError as error:
            log.error("{path} cannot be removed: {error}", path=self._path(uuid), error=error)

    def _path(self, uuid: bytes) -> Path:
        return self._folder / f"{UUID(bytes=uuid)}.xml"
