"""Tests of what the host is and has: on trees of files, and beside a real libvirtd."""
