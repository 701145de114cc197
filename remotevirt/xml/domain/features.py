"""``<features>``: what the hypervisor gives the guest beyond a bare machine.

The order here is the order of printing, which is not the alphabet's and not the schema's.
"""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import Any, ClassVar, Final, Self

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    flag,
    hook,
    nested_attribute,
)
from remotevirt.xml.model import latest, layout
from remotevirt.xml.parse import text_of
from remotevirt.xml.sizes import sized, sized_leaf
from remotevirt.xml.values import (
    Choice,
    Integer,
    Where,
    missing_attribute,
    on_off,
    parse_scaled,
    unsupported,
    xml_error,
)
from remotevirt.xml.write import Tag, leaf

__all__ = ["HYPERV", "Features"]


def _switch(name: str, *, required: bool = True, absent: Any = None) -> Any:
    return nested_attribute(f"{name}/state", on_off(), required=required, absent=absent)


@attrs.define
class Apic(Model):
    TAG: ClassVar[str] = "apic"
    KEEP: ClassVar[bool] = True
    eoi: bool | None = attribute("eoi", on_off())


@attrs.define
class Spinlocks(Model):
    TAG: ClassVar[str] = "spinlocks"
    state: bool = attribute("state", on_off(), required=True)
    retries: int | None = attribute("retries", Integer())

    def complete(self, source: Source, how: Reading) -> None:
        if not self.state:
            self.retries = None
        elif self.retries is None:
            raise missing_attribute("spinlocks", "retries")
        elif self.retries < 0xFFF:
            raise xml_error("HyperV spinlock retry count must be at least 4095")("")


@attrs.define
class SyntheticTimer(Model):
    TAG: ClassVar[str] = "stimer"
    state: bool = attribute("state", on_off(), required=True)
    direct: bool | None = _switch("direct")

    def complete(self, source: Source, how: Reading) -> None:
        if not self.state:
            self.direct = None


@attrs.define
class VendorId(Model):
    TAG: ClassVar[str] = "vendor_id"
    state: bool = attribute("state", on_off(), required=True)
    value: str | None = attribute("value")

    def complete(self, source: Source, how: Reading) -> None:
        if not self.state:
            self.value = None
        elif self.value is None:
            raise xml_error("missing 'value' attribute for HyperV feature 'vendor_id'")("")
        elif len(self.value.encode()) > 12:
            raise xml_error("HyperV vendor_id value must not be more than 12 characters.")("")
        elif "," in self.value:
            raise xml_error("HyperV vendor_id value is invalid")("")


@attrs.define
class Switches(Model):
    """Features of a kind, of which the later counts where one is said twice.

    Their elements come latest first, as :class:`Features` has them.
    """

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        return super().read_source(latest(source.elements[::-1]), how)


@attrs.define
class HyperV(Switches):
    """Enlightenments as Hyper-V has them."""

    TAG: ClassVar[str] = "hyperv"
    HOLD: ClassVar[bool] = True
    mode: str = attribute("mode", Choice("custom passthrough", refusal=None), default="custom")
    relaxed: bool | None = _switch("relaxed")
    vapic: bool | None = _switch("vapic")
    spinlocks: Spinlocks | None = child(Spinlocks)
    vpindex: bool | None = _switch("vpindex")
    runtime: bool | None = _switch("runtime")
    synic: bool | None = _switch("synic")
    stimer: SyntheticTimer | None = child(SyntheticTimer)
    reset: bool | None = _switch("reset")
    vendor_id: VendorId | None = child(VendorId)
    frequencies: bool | None = _switch("frequencies")
    reenlightenment: bool | None = _switch("reenlightenment")
    tlbflush: bool | None = _switch("tlbflush")
    ipi: bool | None = _switch("ipi")
    evmcs: bool | None = _switch("evmcs")
    avic: bool | None = _switch("avic")


@attrs.define
class DirtyRing(Model):
    TAG: ClassVar[str] = "dirty-ring"
    state: bool = attribute("state", on_off(), required=True)
    size: int | None = attribute("size", Integer())

    def complete(self, source: Source, how: Reading) -> None:
        if not self.state:
            self.size = None
        elif self.size is None:
            raise missing_attribute("dirty-ring", "size")
        elif not 1024 <= self.size <= 65536 or self.size & (self.size - 1):
            raise xml_error("dirty ring must be power of 2 and ranges [1024, 65536]")("")


