"""Controllers: PCI bridges and ports, and those of USB, SCSI, SATA, floppies and virtio serial ports."""

from __future__ import annotations

from typing import Any, Final

from remotevirt.drivers.qemu.command.parts import Part, option
from remotevirt.drivers.qemu.command.setting import Setting, alias_of, unsupported, virtio_options
from remotevirt.drivers.qemu.complete.pci import PCI_MODELS
from remotevirt.xml.domain.controller import Controller

__all__ = ["controller_parts", "is_built_in", "parts_of_controller"]

_ORDER: Final = ("pci", "usb", "scsi", "ide", "sata", "virtio-serial", "ccid", "fdc")
"""Controllers by family, in the order in which they are made: what others are plugged into comes first."""

_USB: Final = {
    "piix3-uhci": "piix3-usb-uhci",
    "piix4-uhci": "piix4-usb-uhci",
    "ehci": "usb-ehci",
    "ich9-ehci1": "ich9-usb-ehci1",
    "ich9-uhci1": "ich9-usb-uhci1",
    "ich9-uhci2": "ich9-usb-uhci2",
    "ich9-uhci3": "ich9-usb-uhci3",
    "vt82c686b-uhci": "vt82c686b-usb-uhci",
    "pci-ohci": "pci-ohci",
    "nec-xhci": "nec-usb-xhci",
    "qemu-xhci": "qemu-xhci",
}
_SCSI: Final = {
    "lsilogic": "lsi53c895a",
    "lsisas1068": "mptsas1068",
    "lsisas1078": "megasas",
    "vmpvscsi": "pvscsi",
    "dc390": "dc390",
    "am53c974": "am53c974",
}
_PORTS: Final = frozenset(("pcie-root-port", "pcie-switch-downstream-port"))
_EXPANDERS: Final = frozenset(("pci-expander-bus", "pcie-expander-bus"))


def is_built_in(setting: Setting, controller: Controller) -> bool:
    """Whether the machine has a controller without being asked."""
    kind, first = controller.type, not controller.index
    if kind == "pci":
        return first and controller.model in {"pci-root", "pcie-root"}
    if kind == "ide":
        return first and setting.is_i440fx
    if kind == "sata":
        return first and setting.is_q35
    if kind == "fdc":
        return setting.is_i440fx
    return kind == "usb" and controller.model == "none"


def controller_parts(setting: Setting) -> list[Part]:
    """Return all controllers, in order. Raises VirError for those that this machine cannot have."""
    parts: list[Part] = []
    for kind in _ORDER:
        for one in setting.model.devices.controllers:
            if one.type == kind:
                parts += parts_of_controller(setting, one)
    for one in setting.model.devices.controllers:
        if one.type not in _ORDER:
            raise unsupported(f"Unsupported controller type: {one.type}")
    return parts


def parts_of_controller(setting: Setting, controller: Controller) -> list[Part]:
    """Return a controller; nothing if the machine has it anyway. Raises VirError."""
    if is_built_in(setting, controller):
        return _root(setting, controller)
    kind = controller.type
    if kind == "ide":
        if setting.is_q35 or not setting.is_x86:
            raise unsupported("IDE controllers are unsupported for this QEMU binary or machine type")
        raise unsupported("Only a single IDE controller is supported for this machine type")
    if kind == "fdc":
        if not setting.is_q35 or controller.index:
            raise unsupported("FDC controllers are not supported with this machine type")
        return [Part("device", {"driver": "isa-fdc"})]
    values: dict[str, Any]
    if kind == "pci":
        values = _pci(controller)
    elif kind == "usb":
        values = _usb(setting, controller)
    elif kind == "scsi":
        values = _scsi(setting, controller)
    elif kind == "sata":
        values = {"driver": "ahci", "id": alias_of(controller.info, "controller")}
    elif kind == "virtio-serial":
        values = _virtio_serial(setting, controller)
    elif kind == "ccid":
        values = {"driver": "usb-ccid", "id": alias_of(controller.info, "controller")}
    else:
        raise unsupported(f"Unsupported controller type: {kind}")
    return [Part("device", {**values, **setting.place(controller.info.address)})]


