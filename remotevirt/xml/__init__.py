"""libvirt's XML documents: safe parsing, models, canonical output."""
