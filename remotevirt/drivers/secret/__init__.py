"""Secrets for any hypervisor: passwords of volumes, of Ceph and iSCSI, of TLS keys and virtual TPMs.

::

    RealSecrets.open(STATE, hub)                       below STATE/secrets: secrets.db, secrets-encryption-key
    secrets.value_of(uuid) -> bytes or None             for other drivers; clients never see private ones
    secrets.close()

A value is encrypted from the moment it is set: in memory, in the store, in copies of the store. Whoever has
the store without the key has no values.
"""

from __future__ import annotations

from remotevirt.drivers.secret.driver import RealSecrets
from remotevirt.drivers.secret.vault import Vault

__all__ = ["RealSecrets", "Vault"]
