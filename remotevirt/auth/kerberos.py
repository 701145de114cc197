"""GSSAPI (RFC 4752): Kerberos, with a security layer that encrypts, so that plain TCP is safe to use.

The client's tickets name the daemon as ``libvirt/HOST@REALM``; its key is in a keytab. When both sides know
each other, the daemon offers layers, the client chooses one, and each wrapped message then travels as

::

    +--------+----------------+
    | length | wrapped bytes  |     length: four bytes, big end first
    +--------+----------------+

The work is done by the system's Kerberos, through the package ``gssapi`` (``remotevirt[gssapi]``); what reads
files (keytab, replay cache) is done in threads.
"""

from __future__ import annotations

import enum
import importlib
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from remotevirt.auth.interfaces import AuthRefused, IPrincipal, LayerError, Principal
from remotevirt.auth.mechanism import Mechanism, Outcome, Talk
from remotevirt.auth.text import NAME_MAXIMUM

__all__ = ["Context", "GssapiLayer", "Kerberos", "Layers", "gssapi_mechanism"]

RECEIVE_MAXIMUM = 65536
"""Bytes of one wrapped message that a client may send; it is told. Larger ones end the connection."""

SEND_MINIMUM = 1024
"""Bytes of one wrapped message that a client has to take; less would multiply what is sent."""

ROUNDS_MAXIMUM = 8
"""Messages of a client until both sides know each other; Kerberos needs one or two."""

SSF_STRONGEST = 256
"""The strongest layer that Kerberos has: AES with 256 bits."""

SSF_INTEGRITY = 1
"""What SASL calls the strength of a layer that protects from changes but not from listening."""


class Layers(enum.IntFlag):
    """The security layers, as they are offered (RFC 4752, section 3.3)."""

    NONE = 1
    INTEGRITY = 2
    PRIVACY = 4


class Context(Protocol):
    """The daemon's end of a GSSAPI security context. Errors of the peer are AuthRefused.

    Attributes:
        complete: both sides know each other.
        initiator: the client's principal, once complete.
        ssf: strength of the context's encryption; 0: it has none.
    """

    @property
    def complete(self) -> bool: ...

    @property
    def initiator(self) -> str: ...

    @property
    def ssf(self) -> int: ...

    def step(self, token: bytes) -> bytes:
        """Take a token; return the next one, empty if there is none."""

    def wrap(self, data: bytes, encrypt: bool) -> bytes:
        """Protect a message."""

    def unwrap(self, data: bytes) -> tuple[bytes, bool]:
        """Return what was protected, and whether it was encrypted."""

    def size_limit(self, wrapped: int, encrypt: bool) -> int:
        """Return how much fits into so many bytes, wrapped."""


class GssapiLayer:
    """The security layer.

    Args:
        context: complete.
        encrypt: whether it hides what it protects.
        maximum: bytes of a wrapped message that the client takes.
    """

    def __init__(self, context: Context, encrypt: bool, maximum: int) -> None:
        self.ssf = context.ssf if encrypt else SSF_INTEGRITY
        self._context = context
        self._encrypt = encrypt
        self._piece = context.size_limit(maximum, encrypt)
        self._received = bytearray()

    def wrap(self, data: bytes) -> bytes:
        """Protect what is to be sent."""
        out = []
        for start in range(0, len(data), self._piece):
            token = self._context.wrap(data[start : start + self._piece], self._encrypt)
            out += [len(token).to_bytes(4, "big"), token]
        return b"".join(out)

    def unwrap(self, data: bytes) -> bytes:
        """Take what has arrived; return what is complete of it."""
        received = self._received
        received += data
        out = []
        while len(received) >= 4:
            size = int.from_bytes(received[:4], "big")
            if not 0 < size <= RECEIVE_MAXIMUM:
                raise LayerError(f"a wrapped message of {size} bytes, where {RECEIVE_MAXIMUM} are the most")
            if len(received) < 4 + size:
                break
            token = bytes(received[4 : 4 + size])
            del received[: 4 + size]
            try:
                plain, encrypted = self._context.unwrap(token)
            except AuthRefused as error:
                raise LayerError(str(error)) from None
            if self._encrypt and not encrypted:
                raise LayerError("a message that is not encrypted")
            out.append(plain)
        return b"".join(out)


def _load() -> Any:
    """Return the package gssapi, which is an extra."""
    return importlib.import_module("gssapi")


@attrs.frozen
class Kerberos:
    """The daemon's identity.

    Attributes:
        keytab: the file with its key; None: the system's (``KRB5_KTNAME``, or ``/etc/krb5.keytab``).
        service: the first part of its principal. libvirt's clients ask for ``libvirt``.

    Raises:
        ValueError: the package gssapi is not installed.
    """

    keytab: str | None = None
    service: str = "libvirt"

    def __attrs_post_init__(self) -> None:
        try:
            _load()
        except ImportError:
            raise ValueError("SASL mechanism GSSAPI needs the package gssapi") from None

    def context(self) -> Context:
        """Return a context that waits for a client.

        Raises:
            AuthRefused: there is no key for the service.
        """
        gssapi = _load()
        name = gssapi.Name(self.service, gssapi.NameType.hostbased_service)
        store = None if self.keytab is None else {"keytab": self.keytab}
        try:
            credentials = gssapi.Credentials(name=name, usage="accept", store=store)
            return _GssapiContext(gssapi, gssapi.SecurityContext(creds=credentials, usage="accept"))
        except gssapi.exceptions.GSSError as error:
            raise AuthRefused(f"GSSAPI: no key of ours: {error}") from None


