The embedded hypervisor has libvirt's tuning parameters (memory, block I/O, NUMA, interfaces, disks, performance
events), IO threads, guests' keys, signals, file systems and addresses, and computes CPU baselines.
