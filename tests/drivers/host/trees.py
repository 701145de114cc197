"""Trees of files like those of a host: a server with two sockets and all kinds of devices, and a bare one.

What libvirtd says of the server (``server.xml``) was recorded by ``record.py``, which shows it the same tree.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["SERVER", "write_bare", "write_server"]

SERVER = Path(__file__).with_name("server.xml")
"""What libvirtd says of the server: its capabilities, devices and interfaces, each after a comment."""

CPU_FLAGS = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush dts acpi mmx fxsr sse "
    "sse2 ss ht tm pbe syscall nx rdtscp lm constant_tsc nonstop_tsc pni pclmulqdq monitor vmx est tm2 "
    "ssse3 cx16 pcid sse4_1 sse4_2 x2apic popcnt tsc_deadline_timer aes xsave avx f16c rdrand lahf_lm ibrs "
    "ibpb stibp fsgsbase smep erms xsaveopt arat md_clear ssbd"
)


class Tree:
    """Writes files below a root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, folder: str, **values: str | int | bytes) -> None:
        """Write attributes into a folder; in their names, two underscores stand for a slash."""
        for name, value in values.items():
            path = self.root / folder.lstrip("/") / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value if isinstance(value, bytes) else f"{value}\n".encode())

    def link(self, name: str, target: str) -> None:
        """Link to another place of the tree."""
        path = self.root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        place = self.root / target.lstrip("/")
        path.symlink_to(os.path.relpath(place, path.parent))

    def device(
        self, path: str, subsystem: str, place: str, uevent: str = "", **values: str | int | bytes
    ) -> None:
        """Write a device, which others find in ``place``."""
        self.put(path, uevent=uevent.replace(" ", "\n") if uevent else b"", **values)
        kind = place.rpartition("/")[0] if place.endswith("/devices") else place
        for word in uevent.split():
            if word.startswith("DRIVER="):
                self.put(f"{kind}/drivers/{word[7:]}", bind="")
                self.link(f"{path}/driver", f"{kind}/drivers/{word[7:]}")
        (self.root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self.link(f"{path}/subsystem", kind)
        self.link(f"{place}/{path.rpartition('/')[2]}", path)


def _write_cpus(tree: Tree) -> None:
    """Two NUMA cells with a socket each, of two cores with two threads."""
    cpus = "/sys/devices/system/cpu"
    tree.put(cpus, present="0-7", possible="0-7", online="0-7", kernel_max=8191)
    for cpu in range(8):
        socket, core, first = cpu // 4, cpu % 2, cpu // 4 * 4 + cpu % 2
        siblings, package = f"{first},{first + 2}", f"{socket * 4}-{socket * 4 + 3}"
        tree.put(
            f"{cpus}/cpu{cpu}/topology",
            physical_package_id=socket,
            die_id=0,
            core_id=core,
            thread_siblings_list=siblings,
            thread_siblings=f"{1 << first | 1 << first + 2:x}",
            core_siblings_list=package,
        )
        for index, (level, kind, size, number, shared) in enumerate(
            (
                (1, "Data", "32K", socket * 2 + core, siblings),
                (2, "Unified", "256K", socket * 2 + core, siblings),
                (3, "Unified", "15360K", socket, package),
            )
        ):
            where = f"{cpus}/cpu{cpu}/cache/index{index}"
            tree.put(where, level=level, type=kind, size=size, id=number, shared_cpu_list=shared)
    record = (
        "processor\t: {cpu}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 62\n"
        "model name\t: Intel(R) Xeon(R) CPU E5-2620 v2 @ 2.10GHz\nstepping\t: 4\nmicrocode\t: 0x42e\n"
        "cpu MHz\t\t: 2099.998\nflags\t\t: {flags}\naddress sizes\t: 46 bits physical, 48 bits virtual\n\n"
    )
    text = "".join(record.format(cpu=cpu, flags=CPU_FLAGS) for cpu in range(8))
    tree.put("/proc", cpuinfo=text)


def _write_memory(tree: Tree) -> None:
    nodes = "/sys/devices/system/node"
    tree.put(nodes, online="0-1", possible="0-1", has_cpu="0-1", has_memory="0-1", has_normal_memory="0-1")
    for node, (total, free) in enumerate(((65799052, 51200000), (66056328, 60000000))):
        lines = (("MemTotal", total), ("MemFree", free), ("Dirty", 12))
        tree.put(
            f"{nodes}/node{node}",
            meminfo="\n".join(f"Node {node} {name}:{size:>16} kB" for name, size in lines),
            cpulist=f"{node * 4}-{node * 4 + 3}",
            cpumap=f"{0xF << node * 4:08x}",
            distance="10 21" if node == 0 else "21 10",
        )
        for cpu in range(node * 4, node * 4 + 4):
            tree.link(f"{nodes}/node{node}/cpu{cpu}", f"/sys/devices/system/cpu/cpu{cpu}")
        for size, count in ((2048, 512 * node), (1048576, 2 - node)):
            pool = f"{nodes}/node{node}/hugepages/hugepages-{size}kB"
            tree.put(pool, nr_hugepages=count, free_hugepages=count // 2, surplus_hugepages=0)
    for size, count in ((2048, 512), (1048576, 3)):
        pool = f"/sys/kernel/mm/hugepages/hugepages-{size}kB"
        tree.put(pool, nr_hugepages=count, free_hugepages=count // 2)
    tree.put("/sys/kernel/mm/ksm", pages_to_scan=100, sleep_millisecs=20, pages_shared=7, pages_sharing=21)
    tree.put(
        "/proc",
        meminfo="MemTotal: 131855380 kB\nMemFree: 111200000 kB\nBuffers: 1000 kB\nCached: 2000 kB",
        stat="cpu  80 8 16 800 24 4 2 0 0 0\n"
        + "".join(f"cpu{cpu} 10 1 2 100 3 0 0 0 0 0\n" for cpu in range(8))
        + "intr 5 1 2",
    )


def _config(*, header: int = 0, express: bytes = b"", size: int = 256) -> bytes:
    """Return a configuration space, with a PCI Express capability at 0x40 if there is one."""
    data = bytearray(size)
    data[0x0E] = header
    if express:
        data[0x06], data[0x34] = 0x10, 0x40
        data[0x40 : 0x40 + len(express)] = express
    return bytes(data)


def _express(kind: int) -> bytes:
    """Return a PCI Express capability of a kind: its link could do 8 GT/s times 16, and does 5 times 8."""
    able, state = (2 << 24 | 16 << 4 | 3).to_bytes(4, "little"), (8 << 4 | 2).to_bytes(2, "little")
    return bytes([0x10, 0, kind << 4 | 2, 0]) + bytes(8) + able + bytes(2) + state


PCI = "/sys/devices/pci0000:00"


def _write_pci(tree: Tree) -> None:
    place = "/sys/bus/pci/devices"
    devices = (
        ("0000:00:00.0", 0x060000, 0x8086, 0x0E00, _config(), ""),
        ("0000:00:01.0", 0x060400, 0x8086, 0x0E02, _config(header=1, express=_express(4)), "pcieport"),
        ("0000:00:01.0/0000:01:00.0", 0x020000, 0x8086, 0x1521, _config(express=_express(0)), "igb"),
        ("0000:00:01.0/0000:01:10.0", 0x020000, 0x8086, 0x1520, _config(express=_express(0)), "igbvf"),
        ("0000:00:1d.0", 0x0C0320, 0x8086, 0x1D26, _config(), "ehci-pci"),
        ("0000:00:1f.2", 0x010601, 0x8086, 0x1D02, _config(), "ahci"),
        ("0000:00:02.0", 0x030000, 0x1234, 0x1111, _config(express=_express(9)), "bochs-drm"),
    )
    for name, kind, vendor, product, config, driver in devices:
        own = name.rpartition("/")[2]
        notes = f"PCI_CLASS={kind:X} PCI_ID={vendor:04X}:{product:04X} PCI_SLOT_NAME={own}"
        notes = f"DRIVER={driver} {notes}" if driver else notes
        ids = {"vendor": f"0x{vendor:04x}", "device": f"0x{product:04x}", "class": f"0x{kind:06x}"}
        tree.device(f"{PCI}/{name}", "pci", place, notes, config=config, numa_node=0, **ids)
    card, function = f"{PCI}/0000:00:01.0/0000:01:00.0", f"{PCI}/0000:00:01.0/0000:01:10.0"
    tree.put(card, sriov_totalvfs=7, sriov_numvfs=1)
    tree.link(f"{card}/virtfn0", function)
    tree.link(f"{function}/physfn", card)
    for group, path in ((12, card), (13, function)):
        tree.link(f"{path}/iommu_group", f"/sys/kernel/iommu_groups/{group}")
        tree.link(f"/sys/kernel/iommu_groups/{group}/devices/{path.rpartition('/')[2]}", path)
    tree.put(
        "/usr/share/misc",
        **{
            "pci.ids": "# list\n1234  Technical Corp.\n8086  Intel Corporation\n"
            "\t1520  I350 Virtual Function\n\t1521  I350 Gigabit Network Connection\n"
            "\t\t8086 0001  Ethernet Server Adapter\n"
            "\t1d02  C600/X79 SATA AHCI\nC 00  Unclassified device\n\t00  VGA"
        },
    )


def _write_usb(tree: Tree) -> None:
    place, root = "/sys/bus/usb/devices", f"{PCI}/0000:00:1d.0/usb1"
    tree.device(
        root,
        "usb",
        place,
        "MAJOR=189 MINOR=0 DEVNAME=bus/usb/001/001 DEVTYPE=usb_device DRIVER=usb BUSNUM=001 DEVNUM=001",
        idVendor="1d6b",
        idProduct="0002",
        busnum=1,
        devnum=1,
        manufacturer="Linux 6.1 ehci_hcd",
        product="EHCI Host Controller",
    )
    tree.put("/run/udev/data", **{"c189:0": "I:1\nE:ID_VENDOR_ID=1d6b\nE:ID_MODEL_ID=0002\nG:seat"})
    tree.device(
        f"{root}/1-0:1.0",
        "usb",
        place,
        "DEVTYPE=usb_interface DRIVER=hub INTERFACE=9/0/0",
        bInterfaceNumber="00",
        bInterfaceClass="09",
        bInterfaceSubClass="00",
        bInterfaceProtocol="00",
    )
    tree.device(
        f"{root}/1-1",
        "usb",
        place,
        "MAJOR=189 MINOR=1 DEVNAME=bus/usb/001/002 DEVTYPE=usb_device DRIVER=usb BUSNUM=001 DEVNUM=002",
        idVendor="0781",
        idProduct="5581",
        busnum=1,
        devnum=2,
        product="Ultra",
    )
    notes = (
        "S:stick\nE:ID_VENDOR_ID=0781\nE:ID_MODEL_ID=5581\n"
        "E:ID_VENDOR_FROM_DATABASE=SanDisk <Corp>\nE:ID_MODEL_FROM_DATABASE=Ultra"
    )
    tree.put("/run/udev/data", **{"c189:1": notes})


def _write_scsi(tree: Tree) -> None:
    place, host = "/sys/bus/scsi/devices", f"{PCI}/0000:00:1f.2/host2"
    tree.device(host, "scsi", place, "DEVTYPE=scsi_host", scsi_host__host2__unique_id=3)
    target = f"{host}/target2:0:0"
    tree.device(target, "scsi", place, "DEVTYPE=scsi_target")
    for lun, kind in ((0, 0), (1, 5)):
        unit = f"{target}/2:0:0:{lun}"
        node = "sda" if lun == 0 else "sr0"
        vendor, model = ("ATA", "WDC WD10") if lun == 0 else ("HL-DT-ST", "DVDRAM")
        tree.device(
            unit,
            "scsi",
            place,
            "DEVTYPE=scsi_device DRIVER=sd",
            type=kind,
            vendor=f"{vendor:8}",
            model=f"{model:16}",
        )
        disk = f"{unit}/block/{node}"
        numbers = "MAJOR=8 MINOR=0" if lun == 0 else "MAJOR=11 MINOR=0"
        tree.device(
            disk,
            "block",
            "/sys/class/block",
            f"{numbers} DEVNAME={node} DEVTYPE=disk",
            size=1953525168 if lun == 0 else 8000,
            removable=lun,
            queue__logical_block_size=512 if lun == 0 else 2048,
            dev="8:0" if lun == 0 else "11:0",
        )
        tree.link(f"{disk}/device", unit)
        tree.device(
            f"{unit}/scsi_generic/sg{lun}",
            "scsi_generic",
            "/sys/class/scsi_generic",
            f"MAJOR=21 MINOR={lun} DEVNAME=sg{lun}",
        )
    tree.device(
        f"{target}/2:0:0:0/block/sda/sda1",
        "block",
        "/sys/class/block",
        "MAJOR=8 MINOR=1 DEVNAME=sda1 DEVTYPE=partition PARTN=1",
        size=1000,
    )
    tree.put(
        "/run/udev/data",
        **{
            "b8:0": "S:disk/by-id/ata-WDC_WD10\nS:disk/by-path/pci-0\nE:ID_TYPE=disk\nE:ID_BUS=ata\n"
            "E:ID_SERIAL=WDC_WD10-WCC123\nE:DEVLINKS=/dev/disk/by-id/ata-WDC_WD10 /dev/disk/by-path/pci-0",
            "b11:0": "S:cdrom\nE:ID_TYPE=cd\nE:ID_CDROM=1\nE:ID_CDROM_MEDIA=1\nE:ID_FS_LABEL=Debian 12\n"
            "E:ID_BUS=ata\nE:DEVLINKS=/dev/cdrom",
        },
    )
    fibre = f"{PCI}/0000:00:1f.2/host5"
    tree.device(
        fibre,
        "scsi",
        place,
        "DEVTYPE=scsi_host",
        scsi_host__host5__unique_id=0,
        fc_host__host5__node_name="0x2001001b32a9da4e",
        fc_host__host5__port_name="0x2101001b32a9da4e",
        fc_host__host5__fabric_name="0x2000000deca8c340",
        fc_host__host5__port_state="Online",
        fc_host__host5__max_npiv_vports=127,
        fc_host__host5__npiv_vports_inuse=1,
        fc_host__host5__vport_create="",
    )
    tree.link("/sys/class/fc_host/host5", f"{fibre}/fc_host/host5")
    for number in (2, 5):
        tree.link(
            f"/sys/class/scsi_host/host{number}", f"{PCI}/0000:00:1f.2/host{number}/scsi_host/host{number}"
        )


def _write_graphics(tree: Tree) -> None:
    for name, minor in (("card0", 0), ("renderD128", 128)):
        tree.device(
            f"{PCI}/0000:00:02.0/drm/{name}",
            "drm",
            "/sys/class/drm",
            f"MAJOR=226 MINOR={minor} DEVNAME=dri/{name} DEVTYPE=drm_minor",
            dev=f"226:{minor}",
        )
        tree.put(
            "/run/udev/data", **{f"c226:{minor}": "S:dri/by-path/pci-0000:00:02.0-card\nG:master-of-seat"}
        )


def _write_net(tree: Tree) -> None:
    place = "/sys/class/net"
    card, virtual = f"{PCI}/0000:00:01.0/0000:01:00.0/net", "/sys/devices/virtual/net"
    interfaces = (
        (f"{card}/nic0", "", "52:54:00:00:00:01", "up", 1500, 1000),
        (f"{virtual}/loop7", "", "00:00:00:00:00:00", "unknown", 65536, None),
        (f"{virtual}/bond7", "DEVTYPE=bond ", "52:54:00:00:00:02", "up", 9000, 10000),
        (f"{virtual}/bond8", "DEVTYPE=bond ", "52:54:00:00:00:08", "down", 1500, None),
        (f"{virtual}/port1", "", "52:54:00:00:00:02", "up", 9000, 10000),
        (f"{virtual}/port2", "", "52:54:00:00:00:03", "down", 9000, None),
        (f"{virtual}/nic0.42", "DEVTYPE=vlan ", "52:54:00:00:00:01", "up", 1496, 1000),
        (f"{virtual}/guests", "DEVTYPE=bridge ", "52:54:00:00:00:05", "up", 1500, 10000),
        (f"{virtual}/tap7", "", "fe:54:00:00:00:06", "unknown", 1500, None),
    )
    for index, (path, kind, address, state, mtu, speed) in enumerate(interfaces, 1):
        name = path.rpartition("/")[2]
        values: dict[str, str | int | bytes] = {} if speed is None else {"speed": speed}
        tree.device(
            path,
            "net",
            place,
            f"{kind}INTERFACE={name} IFINDEX={index}",
            address=address,
            addr_len=6,
            operstate=state,
            mtu=mtu,
            ifindex=index,
            type=1,
            **values,
        )
    tree.put(f"{virtual}/tap7", tun_flags="0x1002", brport__state=3)
    tree.put(f"{virtual}/guests", bridge__stp_state=0, bridge__forward_delay=200)
    tree.link(f"{virtual}/guests/brif/tap7", f"{virtual}/tap7/brport")
    common: dict[str, str | int | bytes] = {
        "bonding__mode": "active-backup 1",
        "bonding__downdelay": 0,
        "bonding__updelay": 200,
        "bonding__arp_validate": "none 0",
        "bonding__use_carrier": 1,
    }
    first, second = dict(common), dict(common)
    first.update(bonding__miimon=100, bonding__arp_interval=0, bonding__arp_ip_target="")
    second.update(bonding__miimon=0, bonding__arp_interval=250, bonding__arp_ip_target="192.0.2.1")
    second["bonding__arp_validate"] = "backup 2"
    second["bonding__mode"] = "802.3ad 4"
    tree.put(f"{virtual}/bond7", **first)
    tree.put(f"{virtual}/bond8", **second)
    for port in ("port1", "port2"):
        tree.link(f"{virtual}/bond7/slave_{port}", f"{virtual}/{port}")
        tree.link(f"{virtual}/bond7/lower_{port}", f"{virtual}/{port}")
    tree.put("/sys/class/net", bonding_masters="bond7 bond8")
    vlan = (
        "nic0.42  VID: 42\t REORDER_HDR: 1  dev->priv_flags: 1021\n"
        "         total frames received  0\n\nDevice: nic0"
    )
    tree.put("/proc/net/vlan", **{"nic0.42": vlan})


def _write_firmware(tree: Tree) -> None:
    folder = "/sys/devices/virtual/dmi/id"
    tree.device(
        folder,
        "dmi",
        "/sys/class/dmi",
        "",
        sys_vendor="LENOVO",
        product_name="2356GCG",
        product_version="ThinkPad T430s",
        product_serial="PB0A<&>12",
        product_uuid="3c6fb7d4-1f2a-4cc7-9d5e-6e1f2a3b4c5d",
        bios_vendor="LENOVO",
        bios_version="G4ETA1WW (2.61 )",
        bios_date="05/07/2014",
    )


def write_server(root: Path) -> None:
    """Write the server."""
    tree = Tree(root)
    for write in (
        _write_cpus,
        _write_memory,
        _write_pci,
        _write_usb,
        _write_scsi,
        _write_graphics,
        _write_net,
        _write_firmware,
    ):
        write(tree)


def write_bare(root: Path) -> None:
    """Write a host of which the kernel says next to nothing: no NUMA, no firmware, no buses."""
    tree = Tree(root)
    tree.put("/sys/devices/system/cpu", present="0-1", online="0-1")
    tree.put("/proc", meminfo="MemTotal: 2000000 kB\nMemFree: 1500000 kB", cpuinfo="processor : 0\n")
