QEMU guests' documents are completed as libvirt's QEMU driver does: default devices, addresses, CPU and firmware, with libvirt's words for what cannot run.
