# Generated from the fact tables in remotevirt/protocol by `make generate`: do not edit.
"""One exception class for each of libvirt's error codes.

``plain`` is the text of an error without detail, ``format`` the one that a detail is filled into.
See :class:`remotevirt.errors.VirError` for the arguments. ``VIR_ERR_OK`` is no error and has no
class.
"""

from __future__ import annotations

from typing import Final

from remotevirt.errors import VirError

__all__ = [
    "AccessDenied",
    "AgentCommandFailed",
    "AgentCommandTimeout",
    "AgentUnresponsive",
    "AgentUnsynced",
    "ArgumentUnsupported",
    "AuthCancelled",
    "AuthFailed",
    "AuthUnavailable",
    "BlockCopyActive",
    "BuildFirewall",
    "CallFailed",
    "CheckpointInconsistent",
    "ConfSyntax",
    "ConfigUnsupported",
    "CpuIncompatible",
    "DOMAIN_LABELS",
    "DbusService",
    "DeviceMissing",
    "DomExist",
    "DriverFull",
    "ERRORS",
    "GetFailed",
    "GnutlsError",
    "HookScriptFailed",
    "HttpError",
    "InternalError",
    "InvalidArg",
    "InvalidConn",
    "InvalidDomain",
    "InvalidDomainCheckpoint",
    "InvalidDomainSnapshot",
    "InvalidEncrKeySecret",
    "InvalidInterface",
    "InvalidMac",
    "InvalidNetwork",
    "InvalidNetworkPort",
    "InvalidNodeDevice",
    "InvalidNwfilter",
    "InvalidNwfilterBinding",
    "InvalidSecret",
    "InvalidStoragePool",
    "InvalidStorageVol",
    "InvalidStream",
    "Libssh",
    "MigrateFinishOk",
    "MigratePersistFailed",
    "MigrateUnsafe",
    "MultipleDomains",
    "MultipleInterfaces",
    "NetworkExist",
    "NetworkPortExist",
    "NoClient",
    "NoConnect",
    "NoDevice",
    "NoDomain",
    "NoDomainBackup",
    "NoDomainCheckpoint",
    "NoDomainMetadata",
    "NoDomainSnapshot",
    "NoHostname",
    "NoInterface",
    "NoKernel",
    "NoMemory",
    "NoName",
    "NoNetwork",
    "NoNetworkMetadata",
    "NoNetworkPort",
    "NoNodeDevice",
    "NoNwfilter",
    "NoNwfilterBinding",
    "NoOs",
    "NoRoot",
    "NoSecret",
    "NoSecurityModel",
    "NoServer",
    "NoSource",
    "NoStoragePool",
    "NoStorageVol",
    "NoSupport",
    "NoTarget",
    "NoXen",
    "NoXenstore",
    "OpenFailed",
    "OperationAborted",
    "OperationDenied",
    "OperationFailed",
    "OperationInvalid",
    "OperationTimeout",
    "OperationUnsupported",
    "OsType",
    "Overflow",
    "ParseFailed",
    "PostFailed",
    "ReadFailed",
    "ResourceBusy",
    "Rpc",
    "SexprSerial",
    "SnapshotRevertRisky",
    "Ssh",
    "StoragePoolBuilt",
    "StorageProbeFailed",
    "StorageVolExist",
    "UnknownHost",
    "VirSystemError",
    "WarNoInterface",
    "WarNoNetwork",
    "WarNoNode",
    "WarNoNwfilter",
    "WarNoSecret",
    "WarNoStorage",
    "WriteFailed",
    "XenCall",
    "XmlDetail",
    "XmlError",
    "XmlInvalidSchema",
    "error_class",
]


class InternalError(VirError):
    """VIR_ERR_INTERNAL_ERROR, number 1, since libvirt 0.1.0."""

    code = 1
    plain = "internal error"
    format = "internal error: %s"


class NoMemory(VirError):
    """VIR_ERR_NO_MEMORY, number 2, since libvirt 0.1.0."""

    code = 2
    plain = "out of memory"
    format = "out of memory: %s"


class NoSupport(VirError):
    """VIR_ERR_NO_SUPPORT, number 3, since libvirt 0.1.0."""

    code = 3
    plain = "this function is not supported by the connection driver"
    format = "this function is not supported by the connection driver: %s"


class UnknownHost(VirError):
    """VIR_ERR_UNKNOWN_HOST, number 4, since libvirt 0.1.0."""

    code = 4
    plain = "unknown host"
    format = "unknown host %s"


class NoConnect(VirError):
    """VIR_ERR_NO_CONNECT, number 5, since libvirt 0.1.0."""

    code = 5
    plain = "no connection driver available"
    format = "no connection driver available for %s"


