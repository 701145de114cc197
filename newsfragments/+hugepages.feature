Guests of the QEMU driver get huge pages (``<hugepages/>``) where the host has mounted a huge page file system; nodes of the host that are not there are refused.
