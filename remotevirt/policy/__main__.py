"""``python -m remotevirt.policy``: see :mod:`remotevirt.policy.cli`."""

import sys

from remotevirt.policy.cli import main

if __name__ == "__main__":
    sys.exit(main())