class InvalidConn(VirError):
    """VIR_ERR_INVALID_CONN, number 6, since libvirt 0.1.0."""

    code = 6
    plain = "invalid connection pointer in"
    format = "invalid connection pointer in %s"


class InvalidDomain(VirError):
    """VIR_ERR_INVALID_DOMAIN, number 7, since libvirt 0.1.0."""

    code = 7
    plain = "invalid domain pointer in"
    format = "invalid domain pointer in %s"


class InvalidArg(VirError):
    """VIR_ERR_INVALID_ARG, number 8, since libvirt 0.1.0."""

    code = 8
    plain = "invalid argument"
    format = "invalid argument: %s"


class OperationFailed(VirError):
    """VIR_ERR_OPERATION_FAILED, number 9, since libvirt 0.1.0."""

    code = 9
    plain = "operation failed"
    format = "operation failed: %s"


class GetFailed(VirError):
    """VIR_ERR_GET_FAILED, number 10, since libvirt 0.1.0."""

    code = 10
    plain = "GET operation failed"
    format = "GET operation failed: %s"


class PostFailed(VirError):
    """VIR_ERR_POST_FAILED, number 11, since libvirt 0.1.0."""

    code = 11
    plain = "POST operation failed"
    format = "POST operation failed: %s"


class HttpError(VirError):
    """VIR_ERR_HTTP_ERROR, number 12, since libvirt 0.1.0."""

    code = 12
    plain = "got unknown HTTP error code"
    format = "got unknown HTTP error code %s"


class SexprSerial(VirError):
    """VIR_ERR_SEXPR_SERIAL, number 13, since libvirt 0.1.0."""

    code = 13
    plain = "failed to serialize S-Expr"
    format = "failed to serialize S-Expr: %s"


class NoXen(VirError):
    """VIR_ERR_NO_XEN, number 14, since libvirt 0.1.0."""

    code = 14
    plain = "could not use Xen hypervisor entry"
    format = "could not use Xen hypervisor entry %s"


class XenCall(VirError):
    """VIR_ERR_XEN_CALL, number 15, since libvirt 0.1.0."""

    code = 15
    plain = "failed Xen syscall"
    format = "failed Xen syscall %s"


class OsType(VirError):
    """VIR_ERR_OS_TYPE, number 16, since libvirt 0.1.0."""

    code = 16
    plain = "unknown OS type"
    format = "unknown OS type %s"


class NoKernel(VirError):
    """VIR_ERR_NO_KERNEL, number 17, since libvirt 0.1.0."""

    code = 17
    plain = "missing kernel information"
    format = "missing kernel information: %s"


class NoRoot(VirError):
    """VIR_ERR_NO_ROOT, number 18, since libvirt 0.1.0."""

    code = 18
    plain = "missing root device information"
    format = "missing root device information in %s"


class NoSource(VirError):
    """VIR_ERR_NO_SOURCE, number 19, since libvirt 0.1.0."""

    code = 19
    plain = "missing source information for device"
    format = "missing source information for device %s"


class NoTarget(VirError):
    """VIR_ERR_NO_TARGET, number 20, since libvirt 0.1.0."""

    code = 20
    plain = "missing target information for device"
    format = "missing target information for device %s"


class NoName(VirError):
    """VIR_ERR_NO_NAME, number 21, since libvirt 0.1.0."""

    code = 21
    plain = "missing name information"
    format = "missing name information in %s"


class NoOs(VirError):
    """VIR_ERR_NO_OS, number 22, since libvirt 0.1.0."""

    code = 22
    plain = "missing operating system information"
    format = "missing operating system information for %s"


class NoDevice(VirError):
    """VIR_ERR_NO_DEVICE, number 23, since libvirt 0.1.0."""

    code = 23
    plain = "missing devices information"
    format = "missing devices information for %s"


class NoXenstore(VirError):
    """VIR_ERR_NO_XENSTORE, number 24, since libvirt 0.1.0."""

    code = 24
    plain = "could not connect to Xen Store"
    format = "could not connect to Xen Store %s"


class DriverFull(VirError):
    """VIR_ERR_DRIVER_FULL, number 25, since libvirt 0.1.0."""

    code = 25
    plain = "too many drivers registered"
    format = "too many drivers registered in %s"


class CallFailed(VirError):
    """VIR_ERR_CALL_FAILED, number 26, since libvirt 0.1.0."""

    code = 26
    plain = "library call failed"
    format = "library call failed: %s"


class XmlError(VirError):
    """VIR_ERR_XML_ERROR, number 27, since libvirt 0.1.1."""

    code = 27
    plain = "XML description is invalid or not well formed"
    format = "XML error: %s"


class DomExist(VirError):
    """VIR_ERR_DOM_EXIST, number 28, since libvirt 0.1.1."""

    code = 28
    plain = "this domain exists already"
    format = "domain %s exists already"


