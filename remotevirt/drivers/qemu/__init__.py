"""The QEMU driver: real guests, each a process of its own, driven over QMP."""
