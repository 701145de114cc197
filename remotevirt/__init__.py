"""libvirt's RPC protocol in Python with Twisted."""

__version__ = "0.1.0"
