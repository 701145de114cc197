Storage pools of type ``fs`` make their file systems (``virsh pool-build --overwrite``, ``--no-overwrite``); only the pool's own device is taken for mounted, and ever unmounted.
