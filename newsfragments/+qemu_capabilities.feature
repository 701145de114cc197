``virsh capabilities``, ``domcapabilities``, ``cpu-models``, ``cpu-compare`` and ``cpu-baseline`` tell what the host's QEMU can do, as libvirt's driver does.
