"""The storage calls that are about pools."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.events import EventHub
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.pools.calls import PoolReading
from remotevirt.drivers.pools.events import pool_lifecycle, pool_refresh
from remotevirt.drivers.test.pools import PoolRecord, PoolTable
from remotevirt.drivers.test.vports import VportMaker
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, InvalidArg, NoSupport, OperationInvalid
from remotevirt.stubs.remote import NonnullStoragePool
from remotevirt.xml.storage_pool import format_pool, parse_pool, parse_pool_source

__all__ = ["PoolCalls"]

LOGICAL_SOURCES: Final = """\
<sources>
  <source>
    <device path='/dev/sda20'/>
    <name>testvg1</name>
    <format type='lvm2'/>
  </source>
  <source>
    <device path='/dev/sda21'/>
    <name>testvg2</name>
    <format type='lvm2'/>
  </source>
</sources>
"""
NETFS_SOURCES: Final = """\
<sources>
  <source>
    <host name='{host}'/>
    <dir path='/testshare'/>
    <format type='nfs'/>
  </source>
</sources>
"""


class PoolCalls(PoolReading):
    """What pretends to change pools.

    Attributes:
        pools: what they work on.
        hub: where events go.
        vports: makes and unmakes the devices of pools on virtual adapters.
    """

    ERRORS = c.VIR_FROM_TEST
    FUNCTION = "test"
    pools: PoolTable

    def __init__(self, pools: PoolTable, hub: EventHub, vports: VportMaker) -> None:
        self.pools = pools
        self.hub = hub
        self.vports = vports

    def in_state(self, name: str, *, active: bool) -> PoolRecord:
        """Return the pool of a name, which must be active, or must not.

        Raises:
            NoStoragePool: it is not there.
            OperationInvalid: it is in the other state.
        """
        pool: PoolRecord = self.named(name)
        if pool.active != active:
            state = "is active" if pool.active else "is not active"
            raise OperationInvalid(f"storage pool '{pool.name}' {state}", domain=c.VIR_FROM_TEST)
        return pool

    def _publish(self, pool: PoolRecord, event: int) -> None:
        self.hub.publish(pool_lifecycle(pool.ref, event))

    @in_steps
    def connect_find_storage_pool_sources(self, type: str, srcSpec: str | None, flags: int) -> Steps[str]:
        """Return what there would be to make pools of, of the two types that have an answer ready."""
        check_flags(flags, 0, "testConnectFindStoragePoolSources")
        if type == "dir":
            raise InternalError(f"unknown storage pool type {type}", domain=c.VIR_FROM_TEST)
        source = (yield Work(len(srcSpec), parse_pool_source, srcSpec, type)) if srcSpec is not None else None
        if type == "logical":
            return LOGICAL_SOURCES
        if type == "netfs":
            if source is None or not source.hosts:
                text = "hostname must be specified for netfs sources"
                raise InvalidArg(text, domain=c.VIR_FROM_TEST)
            return NETFS_SOURCES.format(host=source.hosts[0].name)
        raise NoSupport(f"pool type '{type}' does not support source discovery", domain=c.VIR_FROM_TEST)

    @in_steps
    def storage_pool_get_xml_desc(self, pool: NonnullStoragePool, flags: int) -> Steps[str]:
        """Return a pool's document."""
        check_flags(flags, 0, "testStoragePoolGetXMLDesc")
        found = self.named(pool.name)
        text: str = yield Work(found.size, format_pool, found.model)
        return text

    def storage_pool_set_autostart(self, pool: NonnullStoragePool, autostart: int) -> None:
        """Set whether a persistent pool starts with its host."""
        found = self.named(pool.name)
        if not found.persistent:
            raise InvalidArg("pool has no config file", domain=c.VIR_FROM_TEST)
        self.pools.touch(found)
        found.autostart = bool(autostart)
        self.pools.changed()

    @in_steps
    def storage_pool_define_xml(self, xml: str, flags: int) -> Steps[NonnullStoragePool]:
        """Define a pool, or give one a newer definition; it looks empty from then on."""
        check_flags(flags, c.VIR_STORAGE_POOL_DEFINE_VALIDATE, "testStoragePoolDefineXML")
        validate = bool(flags & c.VIR_STORAGE_POOL_DEFINE_VALIDATE)
        model = yield Work(len(xml), parse_pool, xml, validate=validate)
        pool = self.pools.assign(model, len(xml), live=False)
        pool.persistent = True
        self.pools.changed()
        self._publish(pool, c.VIR_STORAGE_POOL_EVENT_DEFINED)
        return pool.ref

    @in_steps
    def storage_pool_create_xml(self, xml: str, flags: int) -> Steps[NonnullStoragePool]:
        """Start a pool from a document; it is transient, even if it was not before."""
        check_flags(flags, 0, "testStoragePoolCreateXML")
        model = yield Work(len(xml), parse_pool, xml)
        pool = self.pools.assign(model, len(xml), live=True)
        pool.persistent = pool.autostart = False
        try:
            self.vports.make(pool.model)
        except Exception:
            self.pools.remove(pool)
            raise
        self._start(pool)
        return pool.ref

    def storage_pool_create(self, pool: NonnullStoragePool, flags: int) -> None:
        """Start an inactive pool."""
        check_flags(flags, 0, "testStoragePoolCreate")
        self._start(self.in_state(pool.name, active=False))

    def _start(self, pool: PoolRecord) -> None:
        self.pools.touch(pool)
        pool.active = True
        self.pools.changed()
        self._publish(pool, c.VIR_STORAGE_POOL_EVENT_STARTED)

    def storage_pool_destroy(self, pool: NonnullStoragePool) -> None:
        """Stop an active pool; a transient one is gone afterwards."""
        found = self.in_state(pool.name, active=True)
        self.pools.touch(found)
        found.active = False
        self.pools.changed()
        self.vports.unmake(found.model)
        if not found.persistent:
            self.pools.remove(found)
        self._publish(found, c.VIR_STORAGE_POOL_EVENT_STOPPED)

    def storage_pool_undefine(self, pool: NonnullStoragePool) -> None:
        """Forget an inactive pool."""
        found = self.in_state(pool.name, active=False)
        self.pools.remove(found)
        self._publish(found, c.VIR_STORAGE_POOL_EVENT_UNDEFINED)

    def storage_pool_build(self, pool: NonnullStoragePool, flags: int) -> None:
        """Pretend to make what an inactive pool stands on."""
        check_flags(flags, 0, "testStoragePoolBuild")
        self._publish(self.in_state(pool.name, active=False), c.VIR_STORAGE_POOL_EVENT_CREATED)

    def storage_pool_delete(self, pool: NonnullStoragePool, flags: int) -> None:
        """Pretend to delete what an inactive pool stands on."""
        check_flags(flags, 0, "testStoragePoolDelete")
        self._publish(self.in_state(pool.name, active=False), c.VIR_STORAGE_POOL_EVENT_DELETED)

    def storage_pool_refresh(self, pool: NonnullStoragePool, flags: int) -> None:
        """Pretend to look again at what an active pool holds."""
        check_flags(flags, 0, "testStoragePoolRefresh")
        self.hub.publish(pool_refresh(self.in_state(pool.name, active=True).ref))