def _root(setting: Setting, controller: Controller) -> list[Part]:
    if not controller.pcihole64:
        return []
    if not setting.is_x86:
        raise unsupported("setting the 64-bit PCI hole size is not supported for this machine type")
    host = "q35-pcihost" if setting.is_q35 else "i440FX-pcihost"
    return [option("-global", f"{host}.pci-hole64-size={controller.pcihole64}K")]


def _pci(controller: Controller) -> dict[str, Any]:
    model = controller.model or ""
    asked = controller.pci_model.name if controller.pci_model is not None else None
    driver = asked or PCI_MODELS.get(model)
    if driver is None or model not in PCI_MODELS:
        raise unsupported(f"Unsupported PCI controller model '{model}'")
    target = controller.target
    values: dict[str, Any] = {"driver": driver}
    if model in _PORTS:
        values |= {
            "port": target.port if target is not None else None,
            "chassis": target.chassis if target is not None else None,
        }
        if target is not None and target.hotplug is not None:
            values["hotplug"] = target.hotplug
    elif target is not None and target.hotplug is not None:
        raise unsupported(f"hotplug option is not supported for PCI controller '{model}'")
    if model == "pci-bridge":
        values["chassis_nr"] = target.chassis_nr if target is not None else None
    if model in _EXPANDERS:
        values["bus_nr"] = target.bus_nr if target is not None else None
        if target is not None and target.node is not None:
            values["numa_node"] = target.node
    values["id"] = alias_of(controller.info, "controller")
    return {key: value for key, value in values.items() if value is not None}


def _usb(setting: Setting, controller: Controller) -> dict[str, Any]:
    model = controller.model or "piix3-uhci"
    driver = setting.need(_USB.get(model, model), f"{model} not supported in this QEMU binary")
    values: dict[str, Any] = {"driver": driver}
    if controller.ports is not None:
        if model not in {"nec-xhci", "qemu-xhci"}:
            raise unsupported(f"usb controller type '{model}' doesn't support 'ports' with this QEMU binary")
        values |= {"p2": controller.ports, "p3": controller.ports}
    alias = alias_of(controller.info, "controller")
    if controller.info.master is not None:
        return {**values, "masterbus": f"{alias}.0", "firstport": controller.info.master.startport}
    return {**values, "id": alias}


def _scsi(setting: Setting, controller: Controller) -> dict[str, Any]:
    model = controller.model or "lsilogic"
    alias = alias_of(controller.info, "controller")
    driver = controller.driver
    if not model.startswith("virtio"):
        if model not in _SCSI:
            raise unsupported(f"Unsupported controller model: {model}")
        if driver is not None and any(
            (driver.queues, driver.cmd_per_lun, driver.max_sectors, driver.iothread)
        ):
            raise unsupported("'queues' is only supported by virtio-scsi controller")
        name = _SCSI[model]
        return {"driver": setting.need(name, f"Unsupported controller model: {model}"), "id": alias}
    name = setting.virtio("scsi", None if model == "virtio-scsi" else model, controller.info.address)
    values: dict[str, Any] = {"driver": name}
    if driver is not None:
        if driver.iothread is not None:
            if driver.iothread not in setting.iothreads:
                raise unsupported(f"controller iothread '{driver.iothread}' not defined in iothreadid")
            values["iothread"] = f"iothread{driver.iothread}"
        values |= virtio_options(driver.virtio)
    values["id"] = alias
    if driver is not None:
        more = {
            "num_queues": driver.queues,
            "cmd_per_lun": driver.cmd_per_lun,
            "max_sectors": driver.max_sectors,
            "ioeventfd": driver.ioeventfd,
        }
        values |= {key: value for key, value in more.items() if value is not None}
    return values


def _virtio_serial(setting: Setting, controller: Controller) -> dict[str, Any]:
    model = None if controller.model == "virtio" else controller.model
    values: dict[str, Any] = {"driver": setting.virtio("serial", model, controller.info.address)}
    if controller.driver is not None:
        values |= virtio_options(controller.driver.virtio)
    values["id"] = alias_of(controller.info, "controller")
    if controller.ports is not None:
        values["max_ports"] = controller.ports
    if controller.vectors is not None:
        values["vectors"] = controller.vectors
    return values
