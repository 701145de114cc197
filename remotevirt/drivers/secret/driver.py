"""The secret sub-driver.

Values come in the clear and go in the clear, over a link that the daemon answers for; in between they are
sealed (:mod:`remotevirt.drivers.secret.vault`), also those of ephemeral secrets. The value of a private
secret goes to other drivers only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.events import Event, EventHub
from remotevirt.drivers.faults import argument_must, check_flags
from remotevirt.drivers.secret.table import SecretRecord, SecretTable, open_table
from remotevirt.drivers.secret.vault import Vault
from remotevirt.drivers.tables import passes
from remotevirt.procedures import Kept
from remotevirt.store import SecretRow, Store
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import SecretDriver
from remotevirt.stubs.errors import InvalidSecret, NoSecret
from remotevirt.stubs.remote import NonnullSecret
from remotevirt.stubs.remote.event import SecretEventLifecycleMsg, SecretEventValueChangedMsg
from remotevirt.stubs.remote.secret import ConnectListAllSecretsRet
from remotevirt.xml.secret import format_secret, parse_secret
from remotevirt.xml.values import format_uuid

__all__ = ["RealSecrets"]

FOLDER: Final = "secrets"
"""Below the daemon's folder for what lasts."""

LIFE: Final = (c.VIR_CONNECT_LIST_SECRETS_EPHEMERAL, c.VIR_CONNECT_LIST_SECRETS_NO_EPHEMERAL)
PRIVACY: Final = (c.VIR_CONNECT_LIST_SECRETS_PRIVATE, c.VIR_CONNECT_LIST_SECRETS_NO_PRIVATE)
FILTERS: Final[int] = sum((*LIFE, *PRIVACY))
LIMIT: Final = "REMOTE_SECRET_LIST_MAX"


class SecretList(Kept, ConnectListAllSecretsRet):
    """A list whose encoding is kept as long as the list itself."""


