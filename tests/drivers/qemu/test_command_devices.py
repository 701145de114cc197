"""Parts of guests one by one: what each comes to on the command line, and over QMP."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.qemu.command import (
    Descriptor,
    Fd,
    FdSet,
    GuestFile,
    Part,
    Surroundings,
    Tap,
    build_command,
    number_images,
    orders_before_run,
    orders_for_vcpus,
    parts_of_device,
    throttle_of,
    to_arguments,
    to_commands,
)
from remotevirt.errors import VirError
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.cpu_tuning import SingleVcpu, VcpuList
from tests.drivers.qemu.commanding import emulator_for, setting, small

PCI = "<address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>"
SERIAL = "<serial type='{kind}'>{inner}<target type='isa-serial' port='0'/><alias name='serial0'/></serial>"


def values(words: list[str], name: str) -> list[str]:
    """The values of all options of a name."""
    return [words[place + 1] for place, word in enumerate(words) if word == name]


def arguments(model: DomainModel, **more: Any) -> list[str]:
    """The whole command line."""
    command = build_command(model, emulator_for(model), Surroundings("/guest", **more))
    numbers = {one.name: 10 + place for place, one in enumerate(command.descriptors)}
    return command.arguments(numbers)


class PartTests(SynchronousTestCase):
    """How a part is rendered."""

    def test_json(self) -> None:
        tap = Descriptor("tap", "tap")
        part = Part("netdev", {"type": "tap", "fd": Fd("tap"), "id": "n", "flag": True}, (tap,))
        self.assertEqual(
            ["-netdev", '{"type":"tap","fd":"7","id":"n","flag":true}'], to_arguments(part, {"tap": 7})
        )

    def test_passed_over_the_monitor(self) -> None:
        """A descriptor is given a name first, and is not taken back once the network has it."""
        tap = Descriptor("tap", "tap")
        part = Part("netdev", {"type": "tap", "fd": Fd("tap"), "id": "n"}, (tap,))
        give, make = to_commands(part)
        self.assertEqual(("getfd", {"fdname": "tap"}, tap), (give.execute, give.arguments, give.descriptor))
        self.assertEqual(("closefd", {"fdname": "tap"}), give.undo)
        self.assertFalse(give.lasting)
        self.assertEqual({"type": "tap", "fd": "tap", "id": "n"}, make.arguments)
        self.assertEqual(("netdev_del", {"id": "n"}), make.undo)

    def test_set(self) -> None:
        """A file is put into a set, at the start as well as later."""
        log = Descriptor("log", "file", "/var/log/x", append=True)
        data = {"logfile": FdSet("log"), "logappend": True}
        part = Part("chardev", {"id": "c", "backend": {"type": "pty", "data": data}}, (log,))
        self.assertEqual(
            ["-add-fd", "set=5,fd=5,opaque=log", "-chardev", "pty,id=c,logfile=/dev/fdset/5,logappend=on"],
            to_arguments(part, {"log": 5}),
        )
        give, make = to_commands(part, {"log": 77})
        self.assertEqual(("add-fd", {"fdset-id": 77, "opaque": "log"}), (give.execute, give.arguments))
        self.assertTrue(give.lasting)
        self.assertEqual("/dev/fdset/77", make.arguments["backend"]["data"]["logfile"])

    def test_options_are_for_the_start(self) -> None:
        self.assertRaises(InternalError, to_commands, Part("option", {"name": "-S", "value": None}))

    def test_commas(self) -> None:
        """A comma of a value stays one of the value."""
        model = small()
        model.name = "a,b"
        self.assertEqual(["guest=a,,b,debug-threads=on"], values(arguments(model), "-name"))


class CharacterTests(SynchronousTestCase):
    """Character devices."""

    def chardev(self, kind: str, inner: str = "") -> str:
        """What ``-chardev`` gets."""
        found = arguments(small(SERIAL.format(kind=kind, inner=inner)))
        return next(one for one in values(found, "-chardev") if "id=charserial0" in one)

    def test_kinds(self) -> None:
        self.assertEqual("null,id=charserial0", self.chardev("null"))
        self.assertEqual(
            "serial,id=charserial0,path=/dev/tty,,S0", self.chardev("dev", "<source path='/dev/tty,S0'/>")
        )
        self.assertEqual(
            "socket,id=charserial0,host=::1,port=77,telnet=on,server=on,wait=off",
            self.chardev("tcp", "<source mode='bind' host='::1' service='77'/><protocol type='telnet'/>"),
        )
        self.assertEqual(
            "socket,id=charserial0,path=/a,,b,reconnect=3",
            self.chardev(
                "unix",
                "<source mode='connect' path='/a,b'><reconnect enabled='yes' timeout='3'/></source>",
            ),
        )
        self.assertEqual(
            "udp,id=charserial0,host=127.0.0.1,port=2",
            self.chardev("udp", "<source mode='connect' host='127.0.0.1' service='2'/>"),
        )

    def test_stdio(self) -> None:
        """A daemon's guest has no terminal."""
        self.assertRaises(VirError, self.chardev, "stdio")

    def test_channel_path(self) -> None:
        """The name that a document gives a channel leads nowhere but into the folder of channels."""
        text = (
            "<controller type='virtio-serial' index='0'><alias name='virtio-serial0'/>"
            + PCI
            + "</controller>"
            "<channel type='unix'><target type='virtio' name='../../x y'/><alias name='channel0'/>"
            "<address type='virtio-serial' controller='0' bus='0' port='1'/></channel>"
        )
        model = small(text)
        command = build_command(model, emulator_for(model), Surroundings("/guest", channel_folder="/c"))
        found = {one.name: one.path for one in command.descriptors}
        self.assertEqual("/c/_.._x_y", found["charchannel0"])

    def test_descriptors(self) -> None:
        """The monitor's socket and a log are opened for it."""
        model = small(SERIAL.format(kind="pty", inner="<log file='/logs/x' append='off'/>"))
        command = build_command(model, emulator_for(model), Surroundings("/guest"))
        monitor, log = command.descriptors
        self.assertEqual(
            ("charmonitor", "listen", "/guest/monitor.sock"), (monitor.name, monitor.kind, monitor.path)
        )
        self.assertEqual(Descriptor("serial0-log", "file", "/logs/x", device="serial0"), log)
        self.assertEqual(command.monitor, monitor.path)


