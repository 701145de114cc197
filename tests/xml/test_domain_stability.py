"""Which differences between two documents of a guest matter to the guest.

The texts are libvirt 9.0.0's, as its test driver gave them when a snapshot was described anew with one thing
changed. Models of controllers are shown as words here and as numbers there.
"""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.xml.domain import DomainDefaults, DomainModel, parse_domain
from remotevirt.xml.domain.stability import check_stability

GUEST = """\
<domain type='test'><name>guest</name><uuid>7b8eac1f-a9b1-4523-881a-febf0d9ce655</uuid><title>t</title>
<memory unit='KiB'>65536</memory><currentMemory>60000</currentMemory><vcpu current='2'>4</vcpu>
<iothreads>2</iothreads>
<os><type arch='x86_64' machine='pc'>hvm</type><smbios mode='host'/><boot dev='hd'/></os>
<features><acpi/><apic/><gic version='2'/></features>
<cpu mode='custom' match='exact'><model>Nehalem</model><vendor>Intel</vendor>
<topology sockets='2' cores='2' threads='1'/><feature policy='require' name='vmx'/></cpu>
<clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='pit' present='yes'/></clock>
<devices>
<disk type='file' device='disk'><source file='/a.img'/><target dev='vda' bus='virtio'/>
<serial>S1</serial></disk>
<disk type='file' device='cdrom'><source file='/c.iso'/><target dev='hdc' bus='ide'/><readonly/></disk>
<controller type='usb' index='0' model='ich9-ehci1'/><controller type='virtio-serial' index='0' ports='16'/>
<filesystem type='mount'><source dir='/x'/><target dir='tag'/></filesystem>
<interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/><model type='virtio'/>
</interface>
<parallel type='pty'><target port='0'/></parallel>
<channel type='unix'><target type='virtio' name='org.q'/></channel>
<input type='tablet' bus='usb'/><graphics type='vnc' port='-1'/><sound model='ich6'/>
<video><model type='vga' vram='16384' heads='1'/></video><redirdev bus='usb' type='spicevmc'/>
<watchdog model='i6300esb' action='reset'/><memballoon model='virtio'/>
<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm><panic model='isa'/>
<vsock model='virtio'><cid auto='no' address='3'/></vsock>
</devices></domain>"""

NUMBER = "does not match source"

