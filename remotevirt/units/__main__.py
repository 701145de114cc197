"""``python -m remotevirt.units FOLDER``: write systemd's units."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from remotevirt.units import DEFAULT_CONFIG, UnitsError, read_units, write_units

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the units, and print the names of the files; return the status."""
    parser = argparse.ArgumentParser("python -m remotevirt.units", description="Write systemd's units.")
    parser.add_argument("folder", type=Path, help="where: as a rule /etc/systemd/system")
    parser.add_argument("--twistd", type=Path, help="the program (default: the one beside this Python)")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="the file (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        for path in write_units(options.folder, read_units(options.twistd, options.config)):
            print(path)
    except UnitsError as error:
        sys.stderr.write(f"remotevirt: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
