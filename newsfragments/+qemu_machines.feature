Real guests: memory by their balloon and its figures (``setmem``, ``dommemstat``), virtual CPUs that come and go,
pinning of CPUs, emulator and IO threads, ``domstats`` of all guests side by side, ``domjobinfo`` and ``domjobabort``,
and dumps of memory (``dump``, also by itself after a panic).