MATTERS = {
    ("type='test'", "type='kvm'"): f"Target domain virt type kvm {NUMBER} test",
    (">guest<", ">other<"): "Target domain name 'other' does not match source 'guest'",
    (">65536<", ">65537<"): f"Target domain max memory 65537 {NUMBER} 65536",
    (">60000<", ">50000<"): f"Target domain current memory 50000 {NUMBER} 60000",
    ("<memory ", "<maxMemory slots='4'>262144</maxMemory><memory "): (
        "Target maximum memory size '262144' doesn't match source '0'"
    ),
    (">4</vcpu>", ">5</vcpu>"): f"Target domain vCPU max 5 {NUMBER} 4",
    ("current='2'", "current='3'"): "State of vCPU '2' differs between source and destination definitions",
    ("x86_64", "i686"): f"Target domain architecture i686 {NUMBER} x86_64",
    (" machine='pc'", ""): f"Target domain machine type (null) {NUMBER} pc",
    ("<smbios mode='host'/>", ""): f"Target domain SMBIOS mode none {NUMBER} host",
    ("<acpi/>", ""): "State of feature 'acpi' differs: source: 'on', destination: 'default'",
    ("<apic/>", ""): (
        "State of feature 'apic' differs: source: 'on,eoi=default', destination: 'default,eoi=default'"
    ),
    ("gic version='2'", "gic version='3'"): (
        "State of feature 'gic' differs: source: 'on,version=2', destination: 'on,version=3'"
    ),
    ("<acpi/>", "<acpi/><ioapic driver='kvm'/>"): (
        "State of feature 'ioapic' differs: source: 'driver=none', destination: 'driver=kvm'"
    ),
    ("Nehalem", "Penryn"): f"Target CPU model Penryn {NUMBER} Nehalem",
    ("sockets='2' cores='2'", "sockets='4' cores='1'"): f"Target CPU sockets 4 {NUMBER} 2",
    ("policy='require'", "policy='disable'"): f"Target CPU feature policy disable {NUMBER} require",
    ("<cpu .*?</cpu>", ""): "Target CPU does not match source",
    ("<timer name='pit' present='yes'/>", ""): "Target domain timers do not match source",
    ("present='yes'", "present='no'"): "Target timer presence 'no' does not match source 'yes'",
    ("'vda'", "'vdb'"): f"Target disk vdb {NUMBER} vda",
    (">S1<", ">S2<"): f"Target disk serial S2 {NUMBER} S1",
    ("<disk type='file' device='cdrom'>.*?</disk>", ""): f"Target domain disk count 1 {NUMBER} 2",
    ("ports='16'", "ports='31'"): f"Target controller ports 31 {NUMBER} 16",
    ("ich9-ehci1", "piix3-uhci"): f"Target controller model piix3-uhci {NUMBER} ich9-ehci1",
    ("dir='tag'", "dir='tog'"): f"Target filesystem guest target tog {NUMBER} tag",
    (":00:01", ":00:02"): f"Target network card mac 52:54:00:00:00:02 {NUMBER} 52:54:00:00:00:01",
    ("<model type='virtio'/>", "<model type='e1000'/>"): f"Target network card model e1000 {NUMBER} virtio",
    ("<parallel.*?</parallel>", ""): f"Target domain parallel port count 0 {NUMBER} 1",
    ("org.q", "org.z"): f"Target channel name org.z {NUMBER} org.q",
    ("tablet", "mouse"): f"Target input device type mouse {NUMBER} tablet",
    ("<sound .*?/>", ""): f"Target domain sound card count 0 {NUMBER} 1",
    ("heads='1'", "heads='2'"): f"Target video card heads 2 {NUMBER} 1",
    ("type='spicevmc'", "type='pty'"): (
        "Target redirected device source type pty does not match source device source type spicevmc"
    ),
    ("i6300esb", "ib700"): f"Target watchdog model ib700 {NUMBER} i6300esb",
    ("<memballoon model='virtio'/>", ""): f"Target domain memory balloon count 0 {NUMBER} 1",
    ("tpm-tis", "tpm-crb"): "Target TPM device model doesn't match source",
    ("model='isa'", "model='hyperv'"): "Target panic model 'hyperv' does not match source 'isa'",
    ("<vsock.*?</vsock>", ""): "Target domain vsock device count does not match source",
    ("<serial>S1</serial>", "<address type='pci' domain='0' bus='0' slot='9' function='0'/>"): (
        f"Target disk serial (null) {NUMBER} S1"
    ),
    ("<sound model='ich6'/>", "<sound model='ich6'><address type='pci' bus='0' slot='9'/></sound>"): (
        f"Target device address type pci {NUMBER} none"
    ),
}
"""What is changed, and the complaint."""

DOES_NOT_MATTER = (
    (">t<", ">u<"),
    ("<iothreads>2", "<iothreads>3"),
    ("dev='hd'", "dev='cdrom'"),
    ("offset='utc'", "offset='localtime'"),
    ("catchup", "delay"),
    ("/a.img", "/b.img"),
    ("network='default'", "network='other'"),
    ("<graphics.*?/>", ""),
    ("vram='16384'", "vram='9216'"),
    ("action='reset'", "action='none'"),
    ("address='3'", "address='4'"),
)


def model(old: str = "", new: str = "") -> DomainModel:
    """Return the guest, with something changed."""
    text = GUEST if not old else re.sub(old, new, GUEST, count=1, flags=re.DOTALL)
    assert not old or text != GUEST, old
    return parse_domain(text, defaults=DomainDefaults())


class StabilityTests(SynchronousTestCase):
    """check_stability."""

    def test_what_matters(self) -> None:
        """Each difference that the guest would see is named."""
        for (old, new), message in MATTERS.items():
            error = self.assertRaises(VirError, check_stability, model(), model(old, new))
            self.assertEqual((error.code, error.detail), (67, message))

    def test_what_does_not(self) -> None:
        """Nothing else makes a difference."""
        check_stability(model(), model())
        for old, new in DOES_NOT_MATTER:
            check_stability(model(), model(old, new))

    def test_both_ways(self) -> None:
        """Whatever matters, matters in both directions."""
        for old, new in MATTERS:
            self.assertRaises(VirError, check_stability, model(old, new), model())

    def test_addresses(self) -> None:
        """Devices stay in their slots."""
        places = [
            model("<sound model='ich6'/>", f"<sound model='ich6'><address type='pci' slot='{slot}'/></sound>")
            for slot in (9, 10)
        ]
        error = self.assertRaises(VirError, check_stability, *places)
        text = "Target device PCI address 0000:00:0a.0 does not match source 0000:00:09.0"
        self.assertEqual(error.detail, text)