class OperationDenied(VirError):
    """VIR_ERR_OPERATION_DENIED, number 29, since libvirt 0.1.4."""

    code = 29
    plain = "operation forbidden for read only access"
    format = "operation forbidden: %s"


class OpenFailed(VirError):
    """VIR_ERR_OPEN_FAILED, number 30, since libvirt 0.1.6."""

    code = 30
    plain = "failed to open configuration file"
    format = "failed to open configuration file %s"


class ReadFailed(VirError):
    """VIR_ERR_READ_FAILED, number 31, since libvirt 0.1.6."""

    code = 31
    plain = "failed to read configuration file"
    format = "failed to read configuration file %s"


class ParseFailed(VirError):
    """VIR_ERR_PARSE_FAILED, number 32, since libvirt 0.1.6."""

    code = 32
    plain = "failed to parse configuration file"
    format = "failed to parse configuration file %s"


class ConfSyntax(VirError):
    """VIR_ERR_CONF_SYNTAX, number 33, since libvirt 0.1.6."""

    code = 33
    plain = "configuration file syntax error"
    format = "configuration file syntax error: %s"


class WriteFailed(VirError):
    """VIR_ERR_WRITE_FAILED, number 34, since libvirt 0.1.6."""

    code = 34
    plain = "failed to write configuration file"
    format = "failed to write configuration file: %s"


class XmlDetail(VirError):
    """VIR_ERR_XML_DETAIL, number 35, since libvirt 0.1.9."""

    code = 35
    plain = "parser error"
    format = "%s"


class InvalidNetwork(VirError):
    """VIR_ERR_INVALID_NETWORK, number 36, since libvirt 0.2.0."""

    code = 36
    plain = "invalid network pointer in"
    format = "invalid network pointer in %s"


class NetworkExist(VirError):
    """VIR_ERR_NETWORK_EXIST, number 37, since libvirt 0.2.0."""

    code = 37
    plain = "this network exists already"
    format = "network %s exists already"


class VirSystemError(VirError):
    """VIR_ERR_SYSTEM_ERROR, number 38, since libvirt 0.2.1."""

    code = 38
    plain = "system call error"
    format = "%s"


class Rpc(VirError):
    """VIR_ERR_RPC, number 39, since libvirt 0.2.3."""

    code = 39
    plain = "RPC error"
    format = "%s"


class GnutlsError(VirError):
    """VIR_ERR_GNUTLS_ERROR, number 40, since libvirt 0.2.3."""

    code = 40
    plain = "GNUTLS call error"
    format = "%s"


class WarNoNetwork(VirError):
    """VIR_WAR_NO_NETWORK, number 41, since libvirt 0.2.3."""

    code = 41
    plain = "Failed to find the network"
    format = "Failed to find the network: %s"


class NoDomain(VirError):
    """VIR_ERR_NO_DOMAIN, number 42, since libvirt 0.3.0."""

    code = 42
    plain = "Domain not found"
    format = "Domain not found: %s"


class NoNetwork(VirError):
    """VIR_ERR_NO_NETWORK, number 43, since libvirt 0.3.0."""

    code = 43
    plain = "Network not found"
    format = "Network not found: %s"


class InvalidMac(VirError):
    """VIR_ERR_INVALID_MAC, number 44, since libvirt 0.3.1."""

    code = 44
    plain = "invalid MAC address"
    format = "invalid MAC address: %s"


class AuthFailed(VirError):
    """VIR_ERR_AUTH_FAILED, number 45, since libvirt 0.4.1."""

    code = 45
    plain = "authentication failed"
    format = "authentication failed: %s"


class InvalidStoragePool(VirError):
    """VIR_ERR_INVALID_STORAGE_POOL, number 46, since libvirt 0.4.1."""

    code = 46
    plain = "invalid storage pool pointer in"
    format = "invalid storage pool pointer in %s"


class InvalidStorageVol(VirError):
    """VIR_ERR_INVALID_STORAGE_VOL, number 47, since libvirt 0.4.1."""

    code = 47
    plain = "invalid storage volume pointer in"
    format = "invalid storage volume pointer in %s"


class WarNoStorage(VirError):
    """VIR_WAR_NO_STORAGE, number 48, since libvirt 0.4.1."""

    code = 48
    plain = "Failed to find a storage driver"
    format = "Failed to find a storage driver: %s"


class NoStoragePool(VirError):
    """VIR_ERR_NO_STORAGE_POOL, number 49, since libvirt 0.4.1."""

    code = 49
    plain = "Storage pool not found"
    format = "Storage pool not found: %s"


class NoStorageVol(VirError):
    """VIR_ERR_NO_STORAGE_VOL, number 50, since libvirt 0.4.1."""

    code = 50
    plain = "Storage volume not found"
    format = "Storage volume not found: %s"


