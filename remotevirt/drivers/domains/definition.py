"""A domain's definition, as the calls see it: the XML room's model with the words of libvirt's API.

The calls speak of "memory" for what a domain has now and of "max memory" for what it can have; documents
say ``currentMemory`` and ``memory``. CPU sets are bitmaps in the calls and lists in documents. All such
translation happens here, so that no family of calls knows how a document is built.

Documents are asked for much more often than they change, so the latest texts are kept; whatever changes the
model drops them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple, Self, TypeVar

from remotevirt.drivers.domains.devices import DeviceEditor
from remotevirt.drivers.domains.namespaces import element_text, find_element, replace_element, stored_element
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, Rpc
from remotevirt.xml.addresses import parse_mac
from remotevirt.xml.bitmap import format_bitmap, parse_bitmap
from remotevirt.xml.domain import DomainDefaults, DomainModel, copy_domain, format_domain, parse_domain
from remotevirt.xml.domain.complete import complete_devices
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.interface import Interface
from remotevirt.xml.domain.metadata import Metadata
from remotevirt.xml.domain.tuning import CpuTune, VcpuPin
from remotevirt.xml.parse import MAX_BYTES

__all__ = ["MAX_TEXTS", "Definition", "Figures", "check_length"]

T = TypeVar("T")

MAX_TEXTS: Final = 4
"""Texts that are kept of a definition: with few combinations of flags asked for, all of them."""


LASTING: Final[int] = c.VIR_DOMAIN_XML_SECURE | c.VIR_DOMAIN_XML_INACTIVE
"""Flags of the document that says everything: with passwords, and without what only a running domain has."""


class Figures(NamedTuple):
    """What lists and hot calls need of a document that has not been read yet; named as in the model."""

    name: str
    uuid: bytes
    memory: int
    current_memory: int
    vcpus: int


class Definition:
    """One definition of a domain; memory in KiB, CPU sets as bitmaps. Each driver has its own class of them.

    Attributes:
        size: the characters that it came in.
        stamp: another object after every change; copies share it.
    """

    __slots__ = ("_figures", "_kept", "_model", "_texts", "size", "stamp")

    DEFAULTS: ClassVar[DomainDefaults] = DomainDefaults()
    """What the driver adds to documents."""

    ERRORS: ClassVar[int] = c.VIR_FROM_DOMAIN
    """Which part of libvirt complains (virErrorDomain)."""

    def __init__(self, model: DomainModel | None, size: int) -> None:
        self.size = size
        self.stamp = object()
        self._model = model
        self._kept: str | None = None
        self._figures: Figures | None = None
        self._texts: dict[tuple[int, int], str] = {}

    @classmethod
    def kept(cls, document: str, size: int, figures: Figures) -> Self:
        """Return the definition whose :meth:`document` was kept; it is read when somebody looks inside."""
        definition = cls(None, size)
        definition._kept, definition._figures = document, figures
        return definition

    @property
    def model(self) -> DomainModel:
        """The document; raises InternalError if it was kept, and cannot be read any more."""
        model = self._model
        if model is None:
            model = self._model = self._read()
        return model

    def _read(self) -> DomainModel:
        """Read the document that was kept."""
        try:
            model = self.read(self._kept or "")
        except VirError as error:
            text = f"what was kept of domain '{self.name}' cannot be read: {error}"
            raise InternalError(text, domain=self.ERRORS) from error
        self._kept = self._figures = None
        return model

    @property
    def _head(self) -> DomainModel | Figures:
        """Something that knows name, UUID, memory and CPUs."""
        return self._model or self._figures or self.model

    def document(self) -> str:
        """Return the document that says everything that lasts."""
        if self._model is None and self._kept is not None:
            return self._kept
        return format_domain(self.model, id=None, flags=LASTING)

    def remember(self) -> Callable[[], None]:
        """Return what makes the definition as it is now."""
        model = None if self._model is None else copy_domain(self._model)
        kept, figures, size, stamp = self._kept, self._figures, self.size, self.stamp

        def restore() -> None:
            self._model, self._kept, self._figures = model, kept, figures
            self.size, self.stamp = size, stamp
            self._texts.clear()

        return restore

    @classmethod
    def read(cls, text: str, *, validate: bool = False, live: bool = False) -> DomainModel:
        """Read and complete a document in the driver's way.

        Args:
            text: the document.
            validate: refuse what libvirt's schema does not know.
            live: it describes a running guest: keep aliases and the like.

        Raises:
            VirError: with libvirt's code, domain and text.
        """
        return parse_domain(text, defaults=cls.DEFAULTS, validate=validate, live=live)

    @classmethod
    def parse(cls, text: str, *, validate: bool = False) -> Self:
        """Read a document.

        Args:
            text: the document.
            validate: refuse what libvirt's schema does not know.

        Raises:
            VirError: with libvirt's code, domain and text.
        """
        return cls(cls.read(text, validate=validate), len(text))

    def copy(self) -> Self:
        """Return a copy that shares nothing that can change."""
        model = None if self._model is None else copy_domain(self._model)
        copy = type(self)(model, self.size)
        copy._kept, copy._figures, copy.stamp = self._kept, self._figures, self.stamp
        return copy

    def format(self, flags: int, id: int) -> str:
        """Return the document.

        Args:
            flags: of virDomainXMLFlags.
            id: of the running domain, -1 if it does not run.

        Raises:
            Rpc: it has grown too long to be sent; libvirt's daemon says so in the same words.
        """
        text = self._texts.get((flags, id))
        if text is None:
            text = format_domain(self.model, id=None if id < 0 else id, flags=flags)
            check_length(text)
            if len(self._texts) >= MAX_TEXTS:
                self._texts.clear()
            self._texts[flags, id] = text
        return text

    def changing(self) -> DomainModel:
        """Return the model to somebody who will change it; the texts that were made of it are dropped."""
        self._texts.clear()
        self.stamp = object()
        return self.model

    def with_devices(self, change: Callable[[DeviceEditor], T]) -> tuple[Self, T]:
        """Return a copy whose devices were changed, with what the new ones lack filled in.

        Args:
            change: is given the editor of the copy.

        Returns:
            The copy, and what ``change`` returned.

        Raises:
            VirError: from ``change``, or because the parts contradict each other now.
        """
        model = copy_domain(self.model)
        result = change(DeviceEditor(model, self.ERRORS))
        complete_devices(model, self.DEFAULTS)
        size = len(format_domain(model, id=None, flags=LASTING))
        return type(self)(model, size), result

    @property
    def name(self) -> str:
        """The domain's name."""
        return self._head.name

    @name.setter
    def name(self, name: str) -> None:
        self.changing().name = name

    @property
    def uuid(self) -> bytes:
        """The domain's UUID, 16 bytes."""
        return self._head.uuid

    @property
    def max_memory(self) -> int:
        """What the domain can have."""
        return self._head.memory

    @max_memory.setter
    def max_memory(self, memory: int) -> None:
        self.changing().memory = memory

    @property
    def memory(self) -> int:
        """What the domain has."""
        return self._head.current_memory

    @memory.setter
    def memory(self, memory: int) -> None:
        self.changing().current_memory = memory

    @property
    def max_vcpus(self) -> int:
        """How many CPUs the domain can have."""
        return self.model.maxvcpus

    @max_vcpus.setter
    def max_vcpus(self, count: int) -> None:
        self.changing().maxvcpus = count

    @property
    def vcpus(self) -> int:
        """How many CPUs are on."""
        return self._head.vcpus

    @vcpus.setter
    def vcpus(self, count: int) -> None:
        self.changing().vcpus = count

    @property
    def cpu_mask(self) -> int | None:
        """Where all CPUs may run that are not pinned; None for anywhere."""
        return _bits(self.model.vcpu.cpuset)

    def vcpu_pin(self, vcpu: int) -> int | None:
        """Return where one CPU may run, None if it is not pinned."""
        tune = self.model.cputune
        for pin in tune.vcpupin if tune else ():
            if pin.vcpu == vcpu:
                return _bits(pin.cpuset)
        return None

    def pin_vcpu(self, vcpu: int, cpumap: int) -> None:
        """Say where one CPU may run."""
        tune = self._tune()
        pins = {pin.vcpu: pin for pin in tune.vcpupin}
        pins[vcpu] = VcpuPin(vcpu, _cpuset(cpumap))
        tune.vcpupin = [pins[number] for number in sorted(pins)]

    @property
    def emulator_pin(self) -> int | None:
        """Where the emulator may run; None for anywhere."""
        tune = self.model.cputune
        return _bits(tune.emulatorpin) if tune else None

    @emulator_pin.setter
    def emulator_pin(self, cpumap: int) -> None:
        self._tune().emulatorpin = _cpuset(cpumap)

    def _tune(self) -> CpuTune:
        """Return the block of CPU tuning to somebody who will change it; it is made if it is not there."""
        model = self.changing()
        if model.cputune is None:
            model.cputune = CpuTune()
        return model.cputune

    @property
    def on_poweroff(self) -> str:
        """What a shutdown leads to."""
        return self.model.on_poweroff

    @property
    def on_reboot(self) -> str:
        """What a reboot leads to."""
        return self.model.on_reboot

    def set_action(self, event: str, action: str) -> None:
        """Say what an event leads to: ``poweroff``, ``reboot`` or ``crash``."""
        setattr(self.changing(), f"on_{event}", action)

    def disk(self, name: str) -> Disk | None:
        """Return the first disk with a target, or a source if that begins with "/"; None if there is none."""
        for disk in self.model.devices.disks:
            source = disk.source.place() if disk.source else None
            if name == (source if name.startswith("/") else disk.dev):
                return disk
        return None

    def interface(self, name: str) -> Interface | None:
        """Return the first interface with a MAC address or target, None if there is none."""
        mac = parse_mac(name)
        for interface in self.model.devices.interfaces:
            if mac is not None:
                if interface.mac is not None and interface.mac.address == mac:
                    return interface
            elif interface.target is not None and interface.target.dev == name:
                return interface
        return None

    @property
    def has_balloon(self) -> bool:
        """Whether there is a memory balloon."""
        balloon = self.model.devices.memballoon
        return balloon is not None and balloon.model != "none"

    @property
    def balloon_period(self) -> int:
        """Seconds between the balloon's statistics, 0 for never."""
        balloon = self.model.devices.memballoon
        return (balloon.period or 0) if balloon else 0

    @balloon_period.setter
    def balloon_period(self, period: int) -> None:
        balloon = self.changing().devices.memballoon
        if balloon is not None:
            balloon.period = period or None

    @property
    def title(self) -> str | None:
        """A line about the domain."""
        return self.model.title

    @title.setter
    def title(self, title: str | None) -> None:
        self.changing().title = title

    @property
    def description(self) -> str | None:
        """A text about the domain."""
        return self.model.description

    @description.setter
    def description(self, description: str | None) -> None:
        self.changing().description = description

    def metadata(self, uri: str) -> str | None:
        """Return an application's element, None if there is none of that namespace.

        Raises:
            Rpc: it is too long to be sent.
        """
        kept = self.model.metadata
        element = None if kept is None else find_element(kept.root, uri)
        if element is None:
            return None
        text = element_text(element, uri)
        check_length(text)
        return text

    def set_metadata(self, uri: str, key: str, text: str | None) -> None:
        """Keep an application's element, or with None forget it.

        Raises:
            VirError: the element, its namespace or its prefix is wrong.
        """
        kept = self.model.metadata
        if text is None and kept is None:
            return
        element = None if text is None else stored_element(text, uri, key)
        self.changing().metadata = Metadata(
            replace_element(None if kept is None else kept.root, uri, element)
        )

    def metadata_size(self) -> int:
        """Return how many characters title, description and elements have together."""
        kept = self.model.metadata
        return len(self.title or "") + len(self.description or "") + (len(kept.text()) if kept else 0)


def check_length(text: str) -> None:
    """Refuse a text that no string of the wire can carry.

    Raises:
        Rpc: it is one.
    """
    if 4 * len(text) > MAX_BYTES and len(text.encode("utf-8", "surrogateescape")) > MAX_BYTES:
        raise Rpc("Unable to encode message payload", domain=c.VIR_FROM_RPC)


def _bits(cpuset: str | None) -> int | None:
    """Return the bitmap of a CPU set, None for none."""
    if cpuset is None:
        return None
    return sum(1 << cpu for cpu in parse_bitmap(cpuset)) if cpuset else 0


def _cpuset(bits: int) -> str:
    """Return the CPU set of a bitmap."""
    return format_bitmap({cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1})
