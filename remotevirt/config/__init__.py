"""The configuration.

* :mod:`~remotevirt.config.grammar`: libvirtd.conf's text, read as keys and values.
* :mod:`~remotevirt.config.values`: what values may be.
* :mod:`~remotevirt.config.model`: the keys and what they mean.
"""

from __future__ import annotations

from remotevirt.config.grammar import ConfigError, Setting, Value, parse
from remotevirt.config.model import IGNORED, KEYS, OWN, Config, load, read_text, read_value
from remotevirt.config.values import Auth

__all__ = [
    "IGNORED",
    "KEYS",
    "OWN",
    "Auth",
    "Config",
    "ConfigError",
    "Setting",
    "Value",
    "load",
    "parse",
    "read_text",
    "read_value",
]
