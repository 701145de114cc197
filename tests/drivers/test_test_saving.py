"""Saved domains, the files that they are in, and dumps of the test hypervisor."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any

from remotevirt.drivers import folder
from remotevirt.drivers.test import TestDriver
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from tests.drivers.driving import Watcher, connect, domain_xml
from tests.drivers.test_test_domains import INACTIVE, UUID, DomainCase

MAGIC = b"TestGuestMagic\0"
SAVED, RESTORED = (c.VIR_DOMAIN_EVENT_STOPPED, 4), (c.VIR_DOMAIN_EVENT_STARTED, 2)
CRASHED = (c.VIR_DOMAIN_EVENT_STOPPED, 2)


class SavingCase(DomainCase):
    """The running domain "guest", and a folder for files."""

    def setUp(self) -> None:
        self.top = Path(os.path.realpath(self.mktemp()))
        self.folder = self.top / "allowed"
        self.folder.mkdir(parents=True)
        self.path = str(self.folder / "file")
        self.connection: Any = connect(TestDriver(files=str(self.folder)))
        self.calls = self.connection.hypervisor
        self.guest = self.calls.domain_define_xml(domain_xml("guest", uuid=UUID))
        self.calls.domain_create(self.guest)
        self.watcher = Watcher(self.connection)

    def events(self) -> list[tuple[Any, ...]]:
        """Return the lifecycle events since the last call: event and detail."""
        return [event[4:] for event in self.watcher.take()]

    def state(self) -> tuple[int, int]:
        """Return state and reason."""
        return tuple(self.calls.domain_get_state(self.guest, 0))  # type: ignore[return-value]


class FileTests(SavingCase):
    """Saving to files of the client's choice."""

    def test_save_and_restore(self) -> None:
        """The domain is off in between, and what it was afterwards."""
        live, inactive = self.xml(), self.xml(INACTIVE)
        self.calls.domain_save(self.guest, self.path)
        self.assertEqual(self.events(), [SAVED])
        self.assertEqual(self.state(), (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_SAVED))
        data = Path(self.path).read_bytes()
        self.assertEqual(data, MAGIC + struct.pack("=i", len(live)) + live.encode())
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.calls.domain_restore(self.path)
        self.assertEqual(self.events(), [RESTORED])
        self.assertEqual(self.state(), (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_RESTORED))
        self.assertEqual(self.xml(INACTIVE), inactive)
        text = "Requested operation is not valid: domain 'guest' is already active"
        self.assert_refused(self.calls.domain_restore, self.path, code=55, message=text)

    def test_transient(self) -> None:
        """A transient domain is gone, and comes back as a transient one."""
        guest = self.calls.domain_create_xml(domain_xml("brief"), 0)
        self.calls.domain_save(guest, self.path)
        self.assertRaises(VirError, self.calls.domain_lookup_by_name, "brief")
        self.calls.domain_restore(self.path)
        back = self.calls.domain_lookup_by_name("brief")
        self.assertEqual((back.uuid, self.calls.domain_is_persistent(back)), (guest.uuid, 0))

    def test_a_failed_save_stops_nothing(self) -> None:
        """The domain runs on where its file cannot be written."""
        path = str(self.folder / "missing" / "file")
        text = f"saving domain 'guest' to '{path}': open failed: No such file or directory"
        self.assert_refused(self.calls.domain_save, self.guest, path, code=38, message=text)
        self.assertEqual((self.events(), self.state()[0]), ([], c.VIR_DOMAIN_RUNNING))

    def test_flags(self) -> None:
        """libvirt's test driver has no flags, and no other XML on the way."""
        for flags in (1, 2, 4, 8):
            text = f"unsupported flags ({flags:#x}) in function testDomain"
            for call, function in (
                (
                    lambda flags=flags: self.calls.domain_save_flags(self.guest, self.path, None, flags),
                    "Save",
                ),
                (lambda flags=flags: self.calls.domain_restore_flags(self.path, None, flags), "Restore"),
            ):
                self.assert_refused(call, code=8, message=f"{text}{function}Flags")
        text = "argument unsupported: xml modification unsupported"
        self.assert_refused(
            self.calls.domain_save_flags, self.guest, self.path, "<domain/>", 0, code=74, message=text
        )
        self.assert_refused(self.calls.domain_restore_flags, self.path, "<domain/>", 0, code=74, message=text)

    def test_image(self) -> None:
        """The document in a file can be looked at and exchanged."""
        graphics = "<devices><graphics type='vnc' passwd='sesame'/></devices>"
        guest = self.calls.domain_create_xml(domain_xml("secret", graphics), 0)
        self.calls.domain_save(guest, self.path)
        texts = [self.calls.domain_save_image_get_xml_desc(self.path, flags) for flags in (0, 1)]
        self.assertEqual(["sesame" in text for text in texts], [False, True])
        self.calls.domain_save_image_define_xml(self.path, texts[1].replace(">65536<", ">4096<"), 0)
        self.assertIn(">4096<", self.calls.domain_save_image_get_xml_desc(self.path, 0))
        self.assertRaises(VirError, self.calls.domain_save_image_define_xml, self.path, "<domain", 0)
        self.calls.domain_restore(self.path)
        self.assertIn("sesame", self.calls.domain_get_xml_desc(guest, c.VIR_DOMAIN_XML_SECURE))

    def test_long_documents(self) -> None:
        """What was written can be read, also where libvirt reads no more than 8 KiB."""
        text = domain_xml("long", f"<description>{'x' * 20000}</description>")
        guest = self.calls.domain_create_xml(text, 0)
        self.calls.domain_save(guest, self.path)
        self.calls.domain_restore(self.path)
        self.assertIn("x" * 20000, self.calls.domain_get_xml_desc(guest, 0))

    def test_broken_files(self) -> None:
        """Files that are no saved domains, or parts of one."""
        body, early = domain_xml("other").encode(), "Success"
        for data, code, message in (
            (b"this is not a saved image\n", 1, "internal error: mismatched header magic"),
            (b"", 38, f"incomplete save header in '{self.path}': {early}"),
            (MAGIC + b"\1", 38, f"failed to read metadata length in '{self.path}': {early}"),
            (MAGIC + struct.pack("=i", 0) + body, 1, "internal error: length of metadata out of range"),
            (MAGIC + struct.pack("=i", -1) + body, 1, "internal error: length of metadata out of range"),
            (MAGIC + struct.pack("=i", 2**31 - 1), 1, "internal error: length of metadata out of range"),
            (
                MAGIC + struct.pack("=i", 999),
                38,
                f"incomplete metadata in '{self.path}': Success",
            ),
            (MAGIC + struct.pack("=i", 9) + b"<domain/>", 21, "missing name information"),
            (
                MAGIC + struct.pack("=i", 2) + b"\xff\xff",
                27,
                f"XML error: the XML in '{self.path}' is not UTF-8",
            ),
        ):
            Path(self.path).write_bytes(data)
            for call, *arguments in (
                (self.calls.domain_restore,),
                (self.calls.domain_save_image_get_xml_desc, 0),
                (self.calls.domain_save_image_define_xml, domain_xml("new"), 0),
            ):
                self.assert_refused(call, self.path, *arguments, code=code, message=message)
            self.assertEqual(Path(self.path).read_bytes(), data)


