"""Tests of the QEMU driver."""
