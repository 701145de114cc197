"""systemd's units for the daemon, and the command that puts them where systemd looks.

::

    python -m remotevirt.units /etc/systemd/system

writes ``remotevirt.service`` and the five ``.socket`` units there. Two things in them depend on the
installation: the path of ``twistd``, by default the one beside the Python that runs the command, and that of
the configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from remotevirt.errors import RemotevirtError

__all__ = ["DEFAULT_CONFIG", "UnitsError", "read_units", "write_units"]

DEFAULT_CONFIG = Path("/etc/remotevirt/remotevirt.conf")
"""The configuration file that the service reads unless another one is named."""

SUFFIXES = (".service", ".socket")


class UnitsError(RemotevirtError):
    """The units cannot be written; its text is one line."""


def read_units(twistd: Path | None = None, config: Path = DEFAULT_CONFIG) -> Mapping[str, str]:
    """The text of each unit, by its name.

    Args:
        twistd: the program; None: the one beside this Python.
        config: the configuration file.

    Raises:
        UnitsError: there is no such program, or one of the paths is one that units cannot say.
    """
    if twistd is None:
        twistd = Path(sys.executable).parent / "twistd"
    if not twistd.is_file():
        raise UnitsError(f"{twistd}: no such program; name it with --twistd")
    for path in (twistd, config):
        if not path.is_absolute() or set(str(path)) & set(" \t\n\"'\\%$;"):
            raise UnitsError(f"{path}: an absolute path without spaces, quotes, % and $ is wanted")
    return {
        unit.name: unit.read_text().replace("@TWISTD@", str(twistd)).replace("@CONFIG@", str(config))
        for unit in files(__name__).iterdir()
        if unit.name.endswith(SUFFIXES)
    }


def write_units(folder: Path, units: Mapping[str, str]) -> list[Path]:
    """Write units into a folder, over those of the same names.

    Returns:
        what was written, in alphabetical order.

    Raises:
        UnitsError: that cannot be done.
    """
    written = []
    for name, text in sorted(units.items()):
        try:
            (folder / name).write_text(text)
        except OSError as error:
            raise UnitsError(f"{folder / name}: {error.strerror}") from None
        written.append(folder / name)
    return written
