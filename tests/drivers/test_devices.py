"""Attaching, changing and detaching devices; the words are those of libvirt 9.0.0's QEMU driver."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.devices import DeviceEditor, parse_device
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.xml.domain.document import MAX_DEVICES

BASE = """<domain type='qemu'><name>d</name><uuid>782aa9e4-fb65-42ff-8572-17dda7a76df5</uuid>
<memory unit='KiB'>1048576</memory><maxMemory slots='2' unit='KiB'>4194304</maxMemory><vcpu>2</vcpu>
<os><type arch='x86_64'>hvm</type>{boot}</os>
<cpu><numa><cell id='0' cpus='0-1' memory='1048576'/></numa></cpu>
<devices><disk type='file' device='disk'><source file='/a.img'/><target dev='vda' bus='virtio'/>{order}</disk>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>{alias}</interface>
<controller type='usb' index='0'/>{more}</devices></domain>"""


class QemuDefinition(Definition):
    __slots__ = ()
    ERRORS = c.VIR_FROM_QEMU


def define(boot: str = "<boot dev='hd'/>", order: str = "", alias: str = "", more: str = "") -> Definition:
    return QemuDefinition.parse(BASE.format(boot=boot, order=order, alias=alias, more=more))


NETWORK_CARD = (
    "<interface type='bridge'><mac address='52:54:00:00:00:{}'/><source bridge='br0'/>{}</interface>"
)
DIMM = "<memory model='dimm'><target><size unit='KiB'>{}</size><node>{}</node></target></memory>"
TABLET = "<input type='tablet' bus='usb'/>"

THERE_ONCE = {
    "<disk type='file'><source file='/b'/><target dev='vdb' bus='virtio'/></disk>": (
        (55, 10, "Requested operation is not valid: target vdb already exists"),
        (99, 10, "device not found: no target device vdb"),
    ),
    "<disk type='file' device='cdrom'><target dev='hda'/></disk>": (
        (55, 10, "Requested operation is not valid: target hda already exists"),
        (99, 10, "device not found: no target device hda"),
    ),
    "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/><product id='0x2'/></source></hostdev>": (
        (55, 10, "Requested operation is not valid: device is already in the domain configuration"),
        (99, 10, "device not found: device not present in domain configuration"),
    ),
    "<hostdev type='pci'><source><address domain='0' bus='1' slot='2' function='0'/></source></hostdev>": (
        (55, 10, "Requested operation is not valid: device is already in the domain configuration"),
        (99, 10, "device not found: device not present in domain configuration"),
    ),
    "<lease><lockspace>a</lockspace><key>k</key><target path='/x'/></lease>": (
        (55, 10, "Requested operation is not valid: Lease k in lockspace a already exists"),
        (99, 10, "device not found: Lease k in lockspace a does not exist"),
    ),
    "<controller type='scsi' index='1'/>": (
        (55, 10, "Requested operation is not valid: controller index='1' already exists"),
        (99, 10, "device not found: device not present in domain configuration"),
    ),
    "<serial type='pty'><target port='0'/></serial>": (
        (55, 10, "Requested operation is not valid: chardev already exists"),
        (8, 10, "invalid argument: device not present in domain configuration"),
    ),
    "<channel type='unix'><target type='virtio' name='org.x'/></channel>": (
        (55, 10, "Requested operation is not valid: chardev already exists"),
        (8, 10, "invalid argument: device not present in domain configuration"),
    ),
    "<filesystem><source dir='/a'/><target dir='t'/></filesystem>": (
        (55, 10, "Requested operation is not valid: Target already exists"),
        (99, 10, "device not found: no matching filesystem device was found"),
    ),
    "<shmem name='s'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>": (
        (55, 10, "Requested operation is not valid: device is already in the domain configuration"),
        (99, 10, "device not found: matching shmem device was not found"),
    ),
    "<watchdog model='i6300esb'/>": (
        (55, 10, "Requested operation is not valid: domain already has a watchdog"),
        (99, 10, "device not found: domain has no watchdog"),
    ),
    "<vsock model='virtio'><cid auto='yes'/></vsock>": (
        (55, 10, "Requested operation is not valid: domain already has a vsock device"),
        (9, 10, "operation failed: matching vsock device not found"),
    ),
}
"""Devices of which a guest has one, with what is said of a second and of one that is not there."""

THERE_OFTEN = {
    "<sound model='ich6'/>": (99, 10, "device not found: device not present in domain configuration"),
    "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>": (
        (99, 10, "device not found: no matching RNG device was found")
    ),
    DIMM.format(524288, 0): (99, 10, "device not found: matching memory device was not found"),
    "<redirdev bus='usb' type='tcp'><source mode='connect' host='h' service='1'/></redirdev>": (
        (99, 10, "device not found: no matching redirdev was not found")
    ),
    TABLET: (99, 10, "device not found: matching input device not found"),
}
"""Devices of which a guest may have several that are alike, with what is said when there is none left."""

NEVER = {
    "<graphics type='vnc' port='-1' autoport='yes'/>": "graphics",
    "<hub type='usb'/>": "hub",
    "<memballoon model='virtio'/>": "memballoon",
    "<panic model='isa'/>": "panic",
}


class DeviceTests(SynchronousTestCase):
    def edit(self, definition: Definition, change: str, xml: str) -> Definition:
        device = parse_device(xml)
        changed, _ = definition.with_devices(lambda editor: getattr(editor, change)(device))
        return changed

    def refused(self, definition: Definition, change: str, xml: str) -> tuple[int, int, str]:
        """Change a device, which fails and leaves the definition as it was; return the error."""
        before = definition.document()
        error = self.assertRaises(VirError, self.edit, definition, change, xml)
        self.assertEqual(before, definition.document())
        return error.code, error.domain, str(error)

    def test_one_of_its_kind(self) -> None:
        for xml, (second, gone) in THERE_ONCE.items():
            definition = define()
            before = definition.document()
            definition = self.edit(definition, "attach", xml)
            self.assertNotEqual(before, definition.document())
            self.assertEqual(len(definition.document()), definition.size)
            self.assertEqual(second, self.refused(definition, "attach", xml), xml)
            definition = self.edit(definition, "detach", xml)
            if "channel" not in xml and "cdrom" not in xml:  # of these the controller stays
                self.assertEqual(before, definition.document())
            self.assertEqual(gone, self.refused(definition, "detach", xml), xml)

    def test_many_of_a_kind(self) -> None:
        for xml, gone in THERE_OFTEN.items():
            definition = define()
            before = definition.document()
            for change in ("attach", "attach", "detach", "detach"):
                definition = self.edit(definition, change, xml)
            self.assertEqual(before, definition.document())
            self.assertEqual(gone, self.refused(definition, "detach", xml), xml)

    def test_families_that_cannot_be(self) -> None:
        definition = define()
        text = "Operation not supported: persistent {} of device '{}' is not supported"
        for xml, name in NEVER.items():
            for change in ("attach", "detach"):
                self.assertEqual((84, 10, text.format(change, name)), self.refused(definition, change, xml))
        self.assertEqual((84, 10, text.format("update", "input")), self.refused(definition, "update", TABLET))
        serial = "<serial type='pty'/>"
        self.assertEqual((84, 10, text.format("update", "chr")), self.refused(definition, "update", serial))

    def test_serial_consoles(self) -> None:
        definition = define()
        console = "<console type='pty'/>"
        text = "attaching serial console is not supported"
        self.assertEqual(
            (84, 10, f"Operation not supported: {text}"), self.refused(definition, "attach", console)
        )
        self.assertEqual(55, self.refused(definition, "detach", console)[0])
        definition = self.edit(definition, "attach", "<serial type='pty'/>")
        self.assertIn("<console type='pty'>", definition.document())
        definition = self.edit(definition, "detach", "<serial type='pty'><target port='0'/></serial>")
        self.assertNotIn("<console", definition.document())
        self.assertNotIn("<serial", definition.document())

    def test_network_cards(self) -> None:
        definition = define()
        absent = "device not found: no device found at address '{}' matching MAC address '{}' and alias '{}'"
        place = "<address type='pci' slot='9'/>"
        for more, at, mac in (("", "(<null>)", "09"), (place, "0000:00:09.0", "01")):
            text = absent.format(at, f"52:54:00:00:00:{mac}", "(<null>)")
            found = self.refused(definition, "detach", NETWORK_CARD.format(mac, more))
            self.assertEqual((99, 20, text), found)
        definition = self.edit(definition, "update", NETWORK_CARD.format("01", "<link state='down'/>"))
        self.assertIn("<link state='down'/>", definition.document())
        definition = self.edit(definition, "attach", NETWORK_CARD.format("02", ""))
        definition = self.edit(definition, "attach", NETWORK_CARD.format("02", ""))
        self.assertEqual(
            (9, 20, "operation failed: multiple devices matching MAC address 52:54:00:00:00:02 found"),
            self.refused(definition, "detach", NETWORK_CARD.format("02", "")),
        )
        self.assertEqual(
            (9, 20, "operation failed: multiple matching devices found"),
            self.refused(definition, "detach", "<interface type='user'/>"),
        )
        definition = self.edit(definition, "attach", "<interface type='user'/>")
        self.assertTrue(all(card.mac is not None for card in definition.model.devices.interfaces))

    def test_aliases(self) -> None:
        definition = define(alias="<alias name='ua-n'/>")
        text = "unsupported configuration: non unique alias detected: ua-n"
        card = NETWORK_CARD.format("06", "<alias name='ua-n'/>")
        self.assertEqual((67, 20, text), self.refused(definition, "attach", card))
        other = NETWORK_CARD.format("01", "<alias name='ua-z'/>")
        self.assertEqual(99, self.refused(definition, "detach", other)[0])
        error = self.assertRaises(VirError, definition.with_devices, lambda one: one.find_alias("ua-z"))
        self.assertEqual("internal error: no device found with alias ua-z", str(error))
        changed, card = definition.with_devices(lambda one: one.remove(one.find_alias("ua-n")))
        self.assertEqual("52:54:00:00:00:01", card.mac.address)
        self.assertEqual([], changed.model.devices.interfaces)

    def test_boot_order(self) -> None:
        first = NETWORK_CARD.format("05", "<boot order='1'/>")
        self.assertEqual(
            (
                *(67, 20),
                "unsupported configuration: per-device boot elements cannot be used together with"
                " os/boot elements",
            ),
            self.refused(define(), "attach", first),
        )
        definition = define(boot="", order="<boot order='1'/>")
        self.assertEqual(
            (67, 20, "unsupported configuration: boot order 1 is already used by another device"),
            self.refused(definition, "attach", first),
        )
        definition = self.edit(definition, "attach", NETWORK_CARD.format("05", "<boot order='2'/>"))

    def test_disks_are_changed(self) -> None:
        definition = define()
        disk = "<disk type='file'><source file='/c'/><target dev='{}' bus='virtio'/></disk>"
        self.assertEqual(
            (8, 10, "invalid argument: target vdx doesn't exist."),
            self.refused(definition, "update", disk.format("vdx")),
        )
        definition = self.edit(definition, "update", disk.format("vda"))
        self.assertIn("<source file='/c'/>", definition.document())
        self.assertNotIn("/a.img", definition.document())

    def test_screens_are_changed(self) -> None:
        definition = define(more="<graphics type='vnc' port='5901'/>")
        definition = self.edit(definition, "update", "<graphics type='vnc' port='5905'/>")
        self.assertIn("port='5905'", definition.document())
        self.assertEqual(
            (8, 10, "invalid argument: cannot find existing graphics type 'sdl' device to modify"),
            self.refused(definition, "update", "<graphics type='sdl'/>"),
        )

    def test_memory(self) -> None:
        definition = define()
        self.assertEqual(
            (
                *(67, 20),
                "unsupported configuration: Attaching memory device with size '8388608' would exceed"
                " domain's maxMemory config size '4194304'",
            ),
            self.refused(definition, "attach", DIMM.format(8 << 20, 0)),
        )
        self.assertEqual(35, self.refused(definition, "attach", DIMM.format(524288, 3))[0])
        for total in (1572864, 2097152):
            definition = self.edit(definition, "attach", DIMM.format(524288, 0))
            self.assertEqual((total, total), (definition.max_memory, definition.memory))
        self.assertEqual(
            (67, 10, "unsupported configuration: no free memory device slot available"),
            self.refused(definition, "attach", DIMM.format(524288, 0)),
        )
        self.assertEqual(
            (8, 10, "invalid argument: memory not found"),
            self.refused(definition, "update", DIMM.format(262144, 0)),
        )

    def test_without_usb(self) -> None:
        definition = QemuDefinition.parse(
            BASE.format(boot="", order="", alias="", more="").replace(
                "<controller type='usb' index='0'/>", "<controller type='usb' model='none'/>"
            )
        )
        text = "Device configuration is not compatible: Domain has no USB bus support"
        for xml in (TABLET, "<disk><source file='/c'/><target dev='sdb' bus='usb'/></disk>"):
            self.assertEqual(
                (67, 20, f"unsupported configuration: {text}"), self.refused(definition, "attach", xml)
            )

    def test_too_many(self) -> None:
        definition = define(more="<sound model='ich6'/>" * (MAX_DEVICES - 3))
        found = self.refused(definition, "attach", "<sound model='ich6'/>")
        self.assertEqual((27, 20, "XML error: more than 2048 devices"), found)

    def test_documents_that_are_none(self) -> None:
        for xml, text in (
            ("<zork/>", "unsupported configuration: unknown device type 'zork'"),
            ("<emulator>/x</emulator>", "unsupported configuration: unknown device type 'emulator'"),
            ("zz", "(device_definition):1: Start tag expected, '<' not found\nzz\n^"),
            ("<disk><source file='/b'/></disk>", "missing target information for device /b"),
        ):
            error = self.assertRaises(VirError, parse_device, xml)
            self.assertEqual(text, str(error))

    def test_namespaces_do_not_matter(self) -> None:
        device = parse_device("<x:sound xmlns:x='urn:x' model='ac97'/>")
        self.assertEqual("ac97", device.model)

    def test_editor_of_a_live_model(self) -> None:
        model = define().model.copy()
        DeviceEditor(model).attach(parse_device("<sound model='ac97'/>"))
        self.assertEqual(["ac97"], [sound.model for sound in model.devices.sounds])
