"""Measurements of remotevirt beside libvirtd; ``python -m benchmarks.bench`` runs them."""
