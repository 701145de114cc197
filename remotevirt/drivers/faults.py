"""Errors that all drivers raise, worded once.

libvirt's clients show these texts to people and compare the fields in scripts, so each carries the code,
the reporting domain and the extra fields of libvirt 9.0.0. Two layers complain: the public API
(VIR_FROM_DOMAIN and its like), which names the function and the argument, and the driver (VIR_FROM_TEST,
VIR_FROM_QEMU). We answer for both, because nothing stands between the dispatcher and us.
"""

from __future__ import annotations

from uuid import UUID

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, InvalidArg, NoDomain, OperationInvalid, Rpc
from remotevirt.stubs.remote import NonnullDomain

__all__ = [
    "argument_error",
    "argument_must",
    "both_flags",
    "check_count",
    "check_flags",
    "exclusive_flags",
    "missing_flag",
    "no_domain",
    "not_running",
    "signed",
    "too_large",
]


def no_domain(dom: NonnullDomain, domain: int = c.VIR_FROM_TEST) -> VirError:
    """Return the error for a reference to a domain that is not (or no longer) there."""
    uuid = UUID(bytes=dom.uuid)
    return NoDomain(f"no domain with matching uuid '{uuid}' ({dom.name})", domain=domain)


def not_running(domain: int = c.VIR_FROM_DOMAIN) -> VirError:
    """Return the error for a call that needs an active domain."""
    return OperationInvalid("domain is not running", domain=domain)


def argument_error(function: str, argument: str, message: str, domain: int = c.VIR_FROM_DOMAIN) -> VirError:
    """Return what the public API says of a bad argument: the whole text, and who and what in str1, str2."""
    return InvalidArg(
        message=message, domain=domain, str1=function, str2=argument, int1=0, int2=0, detail=None
    )


def argument_must(function: str, argument: str, rule: str, domain: int = c.VIR_FROM_DOMAIN) -> VirError:
    """Return what the public API says of an argument that breaks a rule, such as "not be NULL"."""
    return argument_error(function, argument, f"{argument} in {function} must {rule}", domain)


def exclusive_flags(function: str, argument: str = "ctl") -> VirError:
    """Return the error for a call that wants both the live and the persistent definition."""
    return argument_error(
        function,
        argument,
        "Flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive",
    )


def both_flags(function: str, first: str, second: str, domain: int = c.VIR_FROM_DOMAIN) -> VirError:
    """Return the error for two flags of which a call takes one."""
    return argument_error(function, "ctl", f"Flags '{first}' and '{second}' are mutually exclusive", domain)


def missing_flag(function: str, flag: str, required: str, domain: int = c.VIR_FROM_DOMAIN) -> VirError:
    """Return the error for a flag that makes sense only with another."""
    return argument_error(function, "ctl", f"Flag '{required}' is required by flag '{flag}'", domain)


def check_flags(flags: int, supported: int, function: str, domain: int = c.VIR_FROM_TEST) -> None:
    """Refuse bits that a call does not know; ``function`` is the name that libvirt's text shows."""
    unknown = flags & ~supported
    if unknown:
        message = f"unsupported flags ({unknown:#x}) in function {function}"
        raise argument_error(function, "flags", message, domain)


def check_count(value: int, maximum: int, name: str, limit: str) -> None:
    """Bound the size of an answer that a client asks for, as the old list calls do.

    Raises:
        Rpc: ``value`` is negative or over ``maximum``; ``limit`` names the bound in the text.
    """
    if value < 0:
        raise Rpc(f"{name} must be non-negative", domain=c.VIR_FROM_RPC)
    if value > maximum:
        raise Rpc(f"{name} > {limit}", domain=c.VIR_FROM_RPC)


def too_large(value: int, maximum: int, name: str, text: str | None = None) -> None:
    """Bound the size of an answer that a client asks for, as the calls with parameters do.

    Raises:
        InternalError: ``value`` is negative or over ``maximum``; ``text`` replaces the usual words.
    """
    if value < 0:
        raise InternalError(f"{name} must be non-negative", domain=c.VIR_FROM_RPC)
    if value > maximum:
        raise InternalError(text or f"{name} too large", domain=c.VIR_FROM_RPC)


def signed(number: int) -> int:
    """Return a number of 32 bits as some of libvirt's texts show it: as if it had a sign."""
    return number - 2**32 if number >= 2**31 else number