@attrs.define
class Kvm(Switches):
    TAG: ClassVar[str] = "kvm"
    HOLD: ClassVar[bool] = True
    hidden: bool | None = _switch("hidden")
    hint_dedicated: bool | None = _switch("hint-dedicated")
    poll_control: bool | None = _switch("poll-control")
    pv_ipi: bool | None = _switch("pv-ipi")
    dirty_ring: DirtyRing | None = child(DirtyRing)


@attrs.define
class XenPassthrough(Model):
    TAG: ClassVar[str] = "passthrough"
    state: bool = attribute("state", on_off(), required=True)
    mode: str | None = attribute("mode", Choice("sync_pt share_pt"))

    def complete(self, source: Source, how: Reading) -> None:
        if not self.state:
            self.mode = None


@attrs.define
class Xen(Switches):
    TAG: ClassVar[str] = "xen"
    HOLD: ClassVar[bool] = True
    e820_host: bool | None = _switch("e820_host")
    passthrough: XenPassthrough | None = child(XenPassthrough)


_CAPABILITIES = [
    "audit_control",
    "audit_write",
    "block_suspend",
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "ipc_lock",
    "ipc_owner",
    "kill",
    "lease",
    "linux_immutable",
    "mac_admin",
    "mac_override",
    "mknod",
    "net_admin",
    "net_bind_service",
    "net_broadcast",
    "net_raw",
    "setgid",
    "setfcap",
    "setpcap",
    "setuid",
    "sys_admin",
    "sys_boot",
    "sys_chroot",
    "sys_module",
    "sys_nice",
    "sys_pacct",
    "sys_ptrace",
    "sys_rawio",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "syslog",
    "wake_alarm",
]


@attrs.define
class Capabilities(Model):
    """What a container may do; kept by name."""

    TAG: ClassVar[str] = "capabilities"
    KEEP: ClassVar[bool] = True
    policy: str = attribute("policy", Choice("default allow deny"), default="default")
    switches: dict[str, bool] = attrs.field(factory=dict)

    def complete(self, source: Source, how: Reading) -> None:
        for element in (one for part in source.elements[::-1] for one in part):
            name = element.tag
            if name not in _CAPABILITIES:
                raise ConfigUnsupported(f"unexpected capability feature '{name}'", domain=VIR_FROM_DOMAIN)
            state = element.get("state")
            self.switches[name] = True if state is None else on_off().read(state, Where(name, "state"))

    def fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
        for name in _CAPABILITIES:
            if name in self.switches:
                tag.add(Tag(name).set("state", "on" if self.switches[name] else "off"))

    def print_into(self, parent: Tag, how: Printing) -> None:
        if self.policy != "default" or self.switches:
            super().print_into(parent, how)


def _tseg_unit(size: int) -> tuple[int, str]:
    unit = "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if size % 1024 or not size:
            break
        size, unit = size // 1024, bigger
    return size, unit


def _read_tseg(source: Source, how: Reading, model: Any) -> int | None:
    element = source.first("tseg")
    if element is None or not text_of(element):
        return None
    return parse_scaled(
        text_of(element), element.get("unit"), path="string(./features/smm/tseg)", default=2**20
    )


def _write_tseg(value: int, how: Printing, model: Any) -> Tag:
    number, unit = _tseg_unit(value)
    return leaf("tseg", number).set("unit", unit)


@attrs.define
class Gic(Model):
    TAG: ClassVar[str] = "gic"
    KEEP: ClassVar[bool] = True
    version: str | None = attribute("version", Choice("2 3 host", silent="none"))


@attrs.define
class Smm(Model):
    TAG: ClassVar[str] = "smm"
    state: bool = attribute("state", on_off(), default=True)
    tseg: int | None = hook(_read_tseg, _write_tseg)

    def complete(self, source: Source, how: Reading) -> None:
        if not self.state:
            self.tseg = None


