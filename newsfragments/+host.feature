The machine that the daemon runs on can be told, for any hypervisor driver: its CPUs, NUMA cells, memory, pools of
pages, same-page merging and firmware; the ``<host>`` part of capabilities; its devices and network interfaces, with
the names and documents of libvirt's udev drivers.
