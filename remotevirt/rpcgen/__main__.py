"""``python -m remotevirt.rpcgen``: see :mod:`remotevirt.rpcgen.cli`."""

import sys

from remotevirt.rpcgen.cli import main

if __name__ == "__main__":
    sys.exit(main())