class FolderTests(SavingCase):
    """Where files may be."""

    def assert_outside(self, path: str) -> None:
        """Check that nothing can be read or written at a path."""
        text = f"cannot read domain image '{path}': "
        error = self.assertRaises(VirError, self.calls.domain_restore, path)
        self.assertTrue(error.message.startswith(text), error.message)
        self.assertRaises(VirError, self.calls.domain_save, self.guest, path)
        self.assertRaises(VirError, self.calls.domain_core_dump, self.guest, path, 0)

    def test_outside(self) -> None:
        """Nothing outside the folder can be named, in whatever way."""
        for path in (
            f"{self.top}/file",
            f"{self.folder}-not/file",
            f"{self.folder}/../file",
            f"{self.folder}/x/../file",
            "file",
            "",
            "/etc/hostname",
            f"{self.folder}/" + "d/" * folder.MAX_DEPTH + "file",
        ):
            self.assert_outside(path)
        self.assertEqual(sorted(os.listdir(self.top)), ["allowed"])
        self.assertEqual(os.listdir(self.folder), [])

    def test_on_the_disk_before_anybody_knows(self) -> None:
        """A file is written, put in its place, and both are on the disk before the domain stops."""
        steps: list[str] = []

        def watch(name: str) -> None:
            real = getattr(os, name)

            def watched(*args: Any, **options: Any) -> Any:
                kind = "folder" if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else "file"
                steps.append(f"{name} {kind}")
                return real(*args, **options)

            self.patch(folder.os, name, watched)

        watch("fsync")
        watch("replace")
        self.addCleanup(self.connection.events.listen(lambda event: steps.append("told")))
        self.calls.domain_save(self.guest, self.path)
        self.assertEqual(["fsync file", "replace file", "fsync folder", "told"], steps)

    def test_long_paths(self) -> None:
        """A path that no file can have is refused without being repeated."""
        text = "cannot use the path of a file: File name too long"
        self.assert_refused(self.calls.domain_restore, "/x" * 4096, code=38, message=text)
        self.assert_refused(self.calls.domain_save, self.guest, "/x" * 4096, code=38, message=text)
        self.assertEqual(self.state()[0], c.VIR_DOMAIN_RUNNING)

    def test_links(self) -> None:
        """A link on the way leads nowhere; one at the end is replaced, not followed."""
        (self.folder / "way").symlink_to(self.top)
        self.assert_outside(f"{self.folder}/way/file")
        target = self.top / "target"
        target.write_text("precious")
        (self.folder / "file").symlink_to(target)
        self.assertRaises(VirError, self.calls.domain_restore, self.path)
        self.calls.domain_save(self.guest, self.path)
        self.assertEqual(target.read_text(), "precious")
        self.assertFalse((self.folder / "file").is_symlink())

    def test_folders_and_pipes(self) -> None:
        """What is no plain file is not read, and a folder is not written over."""
        os.mkfifo(self.folder / "pipe")
        self.assertRaises(VirError, self.calls.domain_restore, f"{self.folder}/pipe")
        (self.folder / "deep").mkdir()
        for path in (f"{self.folder}/deep", f"{self.folder}/deep/", str(self.folder), str(self.top), "/"):
            shown = path.rstrip("/") or "/"
            text = f"incomplete save header in '{shown}': Is a directory"
            self.assert_refused(self.calls.domain_restore, path, code=38, message=text)
            text = f"saving domain 'guest' to '{shown}': open failed: Is a directory"
            self.assert_refused(self.calls.domain_save, self.guest, path, code=38, message=text)
        self.assertEqual(sorted(os.listdir(self.folder)), ["deep", "pipe"])

    def test_no_folder(self) -> None:
        """Without the option the error says what is missing, and the domain runs on."""
        calls: Any = connect().hypervisor
        guest = calls.domain_lookup_by_name("test")
        text = "no folder is allowed for them (--driver test:files=DIR)"
        for call, *arguments in (
            (calls.domain_save, guest, "/x"),
            (calls.domain_restore, "/x"),
            (calls.domain_core_dump, guest, "/x", c.VIR_DUMP_CRASH),
            (calls.domain_save_image_get_xml_desc, "/x", 0),
        ):
            error = self.assertRaises(VirError, call, *arguments)
            self.assertEqual(error.code, 84)
            self.assertIn(text, error.message)
        self.assertEqual(calls.domain_get_state(guest, 0).state, c.VIR_DOMAIN_RUNNING)


