"""A driver with streams: each user has a pool of notes, and puts text in and takes it out again."""

from uuid import NAMESPACE_OID, uuid5

from zope.interface import implementer

from remotevirt.drivers import DriverConnection, DriverStream, IDriver, StreamResult
from remotevirt.stubs.drivers import StorageDriver
from remotevirt.stubs.errors import NoStoragePool, NoStorageVol, OperationFailed
from remotevirt.stubs.remote import NonnullStoragePool, NonnullStorageVol, StoragePoolListAllVolumesRet

POOL = NonnullStoragePool("notes", uuid5(NAMESPACE_OID, "notes").bytes)
LONGEST = 1 << 20


class Upload(DriverStream):
    """Takes a note. It is kept when all of it is here; if the client gives up, what was there stays."""

    writable = True

    def __init__(self, notes, name):
        self.notes, self.name, self.data = notes, name, b""

    def write(self, data):
        self.data += data
        if len(self.data) > LONGEST:
            raise OperationFailed(f"a note has at most {LONGEST} bytes")

    def finish(self):
        self.notes[self.name] = self.data


class Download(DriverStream):
    """Gives a note, piece by piece; an empty piece is the end."""

    readable = True

    def __init__(self, data):
        self.data = data

    def read(self, size):
        piece, self.data = self.data[:size], self.data[size:]
        return piece


class Storage(StorageDriver):
    """The pool of one user, and the notes in it."""

    def __init__(self, user, notes):
        self.user, self.notes = user, notes

    def find(self, name):
        if name not in self.notes:
            raise NoStorageVol(f"no note '{name}'")
        return NonnullStorageVol(POOL.name, name, f"{self.user}/{name}")

    def storage_pool_lookup_by_name(self, name):
        if name != POOL.name:
            raise NoStoragePool(f"no pool '{name}'")
        return POOL

    def storage_pool_is_active(self, pool):
        return 1

    def storage_pool_list_all_volumes(self, pool, need_results, flags):
        return StoragePoolListAllVolumesRet([self.find(name) for name in self.notes], len(self.notes))

    def storage_vol_lookup_by_name(self, pool, name):
        return self.find(name)

    def storage_vol_get_path(self, vol):
        return self.find(vol.name).key

    def storage_vol_upload(self, vol, offset, length, flags):
        self.find(vol.name)
        return StreamResult(Upload(self.notes, vol.name), None)

    def storage_vol_download(self, vol, offset, length, flags):
        self.find(vol.name)
        end = offset + length if length else LONGEST
        return StreamResult(Download(self.notes[vol.name][offset:end]), None)


@implementer(IDriver)
class Notes:
    """``--driver notes:Notes:names=NAME,NAME``"""

    name, schemes, default_uri = "notes", ("notes",), "notes:///"

    def __init__(self, names):
        self.names = names.split(",")
        self.users = {}

    def open(self, uri, client):
        who = client.identity
        user = who.sasl or who.dn or who.user or "anonymous"
        notes = self.users.setdefault(user, dict.fromkeys(self.names, b""))
        return DriverConnection(uri.text, storage=Storage(user, notes))
