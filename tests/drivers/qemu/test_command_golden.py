"""Whole command lines beside those of libvirt 9.0.0 for the same guests."""

from __future__ import annotations

import json
import re
import shlex

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.qemu.command import (
    Surroundings,
    build_command,
    format_command,
    read_passthrough,
)
from tests.drivers.qemu.commanding import COMMANDS, NAMES, document, emulator_for, read, small

FOLDER = "@FOLDER@"
CHANGING = (
    (re.compile(r"\bfd=\d+"), "fd=N"),
    (re.compile(r"\bset=\d+"), "set=N"),
    (re.compile(r"/dev/fdset/\d+"), "/dev/fdset/N"),
    (re.compile(r"base=\d{4}-[\d:T-]+"), "base=DATE"),
)
"""Numbers and times that are others each time."""

OURS = (
    # The same device by its proper name.
    ('"driver": "lsi"', '"driver": "lsi53c895a"'),
    # libvirt puts a backslash before a space of a serial number, which the guest then sees.
    ("S\\\\ 1", "S 1"),
    # A live document also names the features that the CPU turned out to have when it had started.
    ("sse4.2=on,", "sse4.2=on,hypervisor=on,"),
    ("-cpu qemu64", "-cpu qemu64,hypervisor=on,lahf-lm=on"),
    # An empty text that libvirt prints for an entry that the document has not.
    ("type=3,manufacturer=,", "type=3,"),
)
"""Where we differ, knowingly: libvirt's words and ours."""


def normal(words: str) -> str:
    """An option without what changes, its JSON in one order."""
    name, _, value = words.partition(" ")
    if value.startswith("{"):
        found = json.loads(value)
        if found.get("qom-type") == "secret":
            # libvirt's secret is encrypted with a key in a file; ours is the file.
            found = {key: found[key] for key in ("qom-type", "id")}
        value = json.dumps(found, sort_keys=True)
    text = f"{name} {value}".rstrip()
    for pattern, stands in CHANGING:
        text = pattern.sub(stands, text)
    return text


def options(words: list[str]) -> list[str]:
    """Arguments, each option with its value."""
    found: list[str] = []
    for word in words:
        if word.startswith("-"):
            found.append(word)
        else:
            found[-1] += f" {word}"
    return found


class GoldenTests(SynchronousTestCase):
    """The arguments, option by option and in libvirt's order."""

    maxDiff = None

    def check(self, name: str) -> None:
        text = document(name, FOLDER)
        model = read(text)
        surroundings = Surroundings("/guest", memory_folder=FOLDER)
        command = build_command(
            model, emulator_for(model), surroundings, passthrough=read_passthrough(etree.fromstring(text))
        )
        numbers = {one.name: 10 + place for place, one in enumerate(command.descriptors)}
        ours = [normal(one) for one in options(command.arguments(numbers)[1:])]
        theirs = [normal(line) for line in (COMMANDS / f"{name}.args").read_text().splitlines()]
        for their, our in OURS:
            theirs = [line.replace(their, our) for line in theirs]
        self.assertEqual(theirs, ours)

    def test_documents(self) -> None:
        """There are documents of all kinds of machines."""
        self.assertEqual(["aarch64", "luks", "pc-file", "pc-numa", "q35", "uefi"], NAMES)

    def test_aarch64(self) -> None:
        self.check("aarch64")

    def test_luks(self) -> None:
        self.check("luks")

    def test_pc_file(self) -> None:
        self.check("pc-file")

    def test_pc_numa(self) -> None:
        self.check("pc-numa")

    def test_q35(self) -> None:
        self.check("q35")

    def test_uefi(self) -> None:
        self.check("uefi")


class FormatTests(SynchronousTestCase):
    """How a command is shown."""

    def test_shell_words(self) -> None:
        """A shell takes what is shown as what is run."""
        model = small()
        model.name = "it's, $HOME `x` \\"
        command = build_command(model, emulator_for(model), Surroundings("/guest folder"))
        shown = shlex.split(format_command(command))
        environment = [f"{name}={value}" for name, value in command.environment.items()]
        words = [*environment, *command.arguments({"charmonitor": 3})]
        socket = "socket,id=charmonitor,path=/guest folder/monitor.sock,server=on,wait=off"
        self.assertEqual([socket if "fd=3" in word else word for word in words], shown)

    def test_libvirt(self) -> None:
        """A word is quoted where libvirt quotes it, and all stands on one line."""
        model = small()
        model.name = "it's $x&~{}[]*?!@,=+%^:"
        text = format_command(build_command(model, emulator_for(model), Surroundings("/guest")))
        self.assertIn("-name 'guest=it'\\''s $x&~{}[]*?!@,,=+%^:,debug-threads=on' -S ", text)
        self.assertIn(" -boot strict=on ", text)
        self.assertTrue(text.startswith("LC_ALL=C "))
        self.assertTrue(text.endswith(" -msg timestamp=on\n"))
        self.assertEqual(1, len(text.splitlines()))

    def test_files(self) -> None:
        """What the launcher would open is shown by its path."""
        model = small(
            "<serial type='file'><source path='/x' append='on'/><target type='isa-serial' port='0'/>"
            "<log file='/y'/><alias name='serial0'/></serial>"
        )
        text = format_command(build_command(model, emulator_for(model), Surroundings("/guest")))
        self.assertIn("-chardev file,id=charserial0,path=/x,append=on,logfile=/y,logappend=on ", text)
        self.assertNotIn("fd", text.replace("-nodefaults", ""))

    def test_environment(self) -> None:
        """Nothing of the daemon's own environment reaches the guest."""
        model = small()
        command = build_command(model, emulator_for(model), Surroundings("/guest", path="/bin"))
        self.assertEqual("/bin", command.environment["PATH"])
        self.assertEqual("/guest", command.environment["HOME"])
        self.assertEqual(
            {"LC_ALL", "PATH", "HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"},
            set(command.environment),
        )