class _GssapiContext:
    """A context of the package gssapi, in the form of :class:`Context`."""

    SASL_SSF = "1.2.840.113554.1.2.2.5.15"  # GSS_C_SEC_CONTEXT_SASL_SSF
    SSF_UNKNOWN = 56  # what Cyrus SASL takes for a Kerberos that does not say

    def __init__(self, gssapi: Any, context: Any) -> None:
        self._gssapi = gssapi
        self._context = context

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except self._gssapi.exceptions.GSSError as error:
            raise AuthRefused(f"GSSAPI: {error}") from None

    @property
    def complete(self) -> bool:
        return bool(self._context.complete)

    @property
    def initiator(self) -> str:
        return str(self._call(lambda: self._context.initiator_name))

    @property
    def ssf(self) -> int:
        flags = self._context.actual_flags
        if not flags & self._gssapi.RequirementFlag.confidentiality:
            return 0
        oid = self._gssapi.OID.from_int_seq(self.SASL_SSF)
        try:
            (data,) = self._gssapi.raw.inquire_sec_context_by_oid(self._context, oid)
        except (self._gssapi.exceptions.GSSError, AttributeError, ValueError):
            return self.SSF_UNKNOWN
        return int.from_bytes(data[:4], "big")

    def step(self, token: bytes) -> bytes:
        return self._call(self._context.step, token) or b""

    def wrap(self, data: bytes, encrypt: bool) -> bytes:
        wrapped: bytes = self._call(self._context.wrap, data, encrypt).message
        return wrapped

    def unwrap(self, data: bytes) -> tuple[bytes, bool]:
        result = self._call(self._context.unwrap, data)
        return result.message, bool(result.encrypted)

    def size_limit(self, wrapped: int, encrypt: bool) -> int:
        limit: int = self._call(self._context.get_wrap_size_limit, wrapped, encrypt)
        return limit


def _layers(context: Context, talk: Talk) -> Layers:
    """Return the layers that are strong enough, and not more than is wanted."""
    layers = Layers(0)
    if talk.min_ssf <= 0:
        layers |= Layers.NONE
    if talk.min_ssf <= SSF_INTEGRITY <= talk.max_ssf:
        layers |= Layers.INTEGRITY
    if max(talk.min_ssf, SSF_INTEGRITY + 1) <= context.ssf <= talk.max_ssf:
        layers |= Layers.PRIVACY
    if not layers:
        raise AuthRefused(f"GSSAPI: a context of strength {context.ssf}, where {talk.min_ssf} is wanted")
    return layers


async def _meet(talk: Talk, context: Context) -> None:
    """Exchange tokens until both sides know each other."""
    token = await talk.first()
    for _ in range(ROUNDS_MAXIMUM):
        answer = await talk.in_thread(lambda token=token: context.step(token))  # type: ignore[misc]
        if context.complete:
            if answer and await talk.ask(answer):
                raise AuthRefused("GSSAPI: a token after the last")
            return
        token = await talk.ask(answer)
    raise AuthRefused(f"GSSAPI: no end after {ROUNDS_MAXIMUM} tokens")


def gssapi_mechanism(make_context: Callable[[], Context]) -> Mechanism:
    """Return the mechanism.

    Args:
        make_context: returns a context that waits for a client, such as :meth:`Kerberos.context`.
    """

    async def run(talk: Talk) -> Outcome:
        context: Context = await talk.in_thread(make_context)
        await _meet(talk, context)
        offered = _layers(context, talk)
        size = 0 if offered is Layers.NONE else RECEIVE_MAXIMUM
        offer = bytes([offered]) + size.to_bytes(3, "big")
        answer, _ = context.unwrap(await talk.ask(context.wrap(offer, False)))
        if len(answer) < 4 or answer[0] not in (1, 2, 4) or not answer[0] & offered:
            raise AuthRefused("GSSAPI: a layer that is not offered")
        chosen, maximum = Layers(answer[0]), int.from_bytes(answer[1:4], "big")
        username = context.initiator
        if len(username) > NAME_MAXIMUM:
            raise AuthRefused(
                f"GSSAPI: a name of {len(username)} characters, where {NAME_MAXIMUM} are the most"
            )
        if answer[4:] not in (b"", username.encode()):
            raise AuthRefused(f"GSSAPI: user {username!r} asks to act as somebody else")
        layer = None
        if chosen is not Layers.NONE:
            if maximum < SEND_MINIMUM:
                raise AuthRefused(f"GSSAPI: a client that takes {maximum} bytes at a time")
            layer = GssapiLayer(context, chosen is Layers.PRIVACY, maximum)
        user = await talk.login(username, lambda: Principal(username))
        return Outcome(user, None, layer)

    return Mechanism("GSSAPI", IPrincipal, run, ssf=SSF_STRONGEST)
