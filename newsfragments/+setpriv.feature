Starting a guest as another user no longer copies the daemon first, and the programs of storage pools do not either: by ``setpriv`` and ``posix_spawn``.
