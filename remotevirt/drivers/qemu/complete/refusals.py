"""What this driver cannot run, in libvirt's words: nothing that a document asks for is silently left out.

Here is what concerns the guest as a whole, in :mod:`.device_refusals` what concerns its devices.
"""

from __future__ import annotations

from remotevirt.drivers.qemu.complete.board import Board, find_board, unsupported
from remotevirt.drivers.qemu.complete.device_refusals import check_devices, check_early_devices
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlDetail, XmlError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.clock import Timer

__all__ = ["check_actions", "check_early", "check_guest"]

GUESTS_OF = {"x86_64": frozenset(["x86_64", "i686"]), "aarch64": frozenset(["aarch64", "armv7l", "armv6l"])}
"""The architectures whose guests an emulator runs, where it is more than its own."""

MAX_APIC_CPUS = 255
"""CPUs that a PC's old interrupt controllers can tell apart."""


def check_early(model: DomainModel) -> None:
    """Refuse what libvirt refuses before it gives addresses. Raises VirError."""
    check_early_devices(model, find_board(model))


def check_guest(model: DomainModel, emulator: Emulator) -> None:
    """Refuse what the emulator cannot do, or the driver cannot ask it for. Raises VirError."""
    board = find_board(model)
    _check_emulator(model, emulator, board)
    _check_firmware(model, board)
    _check_features(model, board)
    _check_sleep(model, board)
    check_actions(model)
    _check_cpus(model, emulator, board)
    _check_memory(model)
    for timer in model.clock.timers:
        _check_timer(timer, model, board)
    _check_launch_security(model)
    check_devices(model, emulator, board)
    _check_chosen_firmware(model)


def _check_emulator(model: DomainModel, emulator: Emulator, board: Board) -> None:
    kind = model.os.kind
    assert kind is not None
    for wrong, what, value in (
        (model.type != "qemu" and not (model.type == "kvm" and emulator.kvm), "virt type", model.type),
        (board.arch not in GUESTS_OF.get(emulator.arch, {emulator.arch}), "arch", board.arch),
        (kind.name != "hvm", "os type", kind.name),
        (emulator.machine(board.machine) is None, "machine type", board.machine),
    ):
        if wrong:
            raise unsupported(f"Emulator '{emulator.path}' does not support {what} '{value}'")


def _check_firmware(model: DomainModel, board: Board) -> None:
    loader = model.os.loader
    uefi = model.os.firmware == "efi" or (loader is not None and loader.type == "pflash")
    acpi = model.features is not None and model.features.acpi
    if board.is_x86 and uefi and not acpi:
        raise unsupported("UEFI requires ACPI on this architecture")
    if board.is_virt and acpi and not uefi:
        raise unsupported("ACPI requires UEFI on this architecture")
    if loader is not None and loader.secure:
        if not board.is_q35:
            raise unsupported("Secure boot is supported with q35 machine types only")
        smm = model.features.smm if model.features is not None else None
        if model.os.firmware is None and (smm is None or not smm.state):
            raise unsupported("Secure boot requires SMM feature enabled")
    bios = model.os.bios
    if bios is not None and bios.useserial and not model.devices.serials:
        raise XmlError("need at least one serial port to use BIOS serial output", domain=c.VIR_FROM_QEMU)


def _check_chosen_firmware(model: DomainModel) -> None:
    """Who leaves the choice of firmware to the driver has no say in the parts of it."""
    if model.os.firmware is None:
        return
    for owner, name, said in (
        ("loader", "secure", model.os.loader is not None and model.os.loader.secure is False),
        ("nvram", "template", model.os.nvram is not None and model.os.nvram.template is not None),
    ):
        if said:
            raise XmlDetail(
                f"{owner} attribute '{name}' cannot be specified when firmware autoselection is enabled",
                domain=c.VIR_FROM_DOMAIN,
            )


_POWER_ONLY = ("hpt", "htm", "nested_hv", "ccf_assist", "cfpc", "sbbc", "ibs")


