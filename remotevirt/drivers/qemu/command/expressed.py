"""What of a configuration the builders of this package express; all the rest is refused, never dropped.

:func:`check_expressed` walks a whole configuration. A field may differ from its empty value only if it stands
in ``EXPRESSED`` (a builder looks at it, or refuses the values that it cannot do), or in ``HOST`` (there is
nothing to tell QEMU). Whoever adds a field to a model that the builders look at says here what becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from remotevirt.drivers.qemu.command.setting import unsupported
from remotevirt.stubs.errors import ConfigUnsupported
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.model import Model

__all__ = [
    "DEFAULTS",
    "EXPRESSED",
    "HOST",
    "REFUSALS",
    "WHOLE",
    "check_device",
    "check_expressed",
    "model_name",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_INFO = _words("alias address")

EXPRESSED: Final[Mapping[str, frozenset[str]]] = {
    # the domain
    "document.DomainModel": _words(
        "type name uuid genid memory_slots max_memory dump_core memory memory_backing maxvcpus vcpus vcpu"
        " vcpu_list iothreads iothread_ids default_iothread numatune sysinfo os features cpu clock"
        " on_poweroff on_reboot on_crash pm devices seclabels commandline"
    ),
    "security.SecLabel": _words("type model relabel"),
    "cpu_tuning.VcpuList": _words("vcpus"),
    "cpu_tuning.SingleVcpu": _words("id enabled hotpluggable order"),
    "cpu_tuning.IoThreadIds": _words("threads"),
    "cpu_tuning.IoThread": _words("id counted pool_min pool_max"),
    "cpu_tuning.DefaultIoThread": _words("pool_min pool_max"),
    "tuning.MemoryBacking": _words("hugepages nosharepages locked source access allocation discard"),
    "tuning.HugePages": _words("pages"),
    "tuning.HugePage": _words("size unit nodeset"),
    "tuning.Allocation": _words("mode threads"),
    "tuning.NumaTune": _words("memory memnodes"),
    "tuning.NumaMemory": _words("mode placement nodeset"),
    "tuning.MemoryNode": _words("cellid mode nodeset"),
    "general.PowerManagement": _words("mem disk"),
    "os.Os": _words(
        "firmware kind firmware_features loader nvram kernel initrd cmdline dtb boot bootmenu bios smbios"
    ),
    "os.OsType": _words("arch machine name"),
    "os.Firmware": _words("features"),
    "os.FirmwareFeature": _words("enabled name"),
    "os.Loader": _words("readonly secure type stateless path"),
    "os.Nvram": _words("template path"),
    "os.BootDevice": _words("dev"),
    "os.BootMenu": _words("enable timeout"),
    "os.Bios": _words("useserial reboot_timeout"),
    "sysinfo.Entry": _words("name value"),
    "sysinfo.Block": _words("entries"),
    "sysinfo.SmBios": _words("type bios system baseboards chassis oem"),
    "sysinfo.Bios": _words("entries"),
    "sysinfo.System": _words("entries"),
    "sysinfo.BaseBoard": _words("entries"),
    "sysinfo.Chassis": _words("entries"),
    "sysinfo.OemStrings": _words("entries"),
    "sysinfo.FwCfg": _words("type entries"),
    "sysinfo.FwCfgEntry": _words("name file value"),
    "clock.Clock": _words("offset adjustment basis timezone start timers"),
    "clock.Timer": _words("name present tickpolicy track frequency mode catchup"),
    "clock.Catchup": _words("threshold slew limit"),
    # features and CPUs
    "features.Features": _words(
        "acpi apic pae hyperv kvm pvspinlock pmu vmport gic smm ioapic vmcoreinfo tcg"
    ),
    "features.Apic": _words("eoi"),
    "features.HyperV": _words(
        "mode relaxed vapic spinlocks vpindex runtime synic stimer reset vendor_id frequencies"
        " reenlightenment tlbflush ipi evmcs avic"
    ),
    "features.Spinlocks": _words("state retries"),
    "features.SyntheticTimer": _words("state direct"),
    "features.VendorId": _words("state value"),
    "features.Kvm": _words("hidden hint_dedicated poll_control pv_ipi dirty_ring"),
    "features.DirtyRing": _words("state size"),
    "features.Gic": _words("version"),
    "features.Smm": _words("state tseg"),
    "features.Tcg": _words("tb_cache"),
    "cpu.Cpu": _words("mode match check migratable model vendor topology cache maxphysaddr features numa"),
    "cpu.CpuModel": _words("fallback name"),
    "cpu.Topology": _words("sockets dies cores threads"),
    "cpu.Cache": _words("level mode"),
    "cpu.MaxPhysAddr": _words("mode bits"),
    "cpu.Feature": _words("policy name"),
    "cpu.Numa": _words("cells"),
    "cpu.Cell": _words("id cpus memory unit access discard distances"),
    "cpu.Distances": _words("siblings"),
    "cpu.Sibling": _words("id value"),
    # devices
    "devices.Devices": _words(
        "emulator disks controllers interfaces serials parallels consoles channels inputs graphics sounds"
        " audios videos hubs watchdogs memballoon rngs panics memories"
    ),
    "address.DeviceInfo": _INFO | {"master"},
    "address.BootableInfo": _INFO | {"boot"},
    "address.RomInfo": _INFO | {"boot", "rom"},
    "address.Boot": _words("order"),
    "address.Rom": _words("enabled bar file"),
    "address.Master": _words("startport"),
    "address.PciPlace": _words("domain bus slot function"),
    "address.PciAddress": _words("type place multifunction zpci"),
    "address.DriveAddress": _words("type controller bus target unit"),
    "address.VirtioSerialAddress": _words("type controller bus port"),
    "address.UsbAddress": _words("type bus port"),
    "address.IsaAddress": _words("type iobase irq"),
    "address.DimmAddress": _words("type slot base"),
    "address.PlainAddress": _words("type"),
    "disk.Disk": _words(
        "type device model driver source backing blockio target iotune readonly shareable serial wwn vendor"
        " product encryption info"
    ),
    "disk.VirtioOptions": _words("iommu ats packed page_per_vq"),
    "disk.VirtioDriver": _words("options"),
    "disk.DiskDriver": _words(
        "name type cache error_policy rerror_policy io ioeventfd event_idx copy_on_read discard iothread"
        " detect_zeroes queues queue_size virtio metadata_cache"
    ),
    "disk.MetadataCache": _words("max_size"),
    "disk.BlockIo": _words("logical physical"),
    "disk.DiskTarget": _words("dev bus tray removable rotation_rate"),
    "disk.IoTune": _words(
        "total_bytes_sec read_bytes_sec write_bytes_sec total_iops_sec read_iops_sec write_iops_sec"
        " total_bytes_sec_max read_bytes_sec_max write_bytes_sec_max total_iops_sec_max read_iops_sec_max"
        " write_iops_sec_max size_iops_sec group_name total_bytes_sec_max_length read_bytes_sec_max_length"
        " write_bytes_sec_max_length total_iops_sec_max_length read_iops_sec_max_length"
        " write_iops_sec_max_length"
    ),
    "backing.BackingStore": _words("type index format source backing"),
    "backing.Format": _words("type"),
    "storage.FileSource": _words("file fdgroup extra"),
    "storage.BlockSource": _words("dev extra"),
    "storage.VolumeSource": _words("pool volume mode extra found"),
    "storage.SourceExtra": _words("index slices auth reservations encryption"),
    "storage.Slices": _words("slices"),
    "secret.Encryption": _words("format engine secrets"),
    "secret.VolumeSecret": _words("type uuid usage"),
    "controller.Controller": _words("type index model ports vectors pci_model target driver info pcihole64"),
    "controller.ControllerDriver": _words("queues cmd_per_lun max_sectors ioeventfd iothread virtio"),
    "controller.PciModel": _words("name"),
    "controller.PciTarget": _words("chassis_nr chassis port bus_nr hotplug node"),
    "interface.Interface": _words(
        "type mac place ips routes port_forwards script downscript target model driver backend tune link mtu"
        " info"
    ),
    "interface.MacAddress": _words("address type"),
    "interface.PortForward": _words("proto address dev ranges"),
    "interface.InterfaceTarget": _words("dev managed"),
    "interface.InterfaceDriver": _words(
        "name txmode ioeventfd event_idx queues rx_queue_size tx_queue_size rss rss_hash_report virtio host"
        " guest"
    ),
    "interface.HostOffloads": _words("csum gso tso4 tso6 ecn ufo mrg_rxbuf"),
    "interface.GuestOffloads": _words("csum tso4 tso6 ecn ufo"),
    "interface.InterfaceBackend": _words("vhost"),
    "interface.Tune": _words("sndbuf"),
    "interface_source.BridgePlace": _words("bridge"),
    "ip.IpAddress": _words("address family prefix peer"),
    "chardev.Backend": _words("type sources protocol log"),
    "chardev.CharSource": _words("mode host service path append tls reconnect"),
    "storage.Reconnect": _words("enabled timeout"),
    "chardev.Log": _words("file append"),
    "chardev.Serial": _words("backend target info"),
    "chardev.SerialTarget": _words("type port model"),
    "chardev.TargetModel": _words("name"),
    "chardev.Parallel": _words("backend target info"),
    "chardev.ParallelTarget": _words("port"),
    "chardev.Console": _words("backend target info"),
    "chardev.ConsoleTarget": _words("type port"),
    "chardev.Channel": _words("backend target info"),
    "chardev.ChannelTarget": _words("type address port name"),
    "graphics.Graphics": _words("type"),
    "graphics.Vnc": _words(
        "type listens port autoport websocket keymap share_policy power_control passwd audio"
    ),
    "graphics.Listen": _words("type address network socket"),
    "graphics.AudioRef": _words("id"),
    "media.Video": _words("driver model info"),
    "media.VideoDriver": _words("name virtio"),
    "media.VideoModel": _words("type ram vram vram64 vgamem heads primary acceleration resolution"),
    "media.Acceleration": _words("accel3d rendernode"),
    "media.Resolution": _words("x y"),
    "media.Sound": _words("model codecs audio info"),
    "media.Codec": _words("type"),
    "media.Audio": _words("id type timer_period input output"),
    "media.Input": _words("type bus model driver info"),
    "media.Hub": _words("type info"),
    "small.Watchdog": _words("model action info"),
    "small.MemoryBalloon": _words("model autodeflate free_page_reporting period info driver"),
    "small.Rate": _words("bytes period"),
    "small.RandomDevice": _words("model path"),
    "small.RandomBuiltin": _words("model"),
    "small.RandomDaemon": _words("model backend"),
    "small.RandomSource": _words("model rate backend driver info"),
    "small.Panic": _words("model info"),
    "memory_device.MemoryDevice": _words("model access discard source target info"),
    "memory_device.MemorySource": _words("nodemask pagesize path alignsize"),
    "memory_device.MemoryTarget": _words("size node"),
}
"""Fields that a builder looks at, by model."""

HOST: Final[Mapping[str, frozenset[str]]] = {
    "document.DomainModel": _words("title description metadata current_memory"),
    "cpu_tuning.Vcpu": _words("placement current"),
    "disk.Disk": _words("snapshot"),
    "storage.SourceExtra": _words("startup_policy"),
    "chardev.Backend": _words("tty"),
    "chardev.ChannelTarget": _words("state"),
    "interface.MacAddress": _words("check"),
    "interface.GuestSide": _words("dev actual"),
    "graphics.Vnc": _words("connected passwd_valid_to"),
    "secret.Encryption": _words("cipher ivgen"),
    "secret.Cipher": _words("name size mode hash"),
    "secret.IvGen": _words("name hash"),
}
"""Fields that say nothing to QEMU: what describes, what the daemon tracks, what an image tells itself."""

DEFAULTS: Final[Mapping[tuple[str, str], frozenset[Any]]] = {
    ("media.Acceleration", "accel2d"): frozenset([False]),
    ("disk.Disk", "rawio"): frozenset([False]),
    ("features.Features", "hap"): frozenset([True]),
}
"""Values besides the empty one that ask for nothing."""

REFUSALS: Final[Mapping[tuple[str, str], str]] = {
    ("document.DomainModel", "cputune"): "CPU tuning is not available on this host",
    ("document.DomainModel", "blkiotune"): "Block I/O tuning is not available on this host",
    ("document.DomainModel", "memtune"): "Memory cgroup is not available on this host",
    ("document.DomainModel", "resource"): "Resource partition is not available on this host",
    ("document.DomainModel", "launch_security"): "SEV launch security is not supported with this QEMU binary",
    ("document.DomainModel", "bootloader"): "bootloader is not supported by QEMU",
    ("document.DomainModel", "perf"): "perf events are not available on this host",
    ("document.DomainModel", "idmap"): "idmap is not supported by QEMU",
    ("security.SecLabel", "label"): "security labels are not supported by this driver",
    ("security.SecLabel", "imagelabel"): "security labels are not supported by this driver",
    ("security.SecLabel", "baselabel"): "security labels are not supported by this driver",
    ("cpu_tuning.Vcpu", "cpuset"): "CPU tuning is not available on this host",
    ("devices.Devices", "hostdevs"): "host device passthrough is not supported by this driver",
    ("devices.Devices", "filesystems"): "filesystem passthrough is not supported by this driver",
    ("devices.Devices", "redirdevs"): "USB redirection is not supported by this version of QEMU",
    ("devices.Devices", "redirfilter"): "USB redirection filter is not supported by this version of QEMU",
    ("devices.Devices", "smartcards"): "this QEMU binary lacks smartcard support",
    ("devices.Devices", "tpms"): "The QEMU executable does not support TPM backend type",
    ("devices.Devices", "leases"): "leases are not supported by this driver",
    ("devices.Devices", "shmems"): "shared memory devices are not supported by this driver",
    ("devices.Devices", "iommu"): "IOMMU device is not supported with this QEMU binary",
    ("devices.Devices", "vsock"): "vhost-vsock device is not supported with this QEMU",
    ("devices.Devices", "nvram"): "nvram device is only supported for PPC64",
    (
        "interface.Interface",
        "bandwidth",
    ): "setting bandwidth on network interfaces is not supported by this driver",
    ("interface.Interface", "filterref"): "filterref is not supported by this driver",
    ("disk.Disk", "transient"): "transient disks are not supported by this driver",
}
"""What is said of a field that is refused, where it is worth words of its own."""

WHOLE: Final[Mapping[str, str]] = {
    "graphics.Spice": "spice graphics are not supported with this QEMU",
    "graphics.Sdl": "sdl graphics are not supported by this driver",
    "graphics.EglHeadless": "egl-headless display is not supported with this QEMU",
    "graphics.Dbus": "dbus display is not supported with this QEMU",
    "graphics.Rdp": "unsupported graphics type 'rdp'",
    "graphics.Desktop": "unsupported graphics type 'desktop'",
    "interface_source.NetworkPlace": (
        "network interfaces of type 'network' are not supported by this driver: there are no virtual"
        " networks; use type 'user', or 'bridge' with a bridge of the host"
    ),
    "interface_source.DirectPlace": "network interfaces of type 'direct' are not supported by this driver",
    "interface_source.DevicePlace": "network interfaces of type 'vdpa' are not supported by this driver",
    "interface_source.InternalPlace": "internal network interfaces are not supported by this driver",
    "interface_source.SocketPlace": "network interfaces over sockets are not supported by this driver",
    "interface_source.VhostUserPlace": "vhostuser network interfaces are not supported by this driver",
    "interface_source.SwitchPlace": "network interfaces of type 'vds' are not supported by this driver",
    "hostdev.InterfaceHostSource": "host device passthrough is not supported by this driver",
    "storage.NetworkSource": "network storage is not supported by this driver",
    "storage.NvmeSource": "NVMe storage is not supported by this driver",
    "storage.DirSource": "directories as disks are not supported by this driver",
    "storage.VhostUserSource": "vhost-user disks are not supported by this driver",
    "storage.ReservationSource": "reservations not supported with this QEMU binary",
    "storage.Slice": "slices of images are not supported by this driver",
}
"""Models that are refused whatever is in them, and what is said of them."""

_MAX_DEPTH: Final = 400
"""Models in models: a document's depth (256) bounds it, with those that have no element of their own."""


