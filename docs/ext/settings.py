"""The reference of options and configuration keys, checked against the code when the manual is built.

``command-line-options``    every option of ``twistd remotevirt``, in its own words
``config-key:: NAME``       a key of the configuration file, with its default; what it means is the content.
                            A key of the code that no ``config-key`` describes is a warning
``ignored-config-keys``     libvirtd's keys that mean nothing here, and why
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from tables import TableDirective

from remotevirt import config
from remotevirt.options import TWINS, Options

KEYS = {field.name: field.default for field in attrs.fields(config.Config) if field.name in config.KEYS}
GENERAL = ("help", "version", "rest")
"""Twisted's own options, listed after ours."""

VALUES = {
    "config": "FILE",
    "driver": "SPEC",
    "listen": "ENDPOINT",
    "listen-ro": "ENDPOINT",
    "set": "KEY=VALUE",
    "timeout": "SECONDS",
    **{option: value for option, _, value, _ in TWINS},
}
"""What an option that takes a value takes."""

log = logging.getLogger(__name__)


class CommandLineOptions(TableDirective):
    """The options, as the option parser knows them."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        options: Any = Options()
        short = {long: letter for letter, long in options.synonyms.items() if len(letter) == 1}
        rows = []
        takes_value = {option.rstrip("="): option.endswith("=") for option in options.longOpt}
        for name in sorted(takes_value, key=lambda name: (name in GENERAL, name)):
            words = f"--{name} {VALUES[name]}" if takes_value[name] else f"--{name}"
            letter = f", ``-{short[name]}``" if name in short else ""
            text = re.sub(r"(?<!\S)--[a-z-]+", r"``\g<0>``", " ".join(options.docs[name].split()))
            rows.append([f"``{words}``{letter}", text])
        return self.table(["option", "what it does"], rows, [1, 3])


class ConfigKey(SphinxDirective):
    """A key of the configuration file."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Make a definition of the key, its default beside it."""
        name = self.arguments[0]
        if name not in KEYS:
            raise self.error(f"the configuration file has no key {name}")
        described = self.env.metadata[self.env.docname].setdefault("config_keys", "")
        self.env.metadata[self.env.docname]["config_keys"] = f"{described} {name}"
        term = nodes.term("", "", nodes.literal(text=name))
        default = _default(name)
        if default is not None:
            term += [nodes.Text(" (default "), nodes.literal(text=default), nodes.Text(")")]
        definition = nodes.definition("", *self.parse_content_to_nodes())
        return [nodes.definition_list("", nodes.definition_list_item("", term, definition))]


def _default(name: str) -> str | None:
    """A key's default as one would write it into the file; None if it depends on something else."""
    value = KEYS[name]
    if value is None or name == "drivers":
        return None
    if isinstance(value, tuple):
        return '""'
    if name.endswith("_perms"):
        return f'"{value:04o}"'
    if isinstance(value, bool | int):
        return f"{value:d}"
    return f'"{value}"' if isinstance(value, str | Path) else str(value)


class IgnoredConfigKeys(TableDirective):
    """libvirtd's keys that mean nothing here."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [[f"``{key}``", why] for key, (_, why) in config.IGNORED.items()]
        return self.table(["key", "why"], sorted(rows), [1, 3])


def check_keys(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each key that the manual does not describe."""
    described = {
        name for metadata in env.metadata.values() for name in str(metadata.get("config_keys", "")).split()
    }
    for name in KEYS:
        if name not in described:
            log.warning("the configuration key %s is not described", name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives and the check."""
    app.add_directive("command-line-options", CommandLineOptions)
    app.add_directive("config-key", ConfigKey)
    app.add_directive("ignored-config-keys", IgnoredConfigKeys)
    app.connect("env-check-consistency", check_keys)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
