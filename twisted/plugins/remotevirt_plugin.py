"""The ``twistd remotevirt`` command."""

from twisted.application.service import ServiceMaker

remotevirt_daemon = ServiceMaker(
    "remotevirt",
    "remotevirt.tap",
    "A daemon that speaks libvirt's RPC protocol to virsh and its kin.",
    "remotevirt",
)
