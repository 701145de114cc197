"""The errors that the daemon makes itself, apart from those of drivers."""

from __future__ import annotations

from remotevirt.errors import VirError
from remotevirt.procedures import Procedure
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import AuthFailed, InternalError, NoSupport, OperationDenied, Rpc

__all__ = [
    "auth_failed",
    "auth_required",
    "denied",
    "internal_error",
    "rpc_error",
    "stream_error",
    "unsupported",
]


def rpc_error(detail: str) -> VirError:
    """Return what says that something is wrong with a message: VIR_ERR_RPC from VIR_FROM_RPC."""
    return Rpc(detail, domain=vir.VIR_FROM_RPC)


def stream_error(detail: str) -> VirError:
    """Return what aborts a stream whose packets make no sense: VIR_ERR_RPC from VIR_FROM_STREAMS."""
    return Rpc(detail, domain=vir.VIR_FROM_STREAMS)


def auth_required() -> VirError:
    """Return what a client is told that calls before it has shown who it is."""
    return rpc_error("authentication required")


def internal_error(detail: str) -> VirError:
    """Return what says that the state of a connection does not allow a call."""
    return InternalError(detail, domain=vir.VIR_FROM_RPC)


def auth_failed() -> VirError:
    """Return what a client is told that could not show who it is: VIR_ERR_AUTH_FAILED, and no more."""
    return AuthFailed("authentication failed", domain=vir.VIR_FROM_RPC)


def unsupported(procedure: Procedure) -> VirError:
    """Return what says that nobody answers a procedure: VIR_ERR_NO_SUPPORT with libvirt's function."""
    return NoSupport(procedure.api, domain=procedure.error_domain)


def denied(procedure: Procedure, secrets: bool = False) -> VirError:
    """Return what says that a read-only client may not call a procedure: VIR_ERR_OPERATION_DENIED.

    Args:
        procedure: what it called.
        secrets: it may, but not with the flag that asks for passwords.
    """
    function = procedure.api or procedure.name
    detail = f"{function} with secure flag" if secrets else f"read only access prevents {function}"
    return OperationDenied(detail, domain=procedure.error_domain)
