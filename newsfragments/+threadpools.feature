Guests of the QEMU driver: ``<defaultiothread>`` and the pools of IO threads (``thread_pool_min``, ``thread_pool_max``),
in definitions and with ``virsh iothreadset``.