def model_name(cls: type[Model]) -> str:
    """Return what a model is called in the tables: its module's name and its own."""
    return f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"


def check_expressed(model: DomainModel, elsewhere: frozenset[str] = frozenset()) -> None:
    """Refuse a configuration that holds anything that the command line does not express.

    Args:
        model: the whole configuration.
        elsewhere: fields of the domain that somebody else carries out; what is in them is not looked at.

    Raises:
        VirError: the first such thing.
    """
    _check(model, elsewhere, 0)


def check_device(device: Model) -> None:
    """Refuse a device that holds anything that its parts do not express. Raises VirError."""
    _check(device, _NOWHERE, 0)


@attrs.frozen
class _Plan:
    """What is to be looked at in models of a kind.

    Attributes:
        refused: what is said of it whatever is in it, None if nothing.
        closed: fields that must be as in an empty model, with what they are there.
        open: fields that builders look at.
    """

    refused: str | None
    closed: tuple[tuple[str, Any], ...]
    open: tuple[str, ...]


_PLANS: Final[dict[type[Model], _Plan]] = {}


def _plan(cls: type[Model]) -> _Plan:
    known = _PLANS.get(cls)
    if known is None:
        known = _PLANS[cls] = _make_plan(cls)
    return known


def _make_plan(cls: type[Model]) -> _Plan:
    name = model_name(cls)
    expressed, host = EXPRESSED.get(name, frozenset()), HOST.get(name, frozenset())
    empty = cls()
    fields = [field.name for field in attrs.fields(cls)]
    return _Plan(
        WHOLE.get(name),
        tuple((one, getattr(empty, one)) for one in fields if one not in expressed | host),
        tuple(one for one in fields if one in expressed),
    )