class WarNoNode(VirError):
    """VIR_WAR_NO_NODE, number 51, since libvirt 0.5.0."""

    code = 51
    plain = "Failed to find a node driver"
    format = "Failed to find a node driver: %s"


class InvalidNodeDevice(VirError):
    """VIR_ERR_INVALID_NODE_DEVICE, number 52, since libvirt 0.5.0."""

    code = 52
    plain = "invalid node device pointer"
    format = "invalid node device pointer in %s"


class NoNodeDevice(VirError):
    """VIR_ERR_NO_NODE_DEVICE, number 53, since libvirt 0.5.0."""

    code = 53
    plain = "Node device not found"
    format = "Node device not found: %s"


class NoSecurityModel(VirError):
    """VIR_ERR_NO_SECURITY_MODEL, number 54, since libvirt 0.6.1."""

    code = 54
    plain = "Security model not found"
    format = "Security model not found: %s"


class OperationInvalid(VirError):
    """VIR_ERR_OPERATION_INVALID, number 55, since libvirt 0.6.4."""

    code = 55
    plain = "Requested operation is not valid"
    format = "Requested operation is not valid: %s"


class WarNoInterface(VirError):
    """VIR_WAR_NO_INTERFACE, number 56, since libvirt 0.6.4."""

    code = 56
    plain = "Failed to find the interface"
    format = "Failed to find the interface: %s"


class NoInterface(VirError):
    """VIR_ERR_NO_INTERFACE, number 57, since libvirt 0.6.4."""

    code = 57
    plain = "Interface not found"
    format = "Interface not found: %s"


class InvalidInterface(VirError):
    """VIR_ERR_INVALID_INTERFACE, number 58, since libvirt 0.6.4."""

    code = 58
    plain = "invalid interface pointer in"
    format = "invalid interface pointer in %s"


class MultipleInterfaces(VirError):
    """VIR_ERR_MULTIPLE_INTERFACES, number 59, since libvirt 0.7.0."""

    code = 59
    plain = "multiple matching interfaces found"
    format = "multiple matching interfaces found: %s"


class WarNoNwfilter(VirError):
    """VIR_WAR_NO_NWFILTER, number 60, since libvirt 0.8.0."""

    code = 60
    plain = "Failed to start the nwfilter driver"
    format = "Failed to start the nwfilter driver: %s"


class InvalidNwfilter(VirError):
    """VIR_ERR_INVALID_NWFILTER, number 61, since libvirt 0.8.0."""

    code = 61
    plain = "Invalid network filter"
    format = "Invalid network filter: %s"


class NoNwfilter(VirError):
    """VIR_ERR_NO_NWFILTER, number 62, since libvirt 0.8.0."""

    code = 62
    plain = "Network filter not found"
    format = "Network filter not found: %s"


class BuildFirewall(VirError):
    """VIR_ERR_BUILD_FIREWALL, number 63, since libvirt 0.8.0."""

    code = 63
    plain = "Error while building firewall"
    format = "Error while building firewall: %s"


class WarNoSecret(VirError):
    """VIR_WAR_NO_SECRET, number 64, since libvirt 0.7.1."""

    code = 64
    plain = "Failed to find a secret storage driver"
    format = "Failed to find a secret storage driver: %s"


class InvalidSecret(VirError):
    """VIR_ERR_INVALID_SECRET, number 65, since libvirt 0.7.1."""

    code = 65
    plain = "Invalid secret"
    format = "Invalid secret: %s"


class NoSecret(VirError):
    """VIR_ERR_NO_SECRET, number 66, since libvirt 0.7.1."""

    code = 66
    plain = "Secret not found"
    format = "Secret not found: %s"


class ConfigUnsupported(VirError):
    """VIR_ERR_CONFIG_UNSUPPORTED, number 67, since libvirt 0.7.3."""

    code = 67
    plain = "unsupported configuration"
    format = "unsupported configuration: %s"


class OperationTimeout(VirError):
    """VIR_ERR_OPERATION_TIMEOUT, number 68, since libvirt 0.7.3."""

    code = 68
    plain = "Timed out during operation"
    format = "Timed out during operation: %s"


class MigratePersistFailed(VirError):
    """VIR_ERR_MIGRATE_PERSIST_FAILED, number 69, since libvirt 0.7.3."""

    code = 69
    plain = "Failed to make domain persistent after migration"
    format = "Failed to make domain persistent after migration: %s"


class HookScriptFailed(VirError):
    """VIR_ERR_HOOK_SCRIPT_FAILED, number 70, since libvirt 0.8.0."""

    code = 70
    plain = "Hook script execution failed"
    format = "Hook script execution failed: %s"