class ManagedSaveTests(SavingCase):
    """Where the daemon keeps the state."""

    def test_life(self) -> None:
        """Saved, started, saved, forgotten."""
        self.calls.domain_managed_save(self.guest, c.VIR_DOMAIN_SAVE_PAUSED)
        self.assertEqual(self.events(), [SAVED])
        self.assertEqual(self.calls.domain_has_managed_save_image(self.guest, 0), 1)
        self.calls.domain_create(self.guest)
        self.assertEqual(self.calls.domain_has_managed_save_image(self.guest, 0), 0)
        self.calls.domain_managed_save(self.guest, 0)
        self.calls.domain_managed_save_remove(self.guest, 0)
        self.assertEqual(self.calls.domain_has_managed_save_image(self.guest, 0), 0)

    def test_a_restore_forgets_it(self) -> None:
        """A domain that runs on from a file has no other saved state."""
        self.calls.domain_save(self.guest, self.path)
        self.calls.domain_create(self.guest)
        self.calls.domain_managed_save(self.guest, 0)
        self.calls.domain_restore(self.path)
        self.assertEqual(self.calls.domain_has_managed_save_image(self.guest, 0), 0)

    def test_flags(self) -> None:
        """It cannot run and be paused."""
        text = "Flags 'VIR_DOMAIN_SAVE_RUNNING' and 'VIR_DOMAIN_SAVE_PAUSED' are mutually exclusive"
        self.assert_refused(self.calls.domain_managed_save, self.guest, 6, code=8, message=text)