class RealSecrets(SecretDriver):
    """Secrets, one object for all connections of a driver.

    Attributes:
        table: the secrets.
        vault: seals their values.
        hub: where events go.
    """

    def __init__(self, table: SecretTable, vault: Vault, hub: EventHub, store: Store | None = None) -> None:
        self.table = table
        self.vault = vault
        self.hub = hub
        self._store = store

    @classmethod
    def open(
        cls, state: str | None, hub: EventHub, environment: Mapping[str, str] = os.environ
    ) -> RealSecrets:
        """Open the secrets of a host.

        Args:
            state: the daemon's folder for what lasts; without one all secrets end with the process.
            hub: where events go.
            environment: names the folder of systemd's credentials, of which one may be the key.

        Raises:
            StoreError: the store cannot be opened.
            OSError: the folder cannot be made.
        """
        if state is None:
            return cls(SecretTable(), Vault.passing(), hub)
        folder = os.path.join(state, FOLDER)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        path = os.path.join(folder, "secrets.db")
        store = Store.open(path) if Store.exists(path) else Store.create(path, ())
        fresh = all(row.value is None for row in store.rows[SecretRow])
        table, journal = open_table(store, hub)
        vault = Vault.open(folder, fresh=fresh, environment=environment)
        return journal.guard(cls(table, vault, hub, store))

    def close(self) -> None:
        """Close the store; safe to call again."""
        if self._store is not None:
            self._store.close()

    def value_of(self, which: bytes | tuple[int, str]) -> bytes | None:
        """Return the value of a secret, a private one too: for other drivers, never for clients.

        Args:
            which: its UUID, or its usage: VIR_SECRET_USAGE_TYPE_* and the name of what it is for.

        Returns:
            The value; None if there is no such secret, or it has none.

        Raises:
            InvalidSecret: it cannot be decrypted.
        """
        record = self.table.by_uuid.get(which) if isinstance(which, bytes) else self.table.by_usage.get(which)
        if record is None or record.sealed is None:
            return None
        return self.vault.unseal(record.uuid, record.sealed)

    def _find(self, uuid: bytes) -> SecretRecord:
        record = self.table.by_uuid.get(uuid)
        if record is None:
            raise NoSecret(f"no secret with matching uuid '{format_uuid(uuid)}'", domain=c.VIR_FROM_SECRET)
        return record

    def _publish(self, record: SecretRecord, event: int) -> None:
        """Publish a lifecycle event."""
        msg = SecretEventLifecycleMsg(0, record.ref, event, 0)
        self.hub.publish(Event("secret", c.VIR_SECRET_EVENT_ID_LIFECYCLE, record.uuid, msg))

    def connect_num_of_secrets(self) -> int:
        """Return how many secrets there are."""
        return len(self.table)

    def connect_list_secrets(self, maxuuids: int) -> Sequence[str]:
        """Return the UUIDs of secrets, as texts."""
        return self.table.names(maxuuids, LIMIT, lambda record: True)

    def connect_list_all_secrets(self, need_results: int, flags: int) -> ConnectListAllSecretsRet:
        """Return the secrets that pass a filter."""
        found: SecretList = self.table.listing(flags, self._list)
        return found if need_results else ConnectListAllSecretsRet((), found.ret)

    def _list(self, flags: int) -> SecretList:
        check_flags(flags, FILTERS, "secretConnectListAllSecrets", c.VIR_FROM_SECRET)
        refs = tuple(
            [
                record.ref
                for record in self.table
                if passes(flags, (*LIFE, record.model.ephemeral), (*PRIVACY, record.model.private))
            ]
        )
        return SecretList(refs, len(refs))

    def secret_lookup_by_uuid(self, uuid: bytes) -> NonnullSecret:
        """Return the secret of a UUID."""
        return self._find(uuid).ref

    def secret_lookup_by_usage(self, usageType: int, usageID: str) -> NonnullSecret:
        """Return the secret for something."""
        record = self.table.by_usage.get((usageType, usageID))
        if record is None:
            raise NoSecret(f"no secret with matching usage '{usageID}'", domain=c.VIR_FROM_SECRET)
        return record.ref

    @in_steps
    def secret_define_xml(self, xml: str, flags: int) -> Steps[NonnullSecret]:
        """Define a secret; VIR_SECRET_DEFINE_VALIDATE checks the document more strictly first."""
        check_flags(flags, c.VIR_SECRET_DEFINE_VALIDATE, "secretDefineXML", c.VIR_FROM_SECRET)
        validate = bool(flags & c.VIR_SECRET_DEFINE_VALIDATE)
        model = yield Work(len(xml), parse_secret, xml, validate=validate)
        record = self.table.assign(model, len(xml))
        self._publish(record, c.VIR_SECRET_EVENT_DEFINED)
        return record.ref

    @in_steps
    def secret_get_xml_desc(self, secret: NonnullSecret, flags: int) -> Steps[str]:
        """Return a secret's document, in which its value is not."""
        check_flags(flags, 0, "secretGetXMLDesc", c.VIR_FROM_SECRET)
        record = self._find(secret.uuid)
        text: str = yield Work(record.size, format_secret, record.model)
        return text

    def secret_set_value(self, secret: NonnullSecret, value: bytes, flags: int) -> None:
        """Set a secret's value; it cannot be empty."""
        if not value:
            function = "virSecretSetValue"
            raise argument_must(function, "value", "not be NULL", c.VIR_FROM_SECRET)
        check_flags(flags, 0, "secretSetValue", c.VIR_FROM_SECRET)
        record = self._find(secret.uuid)
        sealed = self.vault.seal(record.uuid, value)
        self.table.touch(record)
        record.sealed = sealed
        msg = SecretEventValueChangedMsg(0, record.ref)
        self.hub.publish(Event("secret", c.VIR_SECRET_EVENT_ID_VALUE_CHANGED, record.uuid, msg))

    def secret_get_value(self, secret: NonnullSecret, flags: int) -> bytes:
        """Return the value of a secret that is not private."""
        check_flags(flags, 0, "secretGetValue", c.VIR_FROM_SECRET)
        record = self._find(secret.uuid)
        if record.model.private:
            raise InvalidSecret("secret is private", domain=c.VIR_FROM_SECRET)
        value = self.value_of(record.uuid)
        if value is None:
            raise NoSecret(f"secret '{record.name}' does not have a value", domain=c.VIR_FROM_SECRET)
        return value

    def secret_undefine(self, secret: NonnullSecret) -> None:
        """Forget a secret and its value."""
        record = self._find(secret.uuid)
        self.table.remove(record)
        self._publish(record, c.VIR_SECRET_EVENT_UNDEFINED)
