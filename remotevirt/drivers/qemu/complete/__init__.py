"""What libvirt's QEMU driver adds to a document that it is given, one concern a module.

The order is libvirt's: :mod:`.board` finds the emulator and the machine, :mod:`.additions` adds the devices
that every such machine has, :mod:`.devices` fills in models and targets, :mod:`.places` gives addresses (PCI
with :mod:`.connect`, :mod:`.buses` and :mod:`.pci`, USB with :mod:`.usb`), and :mod:`.refusals` turns down
what cannot run. :mod:`.aliases` names the devices of a running guest.
"""
