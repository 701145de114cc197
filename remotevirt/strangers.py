"""Clients of other protocols, told by their first bytes: for the log, where one hits a port of ours."""

from __future__ import annotations

__all__ = ["HTTP", "describe_known"]

HTTP = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PATCH ", b"PRI * HTTP")
"""What a request of HTTP begins with; the last one is HTTP/2's."""

TELLING = 4
"""Bytes that tell a request: as many as the shortest of them has."""


def describe_known(first: bytes) -> str | None:
    """Say whose first bytes these are, or as many as have come; None if we do not know."""
    if len(first) >= TELLING and any(verb.startswith(first[: len(verb)]) for verb in HTTP):
        return "an HTTP request"
    return "an SSH client" if first.startswith(b"SSH-") else None
