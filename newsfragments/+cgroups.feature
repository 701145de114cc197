Limits of real guests (``<cputune>``, ``<memtune>``, ``<blkiotune>``, ``<numatune>``) are carried out by control groups
of version 1 or 2, when a guest starts and while it runs (``schedinfo``, ``memtune``, ``blkiotune``, ``numatune``), and
CPU times of guests come from there (``cpu-stats``, ``domstats``). ``qemu:cgroups=PATH`` says where they are,
``qemu:cgroups=off`` that there are none.
