"""``python -m tests.durability``: many rounds, and one line that says what came out."""

from __future__ import annotations

import argparse
import sys

from tests.durability.harness import Harness
from tests.durability.objects import QEMU, TEST

RESTART_SECONDS = 5.0
"""How long a daemon may take until it serves again."""


def main() -> int:
    """Run the rounds; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--driver", help="instead of the embedded hypervisor")
    parser.add_argument("--qemu", action="store_true", help="domains of QEMU")
    chosen = parser.parse_args()
    harness = Harness(chosen.seed, chosen.driver, QEMU if chosen.qemu else TEST)
    try:
        figures = harness.run(chosen.rounds, lambda text: print(text, flush=True))
    finally:
        harness.close()
    print(f"seed {chosen.seed}; the slowest restart took {figures.slowest:.1f} s")
    print(figures)
    if figures.slowest > RESTART_SECONDS:
        print(f"a restart may take {RESTART_SECONDS:.0f} s")
        return 1
    return 0 if figures.clean and figures.acked else 1


if __name__ == "__main__":
    sys.exit(main())
