"""What a configuration says and the command line cannot is refused, never dropped."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import attrs
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

import remotevirt.xml.domain
from remotevirt.drivers.qemu.command import Surroundings, build_command, read_passthrough
from remotevirt.drivers.qemu.command.expressed import (
    DEFAULTS,
    EXPRESSED,
    HOST,
    REFUSALS,
    WHOLE,
    check_device,
    check_expressed,
    model_name,
)
from remotevirt.errors import VirError
from remotevirt.stubs.errors import ConfigUnsupported, InternalError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.model import Model
from tests.drivers.qemu.commanding import NAMES, document, emulator_for, read, small

DISK = """
<disk type='file' device='{device}'>
  <driver name='qemu' type='{format}'{driver}/>
  <source file='/images/disk' index='1'>{source}</source>{backing}
  <target dev='{dev}' bus='{bus}'/>{more}
  <alias name='disk0'/>
  {address}
</disk>
"""
VIRTIO = "<address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>"
DRIVE = "<address type='drive' controller='0' bus='0' target='0' unit='0'/>"


def models() -> dict[str, type[Model]]:
    """All models of domain documents, by their names in the tables."""
    found: dict[str, type[Model]] = {}
    for info in pkgutil.iter_modules(remotevirt.xml.domain.__path__):
        module = importlib.import_module(f"remotevirt.xml.domain.{info.name}")
        for one in vars(module).values():
            if isinstance(one, type) and issubclass(one, Model) and one.__module__ == module.__name__:
                found[model_name(one)] = one
    return found


def disk(
    *,
    device: str = "disk",
    format: str = "raw",
    bus: str = "virtio",
    driver: str = "",
    source: str = "",
    backing: str = "",
    more: str = "",
) -> str:
    """A disk."""
    return DISK.format(
        device=device,
        format=format,
        bus=bus,
        driver=driver,
        source=source,
        backing=backing,
        more=more,
        dev="vda" if bus == "virtio" else "sda",
        address=VIRTIO if bus == "virtio" else DRIVE,
    )


class TableTests(SynchronousTestCase):
    """The tables of what is expressed."""

    def test_names(self) -> None:
        """Every name in the tables is a model's, or a field's."""
        known = models()
        for table in (EXPRESSED, HOST):
            for name, fields in table.items():
                self.assertIn(name, known)
                self.assertEqual(
                    set(), set(fields) - {field.name for field in attrs.fields(known[name])}, name
                )
        self.assertEqual(set(), set(WHOLE) - set(known))
        for name, field in (*REFUSALS, *DEFAULTS):
            self.assertIn(field, {one.name for one in attrs.fields(known[name])}, name)
            self.assertNotIn(field, EXPRESSED.get(name, ()), name)

    def test_no_field_is_both(self) -> None:
        """A field is looked at by a builder, or says nothing to QEMU: not both."""
        for name, fields in HOST.items():
            self.assertEqual(frozenset(), fields & EXPRESSED.get(name, frozenset()), name)

    def test_all_others_are_refused(self) -> None:
        """A field of any model that no table knows is refused as soon as there is anything in it."""
        count = 0
        for name, cls in models().items():
            if cls is DomainModel:
                continue
            known = EXPRESSED.get(name, frozenset()) | HOST.get(name, frozenset())
            for field in attrs.fields(cls):
                if field.name in known or not field.init:
                    continue
                model = cls()
                object.__setattr__(model, field.name, _something(getattr(model, field.name)))
                self.assertRaises(ConfigUnsupported, check_device, model)
                count += 1
        self.assertGreater(count, 200)


def _something(empty: Any) -> Any:
    """A value that is not this one, and that no table lets through."""
    return ["something"] if empty != ["something"] else ["else"]


class RefusalTests(SynchronousTestCase):
    """Configurations that are refused, and in which words."""

    def build(self, model: DomainModel, **more: Any) -> None:
        build_command(model, emulator_for(model), Surroundings("/guest", **more))

    def refused(self, words: str, devices: str = "", **more: str) -> None:
        """These devices are refused in these words."""
        error = self.assertRaises(ConfigUnsupported, self.build, small(devices, **more))
        self.assertEqual(f"unsupported configuration: {words}", str(error))

    def test_small_guest(self) -> None:
        """What the others add to is not refused."""
        self.build(small(disk()))

    def test_spice(self) -> None:
        self.refused(
            "spice graphics are not supported with this QEMU",
            "<graphics type='spice' port='5900'><listen type='address' address='127.0.0.1'/></graphics>"
            "<video><model type='vga'/><alias name='video0'/></video>",
        )

    def test_host_tuning(self) -> None:
        """What is for the host is refused, unless somebody says that he sees to it."""
        more = "<cputune><shares>2048</shares></cputune>"
        self.refused("CPU tuning is not available on this host", more=more)
        self.build(small(more=more), elsewhere=frozenset(["cputune"]))

    def test_unknown_chain(self) -> None:
        """The base of an image is never left for QEMU to find, except where nothing will run."""
        self.refused("the backing chain of image '/images/disk' is not known", disk(format="qcow2"))
        self.build(small(disk(format="qcow2")), preview=True)
        self.build(small(disk(format="qcow2", backing="<backingStore/>")))

    def test_half_a_chain(self) -> None:
        """A chain is spelled out to its end."""
        backing = (
            "<backingStore type='file' index='2'><format type='qcow2'/><source file='/images/base'/>"
            "</backingStore>"
        )
        self.refused(
            "the backing chain of image '/images/base' is not known", disk(format="qcow2", backing=backing)
        )

    def test_base_of_raw(self) -> None:
        backing = (
            "<backingStore type='file' index='2'><format type='raw'/><source file='/images/base'/>"
            "</backingStore>"
        )
        self.refused(
            "image '/images/disk' of format 'raw' cannot have a backing image", disk(backing=backing)
        )

    def test_disks(self) -> None:
        """Settings that a bus has not."""
        self.refused("transient disks are not supported by this driver", disk(more="<transient/>"))
        self.refused(
            "IOThreads not available for bus sata target sda", disk(bus="sata", driver=" iothread='1'")
        )
        self.refused("Disk iothread '1' not defined in iothreadid", disk(driver=" iothread='1'"))

    def test_interface(self) -> None:
        card = (
            "<interface type='{kind}'><mac address='52:54:00:00:00:01'/>{source}<model type='virtio'/>"
            "{more}<alias name='net0'/>" + VIRTIO + "</interface>"
        )
        direct = card.format(kind="direct", source="<source dev='eth0' mode='bridge'/>", more="")
        self.refused("network interfaces of type 'direct' are not supported by this driver", direct)
        virtual = card.format(kind="network", source="<source network='default'/>", more="")
        words = "there are no virtual networks; use type 'user', or 'bridge' with a bridge of the host"
        self.refused(
            f"network interfaces of type 'network' are not supported by this driver: {words}", virtual
        )
        limited = card.format(kind="user", source="", more="<bandwidth><inbound average='1'/></bandwidth>")
        self.refused("setting bandwidth on network interfaces is not supported by this driver", limited)
        self.build(small(card.format(kind="user", source="", more="")))

    def test_virt_type(self) -> None:
        """KVM only where it works."""
        model = small()
        model.type = "kvm"
        error = self.assertRaises(ConfigUnsupported, self.build, model)
        self.assertIn("does not support virt type 'kvm'", str(error))

    def test_machine(self) -> None:
        """Another architecture's machine."""
        model = small()
        assert model.os.kind is not None
        model.os.kind.machine = "virt-7.2"
        error = self.assertRaises(ConfigUnsupported, self.build, model)
        self.assertIn("does not support machine type 'virt-7.2'", str(error))

    def test_cpu_model(self) -> None:
        """A CPU model that the emulator does not know."""
        model = small(more="<cpu mode='custom' match='exact'><model fallback='forbid'>Z80</model></cpu>")
        emulator = attrs.evolve(emulator_for(model), cpus={"qemu64": None})
        error = self.assertRaises(ConfigUnsupported, build_command, model, emulator, Surroundings("/guest"))
        self.assertIn("CPU model Z80 not supported by hypervisor", str(error))

    def test_a_field_that_nobody_expresses(self) -> None:
        """Whatever it is, and wherever it stands."""
        for name in NAMES:
            model = read(document(name, "/images"))
            check_expressed(model)
            model.devices.disks[0].geometry = "anything"
            error = self.assertRaises(ConfigUnsupported, check_expressed, model)
            self.assertEqual(
                "unsupported configuration: 'geometry' of <disk> is not supported by this driver", str(error)
            )


class PassthroughTests(SynchronousTestCase):
    """``<qemu:commandline>``."""

    def read(self, inner: str) -> Any:
        space = "http://libvirt.org/schemas/domain/qemu/1.0"
        return read_passthrough(etree.fromstring(f"<domain xmlns:qemu='{space}'>{inner}</domain>"))

    def test_order(self) -> None:
        found = self.read(
            "<qemu:commandline><qemu:arg value='-x'/><qemu:arg value=''/><qemu:env name='A' value='1'/>"
            "<qemu:env name='B'/></qemu:commandline>"
        )
        self.assertEqual(("-x", ""), found.arguments)
        self.assertEqual((("A", "1"), ("B", "")), found.environment)

    def test_malformed(self) -> None:
        for inner in ("<qemu:arg/>", "<qemu:env/>", "<qemu:env name='1'/>", "<qemu:env name='a b'/>"):
            self.assertRaises(InternalError, self.read, f"<qemu:commandline>{inner}</qemu:commandline>")

    def test_other_elements(self) -> None:
        """What changes the guest in ways that nobody carries out is refused."""
        self.assertRaises(VirError, self.read, "<qemu:override/>")
        self.assertEqual((), self.read("<name/>").arguments)