class InvalidDomainSnapshot(VirError):
    """VIR_ERR_INVALID_DOMAIN_SNAPSHOT, number 71, since libvirt 0.8.0."""

    code = 71
    plain = "Invalid domain snapshot"
    format = "Invalid domain snapshot: %s"


class NoDomainSnapshot(VirError):
    """VIR_ERR_NO_DOMAIN_SNAPSHOT, number 72, since libvirt 0.8.0."""

    code = 72
    plain = "Domain snapshot not found"
    format = "Domain snapshot not found: %s"


class InvalidStream(VirError):
    """VIR_ERR_INVALID_STREAM, number 73, since libvirt 0.9.0."""

    code = 73
    plain = "invalid stream pointer"
    format = "invalid stream pointer in %s"


class ArgumentUnsupported(VirError):
    """VIR_ERR_ARGUMENT_UNSUPPORTED, number 74, since libvirt 0.9.4."""

    code = 74
    plain = "argument unsupported"
    format = "argument unsupported: %s"


class StorageProbeFailed(VirError):
    """VIR_ERR_STORAGE_PROBE_FAILED, number 75, since libvirt 0.9.5."""

    code = 75
    plain = "Storage pool probe failed"
    format = "Storage pool probe failed: %s"


class StoragePoolBuilt(VirError):
    """VIR_ERR_STORAGE_POOL_BUILT, number 76, since libvirt 0.9.5."""

    code = 76
    plain = "Storage pool already built"
    format = "Storage pool already built: %s"


class SnapshotRevertRisky(VirError):
    """VIR_ERR_SNAPSHOT_REVERT_RISKY, number 77, since libvirt 0.9.7."""

    code = 77
    plain = "revert requires force"
    format = "revert requires force: %s"


class OperationAborted(VirError):
    """VIR_ERR_OPERATION_ABORTED, number 78, since libvirt 0.9.9."""

    code = 78
    plain = "operation aborted"
    format = "operation aborted: %s"


class AuthCancelled(VirError):
    """VIR_ERR_AUTH_CANCELLED, number 79, since libvirt 0.9.10."""

    code = 79
    plain = "authentication cancelled"
    format = "authentication cancelled: %s"


class NoDomainMetadata(VirError):
    """VIR_ERR_NO_DOMAIN_METADATA, number 80, since libvirt 0.9.10."""

    code = 80
    plain = "metadata not found"
    format = "metadata not found: %s"


class MigrateUnsafe(VirError):
    """VIR_ERR_MIGRATE_UNSAFE, number 81, since libvirt 0.9.11."""

    code = 81
    plain = "Unsafe migration"
    format = "Unsafe migration: %s"


class Overflow(VirError):
    """VIR_ERR_OVERFLOW, number 82, since libvirt 0.9.11."""

    code = 82
    plain = "numerical overflow"
    format = "numerical overflow: %s"


class BlockCopyActive(VirError):
    """VIR_ERR_BLOCK_COPY_ACTIVE, number 83, since libvirt 0.9.12."""

    code = 83
    plain = "block copy still active"
    format = "block copy still active: %s"


class OperationUnsupported(VirError):
    """VIR_ERR_OPERATION_UNSUPPORTED, number 84, since libvirt 0.10.0."""

    code = 84
    plain = "Operation not supported"
    format = "Operation not supported: %s"


class Ssh(VirError):
    """VIR_ERR_SSH, number 85, since libvirt 0.10.0."""

    code = 85
    plain = "SSH transport error"
    format = "SSH transport error: %s"


class AgentUnresponsive(VirError):
    """VIR_ERR_AGENT_UNRESPONSIVE, number 86, since libvirt 0.10.0."""

    code = 86
    plain = "Guest agent is not responding"
    format = "Guest agent is not responding: %s"


class ResourceBusy(VirError):
    """VIR_ERR_RESOURCE_BUSY, number 87, since libvirt 1.0.0."""

    code = 87
    plain = "resource busy"
    format = "resource busy: %s"


class AccessDenied(VirError):
    """VIR_ERR_ACCESS_DENIED, number 88, since libvirt 1.1.0."""

    code = 88
    plain = "access denied"
    format = "access denied: %s"


class DbusService(VirError):
    """VIR_ERR_DBUS_SERVICE, number 89, since libvirt 1.1.1."""

    code = 89
    plain = "error from service"
    format = "error from service: %s"


class StorageVolExist(VirError):
    """VIR_ERR_STORAGE_VOL_EXIST, number 90, since libvirt 1.1.4."""

    code = 90
    plain = "this storage volume exists already"
    format = "storage volume %s exists already"


class CpuIncompatible(VirError):
    """VIR_ERR_CPU_INCOMPATIBLE, number 91, since libvirt 1.2.6."""

    code = 91
    plain = "the CPU is incompatible with host CPU"
    format = "the CPU is incompatible with host CPU: %s"


