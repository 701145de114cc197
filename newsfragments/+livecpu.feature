Guests of the QEMU driver: the document of a running x86 guest says which features its CPU turned out to have, and
``check='partial'`` and ``check='full'`` refuse a CPU that is not the one that was asked for.
