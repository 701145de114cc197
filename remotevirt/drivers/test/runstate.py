"""The state in which a node file says that a domain is found.

The words stand in the domain's XML, in a namespace of their own::

    <domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
      ...
      <test:transient/>  <test:hasmanagedsave/>  <test:runstate>3</test:runstate>
    </domain>

``runstate`` is a number of virDomainState. They are checked wherever a domain is defined, but count only
in node files.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError

__all__ = ["NAMESPACE", "RunState", "read_run_state"]

NAMESPACE: Final = "http://libvirt.org/schemas/domain/test/1.0"


class RunState(NamedTuple):
    """What a domain's XML says of its state.

    Attributes:
        state: of virDomainState.
        transient, managed_save: what they say.
    """

    state: int = c.VIR_DOMAIN_RUNNING
    transient: bool = False
    managed_save: bool = False


def read_run_state(element: Any) -> RunState:
    """Read the words from a domain's element.

    Raises:
        XmlError: they make no sense, alone or together.
    """
    transient = element.find(f"{{{NAMESPACE}}}transient") is not None
    managed_save = element.find(f"{{{NAMESPACE}}}hasmanagedsave") is not None
    state: int = c.VIR_DOMAIN_RUNNING
    text = element.findtext(f"{{{NAMESPACE}}}runstate")
    if text:
        text = text.strip()
        if not text.isascii() or not text.isdigit() or len(text) > 10:
            raise XmlError("invalid runstate", domain=c.VIR_FROM_TEST)
        state = int(text)
        if state >= c.VIR_DOMAIN_LAST:
            raise XmlError(f"runstate '{state}' out of range'", domain=c.VIR_FROM_TEST)
    if transient and state == c.VIR_DOMAIN_SHUTOFF:
        raise XmlError("transient domain cannot have runstate 'shutoff'", domain=c.VIR_FROM_TEST)
    if managed_save and state != c.VIR_DOMAIN_SHUTOFF:
        text = "domain with managedsave data can only have runstate 'shutoff'"
        raise XmlError(text, domain=c.VIR_FROM_TEST)
    return RunState(state, transient, managed_save)