class XmlInvalidSchema(VirError):
    """VIR_ERR_XML_INVALID_SCHEMA, number 92, since libvirt 1.2.12."""

    code = 92
    plain = "XML document failed to validate against schema"
    format = "XML document failed to validate against schema: %s"


class MigrateFinishOk(VirError):
    """VIR_ERR_MIGRATE_FINISH_OK, number 93, since libvirt 1.2.18."""

    code = 93
    plain = "migration successfully aborted"
    format = "migration successfully aborted: %s"


class AuthUnavailable(VirError):
    """VIR_ERR_AUTH_UNAVAILABLE, number 94, since libvirt 1.3.3."""

    code = 94
    plain = "authentication unavailable"
    format = "authentication unavailable: %s"


class NoServer(VirError):
    """VIR_ERR_NO_SERVER, number 95, since libvirt 1.3.3."""

    code = 95
    plain = "Server not found"
    format = "Server not found: %s"


class NoClient(VirError):
    """VIR_ERR_NO_CLIENT, number 96, since libvirt 1.3.5."""

    code = 96
    plain = "Client not found"
    format = "Client not found: %s"


class AgentUnsynced(VirError):
    """VIR_ERR_AGENT_UNSYNCED, number 97, since libvirt 2.3.0."""

    code = 97
    plain = "guest agent replied with wrong id to guest-sync command"
    format = "guest agent replied with wrong id to guest-sync command: %s"


class Libssh(VirError):
    """VIR_ERR_LIBSSH, number 98, since libvirt 2.5.0."""

    code = 98
    plain = "libssh transport error"
    format = "libssh transport error: %s"


class DeviceMissing(VirError):
    """VIR_ERR_DEVICE_MISSING, number 99, since libvirt 4.1.0."""

    code = 99
    plain = "device not found"
    format = "device not found: %s"


class InvalidNwfilterBinding(VirError):
    """VIR_ERR_INVALID_NWFILTER_BINDING, number 100, since libvirt 4.5.0."""

    code = 100
    plain = "Invalid network filter binding"
    format = "Invalid network filter binding: %s"


class NoNwfilterBinding(VirError):
    """VIR_ERR_NO_NWFILTER_BINDING, number 101, since libvirt 4.5.0."""

    code = 101
    plain = "Network filter binding not found"
    format = "Network filter binding not found: %s"


class InvalidDomainCheckpoint(VirError):
    """VIR_ERR_INVALID_DOMAIN_CHECKPOINT, number 102, since libvirt 5.2.0."""

    code = 102
    plain = "Invalid domain checkpoint"
    format = "Invalid domain checkpoint: %s"


class NoDomainCheckpoint(VirError):
    """VIR_ERR_NO_DOMAIN_CHECKPOINT, number 103, since libvirt 5.2.0."""

    code = 103
    plain = "Domain checkpoint not found"
    format = "Domain checkpoint not found: %s"


class NoDomainBackup(VirError):
    """VIR_ERR_NO_DOMAIN_BACKUP, number 104, since libvirt 5.2.0."""

    code = 104
    plain = "Domain backup job id not found"
    format = "Domain backup job id not found: %s"


class InvalidNetworkPort(VirError):
    """VIR_ERR_INVALID_NETWORK_PORT, number 105, since libvirt 5.5.0."""

    code = 105
    plain = "Invalid network port pointer"
    format = "Invalid network port pointer: %s"


class NetworkPortExist(VirError):
    """VIR_ERR_NETWORK_PORT_EXIST, number 106, since libvirt 5.5.0."""

    code = 106
    plain = "this network port exists already"
    format = "network port %s exists already"


class NoNetworkPort(VirError):
    """VIR_ERR_NO_NETWORK_PORT, number 107, since libvirt 5.5.0."""

    code = 107
    plain = "network port not found"
    format = "network port not found: %s"


class NoHostname(VirError):
    """VIR_ERR_NO_HOSTNAME, number 108, since libvirt 6.1.0."""

    code = 108
    plain = "no hostname found"
    format = "no hostname found: %s"


class CheckpointInconsistent(VirError):
    """VIR_ERR_CHECKPOINT_INCONSISTENT, number 109, since libvirt 6.10.0."""

    code = 109
    plain = "checkpoint inconsistent"
    format = "checkpoint inconsistent: %s"


class MultipleDomains(VirError):
    """VIR_ERR_MULTIPLE_DOMAINS, number 110, since libvirt 7.1.0."""

    code = 110
    plain = "multiple matching domains found"
    format = "multiple matching domains found: %s"


class NoNetworkMetadata(VirError):
    """VIR_ERR_NO_NETWORK_METADATA, number 111, since libvirt 9.7.0."""

    code = 111
    plain = "metadata not found"
    format = "metadata not found: %s"


