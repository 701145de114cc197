Driver ``qemu`` runs real guests: QEMU processes driven over QMP, which go on when the daemon ends and are found
again when it starts. They are started, paused, saved, restored, dumped and ended with libvirt's states and events, as a user of
their own, and show up under the same durability test as the embedded hypervisor.
