Guests of the QEMU driver: consoles and channels as streams (``virsh console``), screenshots, connections to the
VNC display by descriptor, keys, commands and events of QEMU's monitor (``virsh qemu-monitor-command``,
``qemu-monitor-event``), ``virsh domxml-to-native``, messages about tainted guests, and libvirt's answers to calls that
need a guest's agent.