class AgentCommandTimeout(VirError):
    """VIR_ERR_AGENT_COMMAND_TIMEOUT, number 112, since libvirt 11.2.0."""

    code = 112
    plain = "guest agent command timed out"
    format = "guest agent command timed out: %s"


class AgentCommandFailed(VirError):
    """VIR_ERR_AGENT_COMMAND_FAILED, number 113, since libvirt 11.2.0."""

    code = 113
    plain = "guest agent command failed"
    format = "guest agent command failed: %s"


class InvalidEncrKeySecret(VirError):
    """VIR_ERR_INVALID_ENCR_KEY_SECRET, number 114, since libvirt 12.1.0."""

    code = 114
    plain = "Invalid encryption key for the secret"
    format = "Invalid encryption key for the secret: %s"


ERRORS: Final[dict[int, type[VirError]]] = {
    1: InternalError,
    2: NoMemory,
    3: NoSupport,
    4: UnknownHost,
    5: NoConnect,
    6: InvalidConn,
    7: InvalidDomain,
    8: InvalidArg,
    9: OperationFailed,
    10: GetFailed,
    11: PostFailed,
    12: HttpError,
    13: SexprSerial,
    14: NoXen,
    15: XenCall,
    16: OsType,
    17: NoKernel,
    18: NoRoot,
    19: NoSource,
    20: NoTarget,
    21: NoName,
    22: NoOs,
    23: NoDevice,
    24: NoXenstore,
    25: DriverFull,
    26: CallFailed,
    27: XmlError,
    28: DomExist,
    29: OperationDenied,
    30: OpenFailed,
    31: ReadFailed,
    32: ParseFailed,
    33: ConfSyntax,
    34: WriteFailed,
    35: XmlDetail,
    36: InvalidNetwork,
    37: NetworkExist,
    38: VirSystemError,
    39: Rpc,
    40: GnutlsError,
    41: WarNoNetwork,
    42: NoDomain,
    43: NoNetwork,
    44: InvalidMac,
    45: AuthFailed,
    46: InvalidStoragePool,
    47: InvalidStorageVol,
    48: WarNoStorage,
    49: NoStoragePool,
    50: NoStorageVol,
    51: WarNoNode,
    52: InvalidNodeDevice,
    53: NoNodeDevice,
    54: NoSecurityModel,
    55: OperationInvalid,
    56: WarNoInterface,
    57: NoInterface,
    58: InvalidInterface,
    59: MultipleInterfaces,
    60: WarNoNwfilter,
    61: InvalidNwfilter,
    62: NoNwfilter,
    63: BuildFirewall,
    64: WarNoSecret,
    65: InvalidSecret,
    66: NoSecret,
    67: ConfigUnsupported,
    68: OperationTimeout,
    69: MigratePersistFailed,
    70: HookScriptFailed,
    71: InvalidDomainSnapshot,
    72: NoDomainSnapshot,
    73: InvalidStream,
    74: ArgumentUnsupported,
    75: StorageProbeFailed,
    76: StoragePoolBuilt,
    77: SnapshotRevertRisky,
    78: OperationAborted,
    79: AuthCancelled,
    80: NoDomainMetadata,
    81: MigrateUnsafe,
    82: Overflow,
    83: BlockCopyActive,
    84: OperationUnsupported,
    85: Ssh,
    86: AgentUnresponsive,
    87: ResourceBusy,
    88: AccessDenied,
    89: DbusService,
    90: StorageVolExist,
    91: CpuIncompatible,
    92: XmlInvalidSchema,
    93: MigrateFinishOk,
    94: AuthUnavailable,
    95: NoServer,
    96: NoClient,
    97: AgentUnsynced,
    98: Libssh,
    99: DeviceMissing,
    100: InvalidNwfilterBinding,
    101: NoNwfilterBinding,
    102: InvalidDomainCheckpoint,
    103: NoDomainCheckpoint,
    104: NoDomainBackup,
    105: InvalidNetworkPort,
    106: NetworkPortExist,
    107: NoNetworkPort,
    108: NoHostname,
    109: CheckpointInconsistent,
    110: MultipleDomains,
    111: NoNetworkMetadata,
    112: AgentCommandTimeout,
    113: AgentCommandFailed,
    114: InvalidEncrKeySecret,
}
"""Error code -> its class."""

