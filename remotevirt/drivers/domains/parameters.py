"""What the calls with typed parameters share: how many are answered, and which are taken.

A client first asks how many parameters there are, with ``nparams`` 0, and then for so many. What libvirt's
daemon refuses before its driver looks, and what the driver checks first, is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.faults import argument_must
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import TypedParam
from remotevirt.typed_params import without_strings

__all__ = ["MAX_PARAMS", "STRINGS", "cut", "need_params"]

MAX_PARAMS: Final = 16
"""The most that a client may ask for: REMOTE_DOMAIN_MEMORY_PARAMETERS_MAX and its siblings."""

STRINGS: Final[int] = c.VIR_TYPED_PARAM_STRING_OKAY
"""The flag of clients that understand texts among the parameters."""


def cut(params: Sequence[TypedParam], nparams: int, flags: int) -> Sequence[TypedParam]:
    """Return what a client gets that has room for ``nparams``; without STRINGS in its flags, no texts."""
    shown = params[:nparams]
    return shown if flags & STRINGS else without_strings(shown)


def need_params(params: Sequence[TypedParam], function: str) -> None:
    """Refuse to set nothing, as the public API does."""
    if not params:
        raise argument_must(function, "params", "not be NULL")