class DumpTests(SavingCase):
    """Dumps."""

    def test_dump(self) -> None:
        """The domain does not notice; the file has nothing but the magic word in it."""
        self.calls.domain_core_dump(self.guest, self.path, 0)
        self.assertEqual((self.events(), Path(self.path).read_bytes()), ([], MAGIC))
        self.calls.domain_core_dump_with_format(self.guest, self.path, 0, c.VIR_DUMP_CRASH)
        self.assertEqual(self.events(), [CRASHED])
        self.assertEqual(self.state(), (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_CRASHED))

    def test_refused(self) -> None:
        """Formats and flags."""
        dump = self.calls.domain_core_dump_with_format
        for dumpformat, flags, code, message in (
            (1, 0, 84, "Operation not supported: kdump-compressed format is not supported here"),
            (5, 0, 8, "dumpformat '5' is not supported"),
            (0, 3, 8, "Flags 'VIR_DUMP_CRASH' and 'VIR_DUMP_LIVE' are mutually exclusive"),
            (0, 10, 8, "Flags 'VIR_DUMP_LIVE' and 'VIR_DUMP_RESET' are mutually exclusive"),
            (0, 16, 8, "unsupported flags (0x10) in function testDomainCoreDumpWithFormat"),
        ):
            self.assert_refused(dump, self.guest, self.path, dumpformat, flags, code=code, message=message)
        path = str(self.folder / "missing" / "core")
        text = f"domain 'guest' coredump: failed to open {path}: No such file or directory"
        self.assert_refused(dump, self.guest, path, 0, c.VIR_DUMP_CRASH, code=38, message=text)
        self.assertEqual(self.state()[0], c.VIR_DOMAIN_RUNNING)


class LifecycleActionTests(SavingCase):
    """domain_set_lifecycle_action."""

    def test_every_action(self) -> None:
        """Each event takes each action, but only a crash those that leave a dump."""
        call = self.calls.domain_set_lifecycle_action
        words = ["destroy", "restart", "rename-restart", "preserve", "coredump-destroy", "coredump-restart"]
        for kind, event in enumerate(("poweroff", "reboot", "crash")):
            for number, word in enumerate(words):
                if event != "crash" and number > 3:
                    text = f"Lifecycle event '{event}' doesn't support '{word}' action"
                    text = f"unsupported configuration: {text}"
                    self.assert_refused(call, self.guest, kind, number, 0, code=67, message=text)
                    continue
                call(self.guest, kind, number, 3)
                self.assertIn(f"<on_{event}>{word}</on_{event}>", self.xml())
                self.assertIn(f"<on_{event}>{word}</on_{event}>", self.xml(INACTIVE))

    def test_impact(self) -> None:
        """One definition, or the other."""
        self.calls.domain_set_lifecycle_action(self.guest, 0, 1, c.VIR_DOMAIN_AFFECT_LIVE)
        self.assertIn("<on_poweroff>restart<", self.xml())
        self.assertIn("<on_poweroff>destroy<", self.xml(INACTIVE))
        self.calls.domain_shutdown(self.guest)
        self.assertEqual(self.state()[0], c.VIR_DOMAIN_RUNNING)

    def test_unknown(self) -> None:
        """Numbers that mean nothing."""
        call = self.calls.domain_set_lifecycle_action
        text = "invalid argument: invalid lifecycle type '3'"
        self.assert_refused(call, self.guest, 3, 0, 0, code=8, message=text)
        text = "invalid argument: invalid lifecycle action '6'"
        self.assert_refused(call, self.guest, 0, 6, 0, code=8, message=text)