class DiskTests(SynchronousTestCase):
    """Disks and their images."""

    def disk(
        self, inner: str, *, kind: str = "file", source: str = "file='/i'", attributes: str = ""
    ) -> DomainModel:
        return small(
            f"<disk type='{kind}' device='disk'><driver name='qemu' type='raw'{attributes}/>"
            f"<source {source} index='1'/><target dev='vda' bus='virtio'/>{inner}<alias name='virtio-disk0'/>"
            f"{PCI}</disk>"
        )

    def files(self, model: DomainModel) -> tuple[GuestFile, ...]:
        return build_command(model, emulator_for(model), Surroundings("/guest")).files

    def test_files(self) -> None:
        """The launcher learns what is opened, and how."""
        self.assertEqual((GuestFile("/i", writable=True),), self.files(self.disk("")))
        self.assertEqual((GuestFile("/i", shared=True),), self.files(self.disk("<readonly/>")))
        self.assertEqual(
            (GuestFile("/i", writable=True, shared=True),), self.files(self.disk("<shareable/>"))
        )
        block = self.disk("", kind="block", source="dev='/dev/sdx'")
        self.assertEqual((GuestFile("/dev/sdx", writable=True, block=True),), self.files(block))

    def test_cache_modes(self) -> None:
        """What each mode means to the host, and what the guest is told of it."""
        for mode, direct, no_flush, write_back in (
            ("none", True, False, "on"),
            ("writeback", False, False, "on"),
            ("unsafe", False, True, "on"),
            ("writethrough", False, False, "off"),
            ("directsync", True, False, "off"),
        ):
            model = self.disk("", attributes=f" cache='{mode}'")
            file, layer, device = parts_of_device(setting(model), model.devices.disks[0])
            wanted = {"direct": direct, "no-flush": no_flush}
            self.assertEqual((wanted, wanted), (file.arguments["cache"], layer.arguments["cache"]))
            self.assertEqual(write_back, device.arguments["write-cache"])

    def test_zeroes(self) -> None:
        """Zeroes are not made holes where holes may not be made."""
        for attributes, wanted in (
            (" detect_zeroes='unmap'", "on"),
            (" detect_zeroes='unmap' discard='unmap'", "unmap"),
            (" detect_zeroes='on' discard='unmap'", "on"),
        ):
            model = self.disk("", attributes=attributes)
            layer = parts_of_device(setting(model), model.devices.disks[0])[1]
            self.assertEqual(wanted, layer.arguments["detect-zeroes"])

    def test_limits(self) -> None:
        """All limits go in one command, where nought is none."""
        model = self.disk("<iotune><write_iops_sec>7</write_iops_sec><group_name>g</group_name></iotune>")
        order = throttle_of(model.devices.disks[0])
        assert order is not None
        self.assertEqual(
            {
                "id": "/machine/peripheral/virtio-disk0/virtio-backend",
                "bps": 0,
                "bps_rd": 0,
                "bps_wr": 0,
                "iops": 0,
                "iops_rd": 0,
                "iops_wr": 7,
                "group": "g",
            },
            order.arguments,
        )
        self.assertIn(order, orders_before_run(setting(model)))
        self.assertIsNone(throttle_of(self.disk("").devices.disks[0]))

    def test_numbers(self) -> None:
        """Images are numbered from the last disk to the first, each chain downwards."""
        text = (
            "<disk type='file' device='disk'><driver type='qcow2'/><source file='/a'/>"
            "<backingStore type='file'><format type='raw'/><source file='/b'/></backingStore>"
            "<target dev='vda' bus='virtio'/></disk>"
            "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"
        )
        model = small(text)
        disks = {disk.dev: disk for disk in model.devices.disks}
        self.assertEqual(4, number_images(model))
        source: Any = disks["vda"].source
        assert disks["vda"].backing is not None
        self.assertEqual((2, 3), (source.extra.index, disks["vda"].backing.index))