def _read_page_size(source: Source, how: Reading, model: Any) -> int | None:
    element = source.first("maxpagesize")
    if element is None or not text_of(element):
        return None
    try:
        size = parse_scaled(text_of(element), element.get("unit"), path="./maxpagesize", default=1024)
    except VirError:
        raise ConfigUnsupported("Unable to parse HPT maxpagesize setting", domain=VIR_FROM_DOMAIN) from None
    return -(-size // 1024)


def _write_page_size(value: int, how: Printing, model: Any) -> Tag:
    return sized_leaf("maxpagesize", value)


@attrs.define
class Hpt(Model):
    TAG: ClassVar[str] = "hpt"
    resizing: str | None = attribute("resizing", Choice("enabled disabled required"))
    maxpagesize: int | None = hook(_read_page_size, _write_page_size)


@attrs.define
class Tcg(Model):
    TAG: ClassVar[str] = "tcg"
    tb_cache: int | None = sized("tb-cache", path="./tb-cache")

    def complete(self, source: Source, how: Reading) -> None:
        self.tb_cache = self.tb_cache or None


_LEVELS = Choice("broken workaround fixed")


@attrs.define
class Features(Model):
    """All of them."""

    TAG: ClassVar[str] = "features"
    acpi: bool = flag("acpi")
    apic: Apic | None = child(Apic)
    pae: bool = flag("pae")
    hap: bool | None = _switch("hap", required=False, absent=True)
    viridian: bool = flag("viridian")
    privnet: bool = flag("privnet")
    hyperv: HyperV | None = child(HyperV, merged=True)
    kvm: Kvm | None = child(Kvm)
    pvspinlock: bool | None = _switch("pvspinlock", required=False, absent=True)
    capabilities: Capabilities | None = child(Capabilities, merged=True)
    pmu: bool | None = _switch("pmu", required=False, absent=True)
    vmport: bool | None = _switch("vmport", required=False, absent=True)
    gic: Gic | None = child(Gic)
    smm: Smm | None = child(Smm)
    ioapic: str | None = nested_attribute("ioapic/driver", Choice("kvm qemu"), required=False)
    hpt: Hpt | None = child(Hpt)
    vmcoreinfo: bool | None = _switch("vmcoreinfo", required=False, absent=True)
    htm: bool | None = _switch("htm")
    nested_hv: bool | None = _switch("nested-hv")
    msrs: str | None = nested_attribute("msrs/unknown", Choice("ignore fault"), required=True)
    ccf_assist: bool | None = _switch("ccf-assist")
    xen: Xen | None = child(Xen, merged=True)
    cfpc: str | None = nested_attribute("cfpc/value", _LEVELS)
    sbbc: str | None = nested_attribute("sbbc/value", _LEVELS)
    ibs: str | None = nested_attribute("ibs/value", Choice("broken workaround fixed-ibs fixed-ccd fixed-na"))
    tcg: Tcg | None = child(Tcg)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        known = _KNOWN_FEATURES
        for part in (part for element in source.elements for part in element):
            name = part.tag
            if name not in known:
                raise ConfigUnsupported(f"unexpected feature '{name}'", domain=VIR_FROM_DOMAIN)
            inner = _INNER.get(name)
            if inner:
                words, template = inner
                for switch in part:
                    if switch.tag not in words:
                        raise unsupported(template)(switch.tag)
        return cls._read_in_order(latest(source.elements), how)

    @classmethod
    def _read_in_order(cls, source: Source, how: Reading) -> Self:
        """Read what there is as it comes; of several elements of a name the first one's place counts."""
        tags = [part.tag for element in source.elements for part in element]
        specs: dict[str, tuple[str, Any]] = {}
        for name, spec in layout(cls):
            part: Any = spec  # one child's model, or the name of a child
            specs[part.cls.TAG if hasattr(part, "cls") else part.name] = (name, spec)
        model = cls()
        for tag in dict.fromkeys(tags):
            name, spec = specs[tag]
            value = spec.read(source, how, model)
            if value is not None:
                setattr(model, name, value)
        return model


_KNOWN_FEATURES = frozenset(
    [
        "acpi",
        "apic",
        "pae",
        "hap",
        "viridian",
        "privnet",
        "hyperv",
        "kvm",
        "pvspinlock",
        "capabilities",
        "pmu",
        "vmport",
        "gic",
        "smm",
        "ioapic",
        "hpt",
        "vmcoreinfo",
        "htm",
        "nested-hv",
        "msrs",
        "ccf-assist",
        "xen",
        "cfpc",
        "sbbc",
        "ibs",
        "tcg",
    ]
)
HYPERV: Final = (
    "relaxed",
    "vapic",
    "spinlocks",
    "vpindex",
    "runtime",
    "synic",
    "stimer",
    "reset",
    "vendor_id",
    "frequencies",
    "reenlightenment",
    "tlbflush",
    "ipi",
    "evmcs",
    "avic",
)
"""Enlightenments, in the order of libvirt."""

_INNER = {
    "hyperv": (
        frozenset(HYPERV),
        "unsupported HyperV Enlightenment feature: {}",
    ),
    "kvm": (
        frozenset(["hidden", "hint-dedicated", "poll-control", "pv-ipi", "dirty-ring"]),
        "unsupported KVM feature: {}",
    ),
    "xen": (frozenset(("e820_host", "passthrough")), "unsupported Xen feature: {}"),
}
