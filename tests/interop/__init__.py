"""Real libvirt peers against remotevirt: virsh, libvirt-python, libvirtd, each in its own process."""
