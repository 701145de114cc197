"""What of secrets is there again, who can read it, and what a key that is lost leaves."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from remotevirt.drivers.events import EventHub
from remotevirt.drivers.secret import RealSecrets, Vault
from remotevirt.drivers.secret.vault import KEY_BYTES, KEY_NAME
from remotevirt.errors import VirError
from remotevirt.store import StoreError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidSecret, OperationFailed
from tests.drivers.secret.secrets import SecretsCase, secret_xml

VALUE = b"a value that stands nowhere"


class RestartTests(SecretsCase):
    """After a restart."""

    def setUp(self) -> None:
        super().setUp()
        self.ref = self.define(1, private="yes", description="one")
        self.secrets.secret_set_value(self.ref, VALUE, 0)

    def documents(self) -> list[str]:
        """All documents, in order."""
        found = self.secrets.connect_list_all_secrets(1, 0).secrets
        return [self.secrets.secret_get_xml_desc(ref, 0) for ref in found]

    def test_there_again(self) -> None:
        """Definitions and values, in order; an ephemeral secret is gone."""
        self.define(4, "ceph")
        self.define(2, None)
        self.define(1, private="yes", description="newer")
        self.define(3, "tls", ephemeral="yes")
        expected = self.documents()[:3]
        self.again()
        self.assertEqual(expected, self.documents())
        self.assertIn("newer", expected[0])
        self.assertEqual(VALUE, self.secrets.value_of(self.ref.uuid))
        self.assertIsNone(self.secrets.value_of((c.VIR_SECRET_USAGE_TYPE_CEPH, "/a")))

    def test_undefined(self) -> None:
        """What was undefined stays away, with its value."""
        self.secrets.secret_undefine(self.ref)
        self.again()
        self.assertEqual([], self.documents())
        self.define(1)
        self.assertIsNone(self.again().value_of(self.ref.uuid))

    def test_kinds_of_life(self) -> None:
        """A secret that becomes ephemeral leaves the store, one that no longer is comes in with its value."""
        self.define(1, private="yes", ephemeral="yes")
        self.assertEqual(VALUE, self.secrets.value_of(self.ref.uuid))
        self.assertEqual([], self.again().connect_list_secrets(9))
        self.define(1, ephemeral="yes")
        self.secrets.secret_set_value(self.ref, b"other", 0)
        self.define(1)
        self.assertEqual(b"other", self.again().value_of(self.ref.uuid))

    def test_without_a_folder(self) -> None:
        """Without a folder secrets work, and end with the process."""
        for _ in range(2):
            secrets: Any = RealSecrets.open(None, EventHub(), {})
            self.assertEqual(0, secrets.connect_num_of_secrets())
            ref = secrets.secret_define_xml(secret_xml(1), 0)
            secrets.secret_set_value(ref, VALUE, 0)
            self.assertEqual(VALUE, secrets.secret_get_value(ref, 0))
            secrets.close()

    def test_refused_by_the_disk(self) -> None:
        """A change that cannot be kept has not happened, and nobody hears of it."""
        self.define(2, "ceph")
        self.take_events()

        class Full:
            """A store on a full disk."""

            def write(self, puts: Any, drops: Any) -> None:
                """Refuse."""
                raise StoreError("the disk is full")

        journal = self.secrets.table.keeper.journal
        real, journal.store = journal.store, Full()
        before = self.documents()
        other = self.secrets.secret_lookup_by_usage(2, "/a")
        for call, *arguments in (
            (self.secrets.secret_set_value, self.ref, b"other", 0),
            (self.secrets.secret_undefine, self.ref),
            (self.secrets.secret_define_xml, secret_xml(7, None), 0),
            (self.secrets.secret_define_xml, secret_xml(2, "tls"), 0),
            (self.secrets.secret_define_xml, secret_xml(2, "ceph", private="yes"), 0),
        ):
            self.assertRaises(OperationFailed, call, *arguments)
            self.assertEqual(before, self.documents())
            self.assertEqual(VALUE, self.secrets.value_of(self.ref.uuid))
            self.assertEqual(other, self.secrets.secret_lookup_by_usage(2, "/a"))
            self.assertRaises(VirError, self.secrets.secret_lookup_by_usage, 4, "/a")
        self.assertEqual([], self.take_events())
        self.define(9, "iscsi", ephemeral="yes")  # writes nothing
        journal.store = real
        self.assertEqual(before, (self.again(), self.documents())[1])


class KeyTests(SecretsCase):
    """The key."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.state, "secrets")
        self.key = self.folder / KEY_NAME
        self.ref = self.define(1)
        self.secrets.secret_set_value(self.ref, VALUE, 0)

    def unreadable(self, reason: str) -> None:
        """The value cannot be read, for a reason; the secret is served."""
        self.assertIn("<volume>/a</volume>", self.secrets.secret_get_xml_desc(self.ref, 0))
        for call, *arguments in (
            (self.secrets.secret_get_value, self.ref, 0),
            (self.secrets.value_of, self.ref.uuid),
        ):
            error = self.assertRaises(InvalidSecret, call, *arguments)
            self.assertIn(reason, error.message)
            self.assertNotIn(self.state, error.message)

    def test_modes(self) -> None:
        """Folder, key and store are for the daemon's user only, and no draft is left."""
        self.assertEqual(0o700, stat.S_IMODE(self.folder.stat().st_mode))
        names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.folder.iterdir()}
        self.assertEqual({0o600}, set(names.values()))
        self.assertEqual({KEY_NAME, "secrets.db", "secrets.db-wal"}, set(names))
        self.assertEqual(KEY_BYTES, len(self.key.read_bytes()))

    def test_encrypted(self) -> None:
        """The value is in no file."""
        for path in self.folder.iterdir():
            self.assertNotIn(VALUE, path.read_bytes())

    def test_nonces(self) -> None:
        """The same value is never sealed to the same bytes."""
        record = self.secrets.table.by_uuid[self.ref.uuid]
        seen = set()
        for _ in range(20):
            self.secrets.secret_set_value(self.ref, VALUE, 0)
            seen.add(record.sealed[1:13])
        self.assertEqual(20, len(seen))

    def test_lost(self) -> None:
        """A key that is lost is not made anew; with it back everything is as before."""
        key = self.key.read_bytes()
        self.key.unlink()
        self.again()
        self.unreadable("key that values are encrypted with is missing")
        self.assertRaises(InvalidSecret, self.secrets.secret_set_value, self.ref, b"x", 0)
        self.assertFalse(self.key.exists())
        self.key.write_bytes(key)
        self.key.chmod(0o600)
        self.assertEqual(VALUE, self.again().value_of(self.ref.uuid))

    def test_another(self) -> None:
        """Under another key the value is out of reach until it is set anew."""
        self.key.write_bytes(bytes(KEY_BYTES))
        self.again()
        self.unreadable("encrypted with another key, or has been changed since")
        self.secrets.secret_set_value(self.ref, b"new", 0)
        self.assertEqual(b"new", self.again().value_of(self.ref.uuid))

    def test_no_key(self) -> None:
        """A file of another length, one that others may read, a link: none is used."""
        key = self.key.read_bytes()
        for spoil in (
            lambda: self.key.write_bytes(key[1:]),
            lambda: self.key.write_bytes(key + b"\n"),
            lambda: self.key.chmod(0o640),
            lambda: (self.key.rename(self.folder / "elsewhere"), self.key.symlink_to("elsewhere")),
            lambda: (self.key.unlink(), os.mkfifo(self.key, 0o600)),
        ):
            self.key.write_bytes(key)
            spoil()
            self.again()
            self.unreadable("key that values are encrypted with cannot be used")
            self.key.chmod(0o600)

    def test_credential(self) -> None:
        """systemd's credential comes first; without it, what it encrypted is out of reach."""
        credentials = Path(self.state, "credentials")
        credentials.mkdir()
        (credentials / KEY_NAME).write_bytes(b"k" * KEY_BYTES)
        (credentials / KEY_NAME).chmod(0o440)
        self.environment["CREDENTIALS_DIRECTORY"] = str(credentials)
        self.again()
        self.unreadable("another key")
        self.secrets.secret_set_value(self.ref, b"new", 0)
        self.assertEqual(b"new", self.again().value_of(self.ref.uuid))
        self.environment.clear()
        self.again()
        self.unreadable("another key")

    def test_a_folder_of_credentials_without_ours(self) -> None:
        """Other credentials of the service change nothing."""
        self.environment["CREDENTIALS_DIRECTORY"] = self.state
        self.assertEqual(VALUE, self.again().value_of(self.ref.uuid))


class VaultTests(SecretsCase):
    """Sealed values."""

    def test_bound(self) -> None:
        """What was sealed for one secret opens for no other, and not when any bit has changed."""
        vault, one, other = Vault.passing(), b"1" * 16, b"2" * 16
        sealed = vault.seal(one, VALUE)
        self.assertEqual(VALUE, vault.unseal(one, sealed))
        self.assertRaises(InvalidSecret, vault.unseal, other, sealed)
        self.assertRaises(InvalidSecret, Vault.passing().unseal, one, sealed)
        for place in range(len(sealed)):
            changed = bytearray(sealed)
            changed[place] ^= 1
            self.assertRaises(InvalidSecret, vault.unseal, one, bytes(changed))
        for length in range(len(sealed)):
            self.assertRaises(InvalidSecret, vault.unseal, one, sealed[:length])