_SCALARS: Final = frozenset((type(None), str, int, bool, bytes))
"""What most fields hold, in which there is nothing more to look at."""


def _check(model: Model, elsewhere: frozenset[str], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise unsupported("the configuration is nested too deeply")
    cls = type(model)
    plan = _plan(cls)
    if plan.refused is not None:
        raise unsupported(plan.refused)
    for name, empty in plan.closed:
        value = getattr(model, name)
        if value is empty or (elsewhere and name in elsewhere):
            continue
        if not _says_nothing(value, empty, (model_name(cls), name)):
            raise _no_such_field(cls, model_name(cls), name)
    for name in plan.open:
        value = getattr(model, name)
        if type(value) in _SCALARS or (elsewhere and name in elsewhere):
            continue
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, Model):
                _check(part, _NOWHERE, depth + 1)


_NOWHERE: Final[frozenset[str]] = frozenset()


def _says_nothing(value: Any, empty: Any, place: tuple[str, str]) -> bool:
    if value is None or value == empty or any(value is one for one in DEFAULTS.get(place, ())):
        return True
    return isinstance(value, Model) and _is_bare(value)


def _is_bare(model: Model) -> bool:
    """Whether an element with nothing in it says nothing either: some say something by being there."""
    return not model.KEEP and not model.HOLD and model == type(model)()


def _no_such_field(cls: type[Model], name: str, field: str) -> ConfigUnsupported:
    words = REFUSALS.get((name, field))
    tag = cls.TAG or name.partition(".")[2].lower()
    return unsupported(words or f"'{field}' of <{tag}> is not supported by this driver")
