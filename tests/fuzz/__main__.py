"""``python -m tests.fuzz TARGET [SECONDS]``: fuzz one target with atheris, which is guided by coverage.

Inputs that reach something new are kept in ``_fuzz/TARGET``; the corpus is read, and not changed.
An input that makes a target fail is written to ``_fuzz/``, and named on the last lines; put it into
``corpus/TARGET`` once it is understood, and every run of the tests tries it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

from tests.fuzz.seeds import seeds

CORPUS = Path(__file__).parent / "corpus"
KEPT = Path("_fuzz")

LENGTH_MAXIMUM = 8192
"""Bytes of an input. What needs more is the abuse tests' business."""

CASE_SECONDS = 20
"""After which an input is a failure for taking too long."""


def main(name: str, seconds: str = "60") -> None:
    """Fuzz a target."""
    with atheris.instrument_imports(include=["remotevirt"]):
        from tests.fuzz.targets import TARGETS

    kept, start = KEPT / name, KEPT / f"{name}-seeds"
    for folder in (kept, start, CORPUS / name):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (start / f"{number:04}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LENGTH_MAXIMUM}",
        f"-timeout={CASE_SECONDS}",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={KEPT}/{name}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(kept), str(CORPUS / name), str(start)], TARGETS[name])
    atheris.Fuzz()


main(*sys.argv[1:3])
