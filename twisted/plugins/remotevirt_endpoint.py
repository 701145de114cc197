"""The endpoint string ``libvirttls:PORT:pki=DIR[:interface=ADDR]``, for all that listens with Twisted."""

from remotevirt.transport.plugin import LibvirtTLSParser

libvirt_tls = LibvirtTLSParser()
