"""Tests of :mod:`remotevirt.xml`; ``record.py`` makes their tables from a real libvirt."""