class MachineTests(SynchronousTestCase):
    """The machine and what is on no bus."""

    def test_kernel(self) -> None:
        """A kernel that is given directly, and what the process opens for it."""
        os = "<kernel>/k,1</kernel><initrd>/i</initrd><cmdline>console=ttyS0 a,b</cmdline>"
        model = small(os=os)
        found = arguments(model)
        self.assertEqual(["/k,1"], values(found, "-kernel"))
        self.assertEqual(["console=ttyS0 a,b"], values(found, "-append"))
        files = build_command(model, emulator_for(model), Surroundings("/guest")).files
        self.assertEqual({GuestFile("/k,1", shared=True), GuestFile("/i", shared=True)}, set(files))

    def test_sandbox(self) -> None:
        """It is on unless it was turned off."""
        deny = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
        self.assertEqual([deny], values(arguments(small()), "-sandbox"))
        self.assertEqual([], values(arguments(small(), sandbox=False), "-sandbox"))

    def test_hugepages(self) -> None:
        """Memory in huge pages, on chosen nodes of the host."""
        more = (
            "<memoryBacking><hugepages/></memoryBacking>"
            "<numatune><memory mode='strict' nodeset='0-1'/></numatune>"
        )
        backend = json.loads(values(arguments(small(more=more), hugepages={2048: "/huge"}), "-object")[0])
        self.assertEqual(
            {
                "qom-type": "memory-backend-file",
                "id": "pc.ram",
                "mem-path": "/huge",
                "x-use-canonical-path-for-ramblock-id": False,
                "prealloc": True,
                "size": 64 << 20,
                "host-nodes": [0, 1],
                "policy": "bind",
            },
            backend | {"x-use-canonical-path-for-ramblock-id": False},
        )
        self.assertRaises(VirError, arguments, small(more=more))

    def test_vnc(self) -> None:
        """A port that was left to the driver is the one it chose; the password is not on the command line."""
        screen = (
            "<graphics type='vnc' port='-1' autoport='yes' passwd='secret'>"
            "<listen type='address' address='{}'/></graphics>"
            "<video><model type='none'/><alias name='video0'/></video>"
        )
        found = values(arguments(small(screen.format("::1")), vnc_ports={0: 5907}), "-vnc")
        self.assertEqual(["[::1]:7,password=on,audiodev=audio1"], found)
        self.assertRaises(VirError, arguments, small(screen.format("::1")))

    def test_keymap(self) -> None:
        """A keymap is a name, and leads out of no folder."""
        screen = (
            "<graphics type='vnc' port='5900' keymap='{}'><listen type='address' address='::1'/></graphics>"
            "<video><model type='none'/><alias name='video0'/></video>"
        )
        self.assertEqual(["en-us"], values(arguments(small(screen.format("en-us"))), "-k"))
        for name in ("../../x", "/etc/passwd", ".", "a b"):
            self.assertRaises(VirError, arguments, small(screen.format(name)))

    def test_tap(self) -> None:
        """A network card on a bridge."""
        model = small(
            "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
            "<target dev='tap7'/><model type='virtio'/><mtu size='1400'/><alias name='net0'/>"
            + PCI
            + "</interface>"
        )
        network, device = parts_of_device(setting(model), model.devices.interfaces[0])
        tap = Tap("tap7", "52:54:00:00:00:01", 1400, "br0")
        self.assertEqual((Descriptor("tapfd-net0", "tap", tap=tap, device="net0"),), network.descriptors)
        self.assertEqual({"type": "tap", "fd": Fd("tapfd-net0"), "id": "hostnet0"}, network.arguments)
        self.assertEqual(1400, device.arguments["host_mtu"])

    def test_vcpus(self) -> None:
        """Virtual CPUs that can go again are plugged in by their place, in whatever order QEMU tells."""
        model = small()
        model.vcpu_list = VcpuList(
            [SingleVcpu(0, True), SingleVcpu(1, True, True), SingleVcpu(2, False, True)]
        )
        model.maxvcpus, model.vcpus = 3, 2
        self.assertEqual(["1,maxcpus=3,sockets=3,cores=1,threads=1"], values(arguments(model), "-smp"))
        slots: list[Any] = [{"type": "cpu", "props": {"socket-id": number}} for number in (2, 1, 0)]
        slots[2]["qom-path"] = "/machine/unattached/device[0]"
        (order,) = orders_for_vcpus(setting(model), slots)
        self.assertEqual({"driver": "cpu", "id": "vcpu1", "socket-id": 1}, order.arguments)
        nonsense: list[Any] = [
            None,
            {},
            [None],
            [{"type": 1, "props": {}}],
            [{"type": "x", "props": {"core-id": "1"}}],
        ]
        for answer in nonsense:
            self.assertRaises(InternalError, orders_for_vcpus, setting(model), answer)
        self.assertRaises(VirError, orders_for_vcpus, setting(model), [])

    def test_before_it_runs(self) -> None:
        """A cable that is pulled, and what a reset leads to."""
        model = small(
            "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/>"
            "<link state='down'/><alias name='net0'/>" + PCI + "</interface>"
        )
        model.on_reboot = "destroy"
        found = [(one.execute, one.arguments) for one in orders_before_run(setting(model))]
        self.assertEqual(
            [
                ("set_link", {"name": "net0", "up": False}),
                ("set-action", {"reboot": "shutdown", "shutdown": "pause", "panic": "pause"}),
            ],
            found,
        )
