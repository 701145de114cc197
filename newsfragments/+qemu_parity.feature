The QEMU driver has `virsh set-lifecycle-action`, `perf` (of definitions) and `domdirtyrate-calc`, documents for other
hosts (`dumpxml --migratable`), sizes of disks of guests that are off in `domstats`, and words, codes and events of
libvirt's where some dozens of commands differed.
