"""How many virtual CPUs and IO threads a guest has, once all that a document says of them is read.

What follows in the document is checked against these numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.bitmap import MAX_CPUS
from remotevirt.xml.domain.cpu_tuning import IoThread, IoThreadIds, SingleVcpu, VcpuList

if TYPE_CHECKING:
    from remotevirt.xml.domain.document import DomainModel

__all__ = ["count_iothreads", "count_vcpus"]


def count_vcpus(model: DomainModel) -> None:
    """Fill in how many virtual CPUs are plugged in, and their list. Raises VirError."""
    current = model.vcpu.current
    model.vcpus = model.maxvcpus if current is None else current
    if model.vcpus > model.maxvcpus and not (model.vcpu_list is not None and model.vcpu_list.vcpus):
        raise ConfigUnsupported(
            "maximum vCPU count must not be less than current vCPU count", domain=VIR_FROM_DOMAIN
        )
    if model.vcpu_list is not None:
        _complete_list(model, model.vcpu_list)


def _complete_list(model: DomainModel, listed: VcpuList) -> None:
    """Where virtual CPUs are listed all of them are, and those that are enabled count."""
    if model.maxvcpus > MAX_CPUS:
        raise XmlError(f"more than {MAX_CPUS} virtual CPUs cannot be listed", domain=VIR_FROM_DOMAIN)
    known = {vcpu.id: vcpu for vcpu in listed.vcpus}
    for number in known:
        if number >= model.maxvcpus:
            raise XmlError(
                f"vcpu id '{number}' is out of range of maximum vcpu count", domain=VIR_FROM_DOMAIN
            )
    listed.vcpus = []
    if not known:
        model.vcpu_list = None
        return
    for number in range(model.maxvcpus):
        vcpu = known.get(number)
        if vcpu is None:
            vcpu = SingleVcpu()
            vcpu.id, vcpu.enabled = number, False
        if vcpu.hotpluggable is None:
            vcpu.hotpluggable = not vcpu.enabled
        listed.vcpus.append(vcpu)
    model.vcpus = sum(vcpu.enabled for vcpu in listed.vcpus)


def count_iothreads(model: DomainModel) -> None:
    """Fill in how many IO threads there are, and the numbers of those that were not named."""
    named = model.iothread_ids.threads if model.iothread_ids else []
    wanted = max(model.iothreads or 0, len(named))
    if not wanted:
        model.iothreads = model.iothread_ids = None
        return
    if named:
        taken = {thread.id for thread in named}
        number = 1
        while len(named) < wanted:
            if number not in taken:
                named.append(IoThread(number, counted=True))
            number += 1
        model.iothread_ids = IoThreadIds(named)
    else:
        model.iothread_ids = None
    model.iothreads = wanted
