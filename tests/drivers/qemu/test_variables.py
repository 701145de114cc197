"""The variables of UEFI firmware: what they are made from, where, and by whose leave."""

from __future__ import annotations

import os
from pathlib import Path

from remotevirt.drivers.qemu.complete.choice import choose_firmware
from remotevirt.drivers.qemu.documents import NVRAM_DIRECTORY
from remotevirt.drivers.qemu.variables import STEP, make_variables, remove_variables, variables_path
from remotevirt.stubs.errors import OperationDenied, OperationFailed, OperationInvalid, VirSystemError
from remotevirt.xml.domain import DomainModel
from tests.drivers.qemu.test_access import AccessTestCase
from tests.drivers.qemu.test_starting import KNOWN, Definition

CODE = "/usr/share/OVMF/OVMF_CODE_4M"


def guest(os: str, features: str = "") -> DomainModel:
    """A guest whose ``<os>`` ends like that."""
    model: DomainModel = parsed(os, features).model
    return model


def parsed(os: str, features: str = "") -> Definition:  # type: ignore[valid-type]
    """Its definition."""
    return Definition.parse(
        "<domain type='qemu'><name>g</name><uuid>8a9b6c1e-0000-4000-8000-000000000000</uuid>"
        f"<memory>65536</memory><os{os}</os><features><acpi/>{features}</features></domain>"
    )


def flash(path: str, more: str = "", nvram: str = "") -> str:
    """Flash with a loader at a path."""
    return ">" + TYPE + f"<loader readonly='yes' type='pflash'{more}>{path}</loader>{nvram}"


TYPE = "<type arch='x86_64' machine='q35'>hvm</type>"


class ChoiceTests(AccessTestCase):
    """What belongs to firmware that a document names."""

    def test_named(self) -> None:
        """Its template is found, and what it needs is switched on."""
        model = guest(flash(f"{CODE}.ms.fd"))
        choose_firmware(model, KNOWN, NVRAM_DIRECTORY)
        assert model.os.nvram is not None and model.os.loader is not None and model.features is not None
        self.assertEqual("/usr/share/OVMF/OVMF_VARS_4M.ms.fd", model.os.nvram.template)
        self.assertTrue(model.os.loader.secure and model.features.smm and model.features.smm.state)

    def test_left_alone(self) -> None:
        """One whose template is named, or that has no use for one, stays as it is; so does an unknown one."""
        template = "<nvram template='/usr/share/mine'/>"
        for text in (
            flash(f"{CODE}.ms.fd", nvram=template),
            flash(f"{CODE}.ms.fd", " stateless='yes'"),
            flash("/usr/share/other.fd"),
            f">{TYPE}<loader type='rom'>{CODE}.ms.fd</loader>",
        ):
            model = guest(text)
            before = str(model.os)
            choose_firmware(model, KNOWN, NVRAM_DIRECTORY)
            self.assertEqual(before, str(model.os))

    def test_needs(self) -> None:
        """A guest that does without what the best firmware needs does not get another one."""
        for text in (f" firmware='efi'>{TYPE}", flash(f"{CODE}.ms.fd")):
            model = guest(text, "<smm state='off'/>")
            error = self.assertRaises(OperationInvalid, choose_firmware, model, KNOWN, NVRAM_DIRECTORY)
            self.assertIn("SMM turned off", error.message)


class FileTests(AccessTestCase):
    """The file."""

    def setUp(self) -> None:
        super().setUp()
        self.template = self.images / "template"
        self.content = b"head".ljust(STEP, b"\0") + bytes(4 * STEP) + b"tail"
        self.template.write_bytes(self.content)
        self.path = self.images / "vars"

    def model(self, template: Path | str | None = None, path: Path | None = None) -> DomainModel:
        """A guest with a template and a place."""
        nvram = f"<nvram template='{template or self.template}'>{path or self.path}</nvram>"
        return guest(flash(f"{CODE}.fd", nvram=nvram))

    def test_made(self) -> None:
        """It has the content of the template, holes and all, and is made anew only when asked for."""
        make_variables(self.model(), self.settings)
        self.assertEqual(self.content, self.path.read_bytes())
        self.assertEqual(0o600, self.path.stat().st_mode & 0o777)
        self.assertLess(self.path.stat().st_blocks * 512, len(self.content))
        self.path.write_bytes(b"used")
        make_variables(self.model(), self.settings)
        self.assertEqual(b"used", self.path.read_bytes())
        (self.images / "vars.new").symlink_to(self.secret)  # planted, or left by a daemon that was killed
        make_variables(self.model(), self.settings, anew=True)
        self.assertEqual(self.content, self.path.read_bytes())
        self.assertEqual("secret", self.secret.read_text())
        remove_variables(str(self.path), self.settings)
        remove_variables(str(self.path), self.settings)
        self.assertFalse(self.path.exists())

    def test_denied(self) -> None:
        """Neither is a file read that the operator does not allow, nor one made elsewhere."""
        link = self.images / "link"
        link.symlink_to(self.secret)
        for template in (self.secret, link):
            self.assertRaises(OperationDenied, make_variables, self.model(template), self.settings)
        elsewhere = self.model(path=self.other / "vars")
        self.assertRaises(OperationDenied, make_variables, elsewhere, self.settings)
        self.assertRaises(OperationDenied, remove_variables, str(self.secret), self.settings)
        pipe = self.images / "pipe"
        os.mkfifo(pipe)
        self.assertRaises(OperationDenied, make_variables, self.model(pipe), self.settings)
        self.assertEqual({"disk", "template", "link", "pipe"}, set(os.listdir(self.images)))
        self.assertEqual(["shadow"], os.listdir(self.other))

    def test_fails(self) -> None:
        """What cannot be read, made, removed, or is not known is an error, and leaves nothing."""
        self.assertRaises(VirSystemError, make_variables, self.model(self.images / "none"), self.settings)
        folder = self.model(path=self.images / "none" / "vars")
        self.assertRaises(VirSystemError, make_variables, folder, self.settings)
        unknown = guest(flash("/usr/share/other.fd", nvram=f"<nvram>{self.path}</nvram>"))
        error = self.assertRaises(OperationFailed, make_variables, unknown, self.settings)
        self.assertIn("any master var store for loader: /usr/share/other.fd", error.message)
        self.assertRaises(VirSystemError, remove_variables, str(self.images), self.settings)
        self.assertEqual({"disk", "template"}, set(os.listdir(self.images)))

    def test_place(self) -> None:
        """Where they are is known before the firmware is."""
        settings = self.settings
        for text, wanted in (
            (f" firmware='efi'>{TYPE}", f"{settings.nvram}/g_VARS.fd"),
            (f" firmware='efi'>{TYPE}<nvram>/mine</nvram>", "/mine"),
            (flash(f"{CODE}.fd"), f"{NVRAM_DIRECTORY}/g_VARS.fd"),
            (f" firmware='bios'>{TYPE}", None),
            (f">{TYPE}", None),
        ):
            self.assertEqual(wanted, variables_path(parsed(text), settings), text)