def _check_features(model: DomainModel, board: Board) -> None:
    features = model.features
    if features is None:
        return
    wrong = [name for name in _POWER_ONLY if getattr(features, name) is not None]
    if features.gic is not None and not board.is_virt:
        wrong.insert(0, "gic")
    if wrong:
        name = wrong[0].replace("_", "-")
        raise unsupported(
            f"The '{name}' feature is not supported for architecture '{board.arch}' or machine type"
            f" '{board.machine}'"
        )


def _check_sleep(model: DomainModel, board: Board) -> None:
    if model.pm is None or board.is_x86:
        return
    for value, name in ((model.pm.mem, "S3"), (model.pm.disk, "S4")):
        if value is not None:
            raise unsupported(f"setting ACPI {name} not supported")


def check_actions(model: DomainModel) -> None:
    """Refuse what cannot follow from a guest's end. Raises ConfigUnsupported."""
    actions = (model.on_reboot, model.on_poweroff)
    if "rename-restart" in (*actions, model.on_crash):
        raise unsupported(
            "qemu driver doesn't support the 'rename-restart' action for 'on_reboot'/'on_poweroff'/'on_crash'"
        )
    if model.on_reboot == "destroy" and model.on_poweroff == "restart":
        raise unsupported(
            "qemu driver doesn't support 'onReboot' set to 'destroy and 'onPoweroff' set to 'reboot'"
        )
    if "preserve" in actions:
        raise unsupported("qemu driver doesn't support the 'preserve' action for 'on_reboot'/'on_poweroff'")


def _check_cpus(model: DomainModel, emulator: Emulator, board: Board) -> None:
    machine = emulator.machine(board.machine)
    if machine is not None and machine.max_cpus and model.maxvcpus > machine.max_cpus:
        raise unsupported(f"Maximum CPUs greater than specified machine type limit {machine.max_cpus}")
    if board.is_x86 and model.maxvcpus > MAX_APIC_CPUS:
        driver = model.devices.iommu.driver if model.devices.iommu else None
        if driver is None or not driver.eim:
            raise unsupported(
                f"more than {MAX_APIC_CPUS} vCPUs require extended interrupt mode enabled on the iommu device"
            )
    topology = model.cpu.topology if model.cpu is not None else None
    if topology is None:
        return
    if topology.sockets * topology.dies * topology.cores * topology.threads != model.maxvcpus:
        raise unsupported("CPU topology doesn't match maximum vcpu count")


def _check_memory(model: DomainModel) -> None:
    if model.max_memory:
        if model.cpu is None or model.cpu.numa is None:
            raise unsupported("At least one numa node has to be configured when enabling memory hotplug")
    elif model.devices.memories:
        raise unsupported("cannot use/hotplug a memory device when domain 'maxMemory' is not defined")


def _check_timer(timer: Timer, model: DomainModel, board: Board) -> None:
    policy = timer.tickpolicy
    if timer.name == "platform":
        raise unsupported(f"unsupported timer type (name) '{timer.name}'")
    if timer.name == "rtc" and policy in {"merge", "discard"}:
        raise unsupported(f"unsupported rtc timer tickpolicy '{policy}'")
    if timer.name == "pit" and policy == "merge":
        raise unsupported(f"unsupported pit tickpolicy '{policy}'")
    if timer.name == "armvtimer" and not (board.is_virt and model.type == "kvm"):
        raise unsupported(
            f"Configuring the '{timer.name}' timer is not supported for virtType={model.type}"
            f" arch={board.arch} machine={board.machine} guests"
        )


_LAUNCH_SECURITY = {"sev": "SEV", "s390-pv": "S390 PV"}


def _check_launch_security(model: DomainModel) -> None:
    """Sealed guests are for processors and QEMUs that this driver does not ask about."""
    security = model.launch_security
    if security is not None:
        name = _LAUNCH_SECURITY.get(security.type, security.type)
        raise unsupported(f"{name} launch security is not supported with this QEMU binary")
