"""What can go wrong with a store, in words for an operator."""

from __future__ import annotations

from remotevirt.errors import RemotevirtError

__all__ = ["StoreBusy", "StoreError"]


class StoreError(RemotevirtError):
    """A store cannot be opened, or a change cannot be kept; the text says why, and what can be done."""


class StoreBusy(StoreError):
    """Another process has the store open."""