DOMAIN_LABELS: Final[dict[int, str]] = {
    0: "",  # VIR_FROM_NONE
    1: "Xen Driver",  # VIR_FROM_XEN
    2: "Xen Daemon",  # VIR_FROM_XEND
    3: "Xen Store",  # VIR_FROM_XENSTORE
    4: "S-Expression",  # VIR_FROM_SEXPR
    5: "XML Util",  # VIR_FROM_XML
    6: "Domain",  # VIR_FROM_DOM
    7: "XML-RPC",  # VIR_FROM_RPC
    8: "Proxy Daemon",  # VIR_FROM_PROXY
    9: "Config File",  # VIR_FROM_CONF
    10: "QEMU Driver",  # VIR_FROM_QEMU
    11: "Network",  # VIR_FROM_NET
    12: "Test Driver",  # VIR_FROM_TEST
    13: "Remote Driver",  # VIR_FROM_REMOTE
    14: "OpenVZ Driver",  # VIR_FROM_OPENVZ
    15: "Xen XM Driver",  # VIR_FROM_XENXM
    16: "Linux Statistics",  # VIR_FROM_STATS_LINUX
    17: "LXC Driver",  # VIR_FROM_LXC
    18: "Storage Driver",  # VIR_FROM_STORAGE
    19: "Network Driver",  # VIR_FROM_NETWORK
    20: "Domain Config",  # VIR_FROM_DOMAIN
    21: "User Mode Linux Driver",  # VIR_FROM_UML
    22: "Node Device Driver",  # VIR_FROM_NODEDEV
    23: "Xen Inotify Driver",  # VIR_FROM_XEN_INOTIFY
    24: "Security Driver",  # VIR_FROM_SECURITY
    25: "VirtualBox Driver",  # VIR_FROM_VBOX
    26: "Network Interface Driver",  # VIR_FROM_INTERFACE
    27: "Open Nebula Driver",  # VIR_FROM_ONE
    28: "ESX Driver",  # VIR_FROM_ESX
    29: "Power Hypervisor Driver",  # VIR_FROM_PHYP
    30: "Secrets Driver",  # VIR_FROM_SECRET
    31: "CPU Driver",  # VIR_FROM_CPU
    32: "XenAPI Driver",  # VIR_FROM_XENAPI
    33: "Network Filter Driver",  # VIR_FROM_NWFILTER
    34: "Lifecycle Hook",  # VIR_FROM_HOOK
    35: "Domain Snapshot",  # VIR_FROM_DOMAIN_SNAPSHOT
    36: "Audit Utils",  # VIR_FROM_AUDIT
    37: "Sysinfo Utils",  # VIR_FROM_SYSINFO
    38: "I/O Stream Utils",  # VIR_FROM_STREAMS
    39: "VMware Driver",  # VIR_FROM_VMWARE
    40: "Event Loop",  # VIR_FROM_EVENT
    41: "Xen Light Driver",  # VIR_FROM_LIBXL
    42: "Lock Driver",  # VIR_FROM_LOCKING
    43: "Hyper-V Driver",  # VIR_FROM_HYPERV
    44: "Capabilities Utils",  # VIR_FROM_CAPABILITIES
    45: "URI Utils",  # VIR_FROM_URI
    46: "Authentication Utils",  # VIR_FROM_AUTH
    47: "DBus Utils",  # VIR_FROM_DBUS
    48: "Parallels Cloud Server",  # VIR_FROM_PARALLELS
    49: "Device Config",  # VIR_FROM_DEVICE
    50: "SSH transport layer",  # VIR_FROM_SSH
    51: "Lock Space",  # VIR_FROM_LOCKSPACE
    52: "Init control",  # VIR_FROM_INITCTL
    53: "Identity",  # VIR_FROM_IDENTITY
    54: "Cgroup",  # VIR_FROM_CGROUP
    55: "Access Manager",  # VIR_FROM_ACCESS
    56: "Systemd",  # VIR_FROM_SYSTEMD
    57: "Bhyve",  # VIR_FROM_BHYVE
    58: "Crypto",  # VIR_FROM_CRYPTO
    59: "Firewall",  # VIR_FROM_FIREWALL
    60: "Polkit",  # VIR_FROM_POLKIT
    61: "Thread jobs",  # VIR_FROM_THREAD
    62: "Admin Interface",  # VIR_FROM_ADMIN
    63: "Log Manager",  # VIR_FROM_LOGGING
    64: "Xen XL Config",  # VIR_FROM_XENXL
    65: "Perf",  # VIR_FROM_PERF
    66: "Libssh transport layer",  # VIR_FROM_LIBSSH
    67: "Resource control",  # VIR_FROM_RESCTRL
    68: "FirewallD",  # VIR_FROM_FIREWALLD
    69: "Domain Checkpoint",  # VIR_FROM_DOMAIN_CHECKPOINT
    70: "TPM",  # VIR_FROM_TPM
    71: "BPF",  # VIR_FROM_BPF
    72: "Cloud-Hypervisor Driver",  # VIR_FROM_CH
}
"""Error domain -> how libvirt calls that part of itself in logs."""


def error_class(code: int) -> type[VirError]:
    """The class of an error code; :class:`VirError` for a code that this table does not know."""
    return ERRORS.get(code, VirError)
