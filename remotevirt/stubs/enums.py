# Generated from the fact tables in remotevirt/protocol by `make generate`: do not edit.
"""libvirt's public enumerations as Python enums.

``DomainState(1).name`` is ``VIR_DOMAIN_RUNNING``. Values that exclude each other are ``IntEnum``,
bits that are combined ``IntFlag``; equal values within one class are aliases. This module is for
people (logs, tools, tests): code on the way of a message uses the plain numbers of
:mod:`remotevirt.stubs.constants`, which are quicker to import and to compare.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = [
    "AdmConnectDaemonShutdownFlags",
    "BlkioParameterType",
    "CPUCompareResult",
    "ClientTransport",
    "ConnectBaselineCPUFlags",
    "ConnectCloseReason",
    "ConnectCompareCPUFlags",
    "ConnectCredentialType",
    "ConnectDomainEventAgentLifecycleReason",
    "ConnectDomainEventAgentLifecycleState",
    "ConnectDomainEventBlockJobStatus",
    "ConnectDomainEventChannelLifecycleReason",
    "ConnectDomainEventChannelLifecycleState",
    "ConnectDomainEventDiskChangeReason",
    "ConnectDomainQemuMonitorEventRegisterFlags",
    "ConnectFlags",
    "ConnectGetAllDomainStatsFlags",
    "ConnectGetDomainCapabilitiesFlags",
    "ConnectListAllDomainsFlags",
    "ConnectListAllInterfacesFlags",
    "ConnectListAllNetworksFlags",
    "ConnectListAllNodeDeviceFlags",
    "ConnectListAllSecretsFlags",
    "ConnectListAllStoragePoolsFlags",
    "DomainAbortJobFlagsValues",
    "DomainAgentResponseTimeoutValues",
    "DomainAuthorizedSSHKeysSetFlags",
    "DomainBackupBeginFlags",
    "DomainBlockCommitFlags",
    "DomainBlockCopyFlags",
    "DomainBlockJobAbortFlags",
    "DomainBlockJobInfoFlags",
    "DomainBlockJobSetSpeedFlags",
    "DomainBlockJobType",
    "DomainBlockPullFlags",
    "DomainBlockRebaseFlags",
    "DomainBlockResizeFlags",
    "DomainBlockedReason",
    "DomainChannelFlags",
    "DomainCheckpointCreateFlags",
    "DomainCheckpointDeleteFlags",
    "DomainCheckpointListFlags",
    "DomainCheckpointXMLFlags",
    "DomainConsoleFlags",
    "DomainControlErrorReason",
    "DomainControlState",
    "DomainCoreDumpFlags",
    "DomainCoreDumpFormat",
    "DomainCrashedReason",
    "DomainCreateFlags",
    "DomainDefineFlags",
    "DomainDestroyFlagsValues",
    "DomainDeviceModifyFlags",
    "DomainDirtyRateCalcFlags",
    "DomainDirtyRateStatus",
    "DomainDiskErrorCode",
    "DomainEventCrashedDetailType",
    "DomainEventDefinedDetailType",
    "DomainEventGraphicsAddressType",
    "DomainEventGraphicsPhase",
    "DomainEventID",
    "DomainEventIOErrorAction",
    "DomainEventPMSuspendedDetailType",
    "DomainEventResumedDetailType",
    "DomainEventShutdownDetailType",
    "DomainEventStartedDetailType",
    "DomainEventStoppedDetailType",
    "DomainEventSuspendedDetailType",
    "DomainEventTrayChangeReason",
    "DomainEventType",
    "DomainEventUndefinedDetailType",
    "DomainEventWatchdogAction",
    "DomainFDAssociateFlags",
    "DomainGetHostnameFlags",
    "DomainGetJobStatsFlags",
    "DomainGraphicsReloadType",
    "DomainGuestInfoTypes",
    "DomainInterfaceAddressesSource",
    "DomainJobOperation",
    "DomainJobType",
    "DomainLifecycle",
    "DomainLifecycleAction",
    "DomainMemoryFailureActionType",
    "DomainMemoryFailureFlags",
    "DomainMemoryFailureRecipientType",
    "DomainMemoryFlags",
    "DomainMemoryModFlags",
    "DomainMemoryStatTags",
    "DomainMessageType",
    "DomainMetadataType",
    "DomainMigrateFlags",
    "DomainMigrateMaxSpeedFlags",
    "DomainModificationImpact",
    "DomainNostateReason",
    "DomainNumatuneMemMode",
    "DomainOpenGraphicsFlags",
    "DomainPMSuspendedDiskReason",
    "DomainPMSuspendedReason",
    "DomainPausedReason",
    "DomainProcessSignal",
    "DomainQemuAgentCommandTimeoutValues",
    "DomainQemuMonitorCommandFlags",
    "DomainRebootFlagValues",
    "DomainRunningReason",
    "DomainSaveImageXMLFlags",
    "DomainSaveRestoreFlags",
    "DomainSetTimeFlags",
    "DomainSetUserPasswordFlags",
    "DomainSetVcpuFlags",
    "DomainShutdownFlagValues",
    "DomainShutdownReason",
    "DomainShutoffReason",
    "DomainSnapshotCreateFlags",
    "DomainSnapshotDeleteFlags",
    "DomainSnapshotListFlags",
    "DomainSnapshotRevertFlags",
    "DomainSnapshotXMLFlags",
    "DomainState",
    "DomainStatsTypes",
    "DomainUndefineFlagsValues",
    "DomainVcpuFlags",
    "DomainXMLFlags",
    "DriverFeature",
    "ErrorDomain",
    "ErrorLevel",
    "ErrorNumber",
    "EventHandleType",
    "IPAddrType",
    "InterfaceDefineFlags",
    "InterfaceXMLFlags",
    "KeycodeSet",
    "MemoryParameterType",
    "NWFilterBindingCreateFlags",
    "NWFilterDefineFlags",
    "NetworkCreateFlags",
    "NetworkDefineFlags",
    "NetworkEventID",
    "NetworkEventLifecycleType",
    "NetworkMetadataType",
    "NetworkPortCreateFlags",
    "NetworkUpdateCommand",
    "NetworkUpdateFlags",
    "NetworkUpdateSection",
    "NetworkXMLFlags",
    "NodeAllocPagesFlags",
    "NodeDeviceCreateXMLFlags",
    "NodeDeviceDefineXMLFlags",
    "NodeDeviceEventID",
    "NodeDeviceEventLifecycleType",
    "NodeDeviceUpdateFlags",
    "NodeDeviceXMLFlags",
    "NodeGetCPUStatsAllCPUs",
    "NodeGetMemoryStatsAllCells",
    "NodeSuspendTarget",
    "SchedParameterType",
    "SecretDefineFlags",
    "SecretEventID",
    "SecretEventLifecycleType",
    "SecretUsageType",
    "StoragePoolBuildFlags",
    "StoragePoolCreateFlags",
    "StoragePoolDefineFlags",
    "StoragePoolDeleteFlags",
    "StoragePoolEventID",
    "StoragePoolEventLifecycleType",
    "StoragePoolState",
    "StorageVolCreateFlags",
    "StorageVolDeleteFlags",
    "StorageVolDownloadFlags",
    "StorageVolInfoFlags",
    "StorageVolResizeFlags",
    "StorageVolType",
    "StorageVolUploadFlags",
    "StorageVolWipeAlgorithm",
    "StorageXMLFlags",
    "StreamEventType",
    "StreamFlags",
    "StreamRecvFlagsValues",
    "TypedParameterFlags",
    "TypedParameterType",
    "VcpuHostCpuState",
    "VcpuState",
]


class ConnectCloseReason(IntEnum):
    """Values of virConnectCloseReason."""

    VIR_CONNECT_CLOSE_REASON_ERROR = 0
    VIR_CONNECT_CLOSE_REASON_EOF = 1
    VIR_CONNECT_CLOSE_REASON_KEEPALIVE = 2
    VIR_CONNECT_CLOSE_REASON_CLIENT = 3


class TypedParameterType(IntEnum):
    """Values of virTypedParameterType."""

    VIR_TYPED_PARAM_INT = 1
    VIR_TYPED_PARAM_UINT = 2
    VIR_TYPED_PARAM_LLONG = 3
    VIR_TYPED_PARAM_ULLONG = 4
    VIR_TYPED_PARAM_DOUBLE = 5
    VIR_TYPED_PARAM_BOOLEAN = 6
    VIR_TYPED_PARAM_STRING = 7


class TypedParameterFlags(IntFlag):
    """Bits of virTypedParameterFlags."""

    VIR_TYPED_PARAM_STRING_OKAY = 4


class NodeSuspendTarget(IntEnum):
    """Values of virNodeSuspendTarget."""

    VIR_NODE_SUSPEND_TARGET_MEM = 0
    VIR_NODE_SUSPEND_TARGET_DISK = 1
    VIR_NODE_SUSPEND_TARGET_HYBRID = 2


class NodeGetCPUStatsAllCPUs(IntEnum):
    """Values of virNodeGetCPUStatsAllCPUs."""

    VIR_NODE_CPU_STATS_ALL_CPUS = -1


class NodeGetMemoryStatsAllCells(IntEnum):
    """Values of virNodeGetMemoryStatsAllCells."""

    VIR_NODE_MEMORY_STATS_ALL_CELLS = -1


class ConnectFlags(IntFlag):
    """Bits of virConnectFlags."""

    VIR_CONNECT_RO = 1
    VIR_CONNECT_NO_ALIASES = 2


class ConnectCredentialType(IntEnum):
    """Values of virConnectCredentialType."""

    VIR_CRED_USERNAME = 1
    VIR_CRED_AUTHNAME = 2
    VIR_CRED_LANGUAGE = 3
    VIR_CRED_CNONCE = 4
    VIR_CRED_PASSPHRASE = 5
    VIR_CRED_ECHOPROMPT = 6
    VIR_CRED_NOECHOPROMPT = 7
    VIR_CRED_REALM = 8
    VIR_CRED_EXTERNAL = 9


class CPUCompareResult(IntEnum):
    """Values of virCPUCompareResult."""

    VIR_CPU_COMPARE_ERROR = -1
    VIR_CPU_COMPARE_INCOMPATIBLE = 0
    VIR_CPU_COMPARE_IDENTICAL = 1
    VIR_CPU_COMPARE_SUPERSET = 2


class ConnectCompareCPUFlags(IntFlag):
    """Bits of virConnectCompareCPUFlags."""

    VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE = 1
    VIR_CONNECT_COMPARE_CPU_VALIDATE_XML = 2


class ConnectBaselineCPUFlags(IntFlag):
    """Bits of virConnectBaselineCPUFlags."""

    VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES = 1
    VIR_CONNECT_BASELINE_CPU_MIGRATABLE = 2
    VIR_CONNECT_BASELINE_CPU_IGNORE_HOST = 4


class NodeAllocPagesFlags(IntFlag):
    """Bits of virNodeAllocPagesFlags."""

    VIR_NODE_ALLOC_PAGES_ADD = 0
    VIR_NODE_ALLOC_PAGES_SET = 1


class DomainState(IntEnum):
    """Values of virDomainState."""

    VIR_DOMAIN_NOSTATE = 0
    VIR_DOMAIN_RUNNING = 1
    VIR_DOMAIN_BLOCKED = 2
    VIR_DOMAIN_PAUSED = 3
    VIR_DOMAIN_SHUTDOWN = 4
    VIR_DOMAIN_SHUTOFF = 5
    VIR_DOMAIN_CRASHED = 6
    VIR_DOMAIN_PMSUSPENDED = 7


class DomainNostateReason(IntEnum):
    """Values of virDomainNostateReason."""

    VIR_DOMAIN_NOSTATE_UNKNOWN = 0


class DomainRunningReason(IntEnum):
    """Values of virDomainRunningReason."""

    VIR_DOMAIN_RUNNING_UNKNOWN = 0
    VIR_DOMAIN_RUNNING_BOOTED = 1
    VIR_DOMAIN_RUNNING_MIGRATED = 2
    VIR_DOMAIN_RUNNING_RESTORED = 3
    VIR_DOMAIN_RUNNING_FROM_SNAPSHOT = 4
    VIR_DOMAIN_RUNNING_UNPAUSED = 5
    VIR_DOMAIN_RUNNING_MIGRATION_CANCELED = 6
    VIR_DOMAIN_RUNNING_SAVE_CANCELED = 7
    VIR_DOMAIN_RUNNING_WAKEUP = 8
    VIR_DOMAIN_RUNNING_CRASHED = 9
    VIR_DOMAIN_RUNNING_POSTCOPY = 10
    VIR_DOMAIN_RUNNING_POSTCOPY_FAILED = 11


class DomainBlockedReason(IntEnum):
    """Values of virDomainBlockedReason."""

    VIR_DOMAIN_BLOCKED_UNKNOWN = 0


class DomainPausedReason(IntEnum):
    """Values of virDomainPausedReason."""

    VIR_DOMAIN_PAUSED_UNKNOWN = 0
    VIR_DOMAIN_PAUSED_USER = 1
    VIR_DOMAIN_PAUSED_MIGRATION = 2
    VIR_DOMAIN_PAUSED_SAVE = 3
    VIR_DOMAIN_PAUSED_DUMP = 4
    VIR_DOMAIN_PAUSED_IOERROR = 5
    VIR_DOMAIN_PAUSED_WATCHDOG = 6
    VIR_DOMAIN_PAUSED_FROM_SNAPSHOT = 7
    VIR_DOMAIN_PAUSED_SHUTTING_DOWN = 8
    VIR_DOMAIN_PAUSED_SNAPSHOT = 9
    VIR_DOMAIN_PAUSED_CRASHED = 10
    VIR_DOMAIN_PAUSED_STARTING_UP = 11
    VIR_DOMAIN_PAUSED_POSTCOPY = 12
    VIR_DOMAIN_PAUSED_POSTCOPY_FAILED = 13
    VIR_DOMAIN_PAUSED_API_ERROR = 14


class DomainShutdownReason(IntEnum):
    """Values of virDomainShutdownReason."""

    VIR_DOMAIN_SHUTDOWN_UNKNOWN = 0
    VIR_DOMAIN_SHUTDOWN_USER = 1


class DomainShutoffReason(IntEnum):
    """Values of virDomainShutoffReason."""

    VIR_DOMAIN_SHUTOFF_UNKNOWN = 0
    VIR_DOMAIN_SHUTOFF_SHUTDOWN = 1
    VIR_DOMAIN_SHUTOFF_DESTROYED = 2
    VIR_DOMAIN_SHUTOFF_CRASHED = 3
    VIR_DOMAIN_SHUTOFF_MIGRATED = 4
    VIR_DOMAIN_SHUTOFF_SAVED = 5
    VIR_DOMAIN_SHUTOFF_FAILED = 6
    VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT = 7
    VIR_DOMAIN_SHUTOFF_DAEMON = 8


class DomainCrashedReason(IntEnum):
    """Values of virDomainCrashedReason."""

    VIR_DOMAIN_CRASHED_UNKNOWN = 0
    VIR_DOMAIN_CRASHED_PANICKED = 1


class DomainPMSuspendedReason(IntEnum):
    """Values of virDomainPMSuspendedReason."""

    VIR_DOMAIN_PMSUSPENDED_UNKNOWN = 0


class DomainPMSuspendedDiskReason(IntEnum):
    """Values of virDomainPMSuspendedDiskReason."""

    VIR_DOMAIN_PMSUSPENDED_DISK_UNKNOWN = 0


class DomainControlState(IntEnum):
    """Values of virDomainControlState."""

    VIR_DOMAIN_CONTROL_OK = 0
    VIR_DOMAIN_CONTROL_JOB = 1
    VIR_DOMAIN_CONTROL_OCCUPIED = 2
    VIR_DOMAIN_CONTROL_ERROR = 3


class DomainControlErrorReason(IntEnum):
    """Values of virDomainControlErrorReason."""

    VIR_DOMAIN_CONTROL_ERROR_REASON_NONE = 0
    VIR_DOMAIN_CONTROL_ERROR_REASON_UNKNOWN = 1
    VIR_DOMAIN_CONTROL_ERROR_REASON_MONITOR = 2
    VIR_DOMAIN_CONTROL_ERROR_REASON_INTERNAL = 3


class DomainModificationImpact(IntFlag):
    """Bits of virDomainModificationImpact."""

    VIR_DOMAIN_AFFECT_CURRENT = 0
    VIR_DOMAIN_AFFECT_LIVE = 1
    VIR_DOMAIN_AFFECT_CONFIG = 2


class DomainSetVcpuFlags(IntFlag):
    """Bits of virDomainSetVcpuFlags."""

    VIR_DOMAIN_SETVCPU_AFFECT_CURRENT = 0
    VIR_DOMAIN_SETVCPU_AFFECT_LIVE = 1
    VIR_DOMAIN_SETVCPU_AFFECT_CONFIG = 2
    VIR_DOMAIN_SETVCPU_ASYNC_UNPLUG = 4


class DomainCreateFlags(IntFlag):
    """Bits of virDomainCreateFlags."""

    VIR_DOMAIN_NONE = 0
    VIR_DOMAIN_START_PAUSED = 1
    VIR_DOMAIN_START_AUTODESTROY = 2
    VIR_DOMAIN_START_BYPASS_CACHE = 4
    VIR_DOMAIN_START_FORCE_BOOT = 8
    VIR_DOMAIN_START_VALIDATE = 16
    VIR_DOMAIN_START_RESET_NVRAM = 32


class DomainMemoryStatTags(IntEnum):
    """Values of virDomainMemoryStatTags."""

    VIR_DOMAIN_MEMORY_STAT_SWAP_IN = 0
    VIR_DOMAIN_MEMORY_STAT_SWAP_OUT = 1
    VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT = 2
    VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT = 3
    VIR_DOMAIN_MEMORY_STAT_UNUSED = 4
    VIR_DOMAIN_MEMORY_STAT_AVAILABLE = 5
    VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON = 6
    VIR_DOMAIN_MEMORY_STAT_RSS = 7
    VIR_DOMAIN_MEMORY_STAT_USABLE = 8
    VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE = 9
    VIR_DOMAIN_MEMORY_STAT_DISK_CACHES = 10
    VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGALLOC = 11
    VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGFAIL = 12
    VIR_DOMAIN_MEMORY_STAT_NR = 13


class DomainCoreDumpFlags(IntFlag):
    """Bits of virDomainCoreDumpFlags."""

    VIR_DUMP_CRASH = 1
    VIR_DUMP_LIVE = 2
    VIR_DUMP_BYPASS_CACHE = 4
    VIR_DUMP_RESET = 8
    VIR_DUMP_MEMORY_ONLY = 16


class DomainCoreDumpFormat(IntEnum):
    """Values of virDomainCoreDumpFormat."""

    VIR_DOMAIN_CORE_DUMP_FORMAT_RAW = 0
    VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_ZLIB = 1
    VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_LZO = 2
    VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_SNAPPY = 3
    VIR_DOMAIN_CORE_DUMP_FORMAT_WIN_DMP = 4


class DomainMigrateFlags(IntFlag):
    """Bits of virDomainMigrateFlags."""

    VIR_MIGRATE_LIVE = 1
    VIR_MIGRATE_PEER2PEER = 2
    VIR_MIGRATE_TUNNELLED = 4
    VIR_MIGRATE_PERSIST_DEST = 8
    VIR_MIGRATE_UNDEFINE_SOURCE = 16
    VIR_MIGRATE_PAUSED = 32
    VIR_MIGRATE_NON_SHARED_DISK = 64
    VIR_MIGRATE_NON_SHARED_INC = 128
    VIR_MIGRATE_CHANGE_PROTECTION = 256
    VIR_MIGRATE_UNSAFE = 512
    VIR_MIGRATE_OFFLINE = 1024
    VIR_MIGRATE_COMPRESSED = 2048
    VIR_MIGRATE_ABORT_ON_ERROR = 4096
    VIR_MIGRATE_AUTO_CONVERGE = 8192
    VIR_MIGRATE_RDMA_PIN_ALL = 16384
    VIR_MIGRATE_POSTCOPY = 32768
    VIR_MIGRATE_TLS = 65536
    VIR_MIGRATE_PARALLEL = 131072
    VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES = 262144
    VIR_MIGRATE_POSTCOPY_RESUME = 524288
    VIR_MIGRATE_ZEROCOPY = 1048576


class DomainMigrateMaxSpeedFlags(IntFlag):
    """Bits of virDomainMigrateMaxSpeedFlags."""

    VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY = 1


class ConnectGetDomainCapabilitiesFlags(IntFlag):
    """Bits of virConnectGetDomainCapabilitiesFlags."""

    VIR_CONNECT_GET_DOMAIN_CAPABILITIES_DISABLE_DEPRECATED_FEATURES = 1
    VIR_CONNECT_GET_DOMAIN_CAPABILITIES_EXPAND_CPU_FEATURES = 2
    VIR_CONNECT_GET_DOMAIN_CAPABILITIES_SUPPORTED_CPU_FEATURES = 4


class DomainShutdownFlagValues(IntFlag):
    """Bits of virDomainShutdownFlagValues."""

    VIR_DOMAIN_SHUTDOWN_DEFAULT = 0
    VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN = 1
    VIR_DOMAIN_SHUTDOWN_GUEST_AGENT = 2
    VIR_DOMAIN_SHUTDOWN_INITCTL = 4
    VIR_DOMAIN_SHUTDOWN_SIGNAL = 8
    VIR_DOMAIN_SHUTDOWN_PARAVIRT = 16


class DomainRebootFlagValues(IntFlag):
    """Bits of virDomainRebootFlagValues."""

    VIR_DOMAIN_REBOOT_DEFAULT = 0
    VIR_DOMAIN_REBOOT_ACPI_POWER_BTN = 1
    VIR_DOMAIN_REBOOT_GUEST_AGENT = 2
    VIR_DOMAIN_REBOOT_INITCTL = 4
    VIR_DOMAIN_REBOOT_SIGNAL = 8
    VIR_DOMAIN_REBOOT_PARAVIRT = 16


class DomainDestroyFlagsValues(IntFlag):
    """Bits of virDomainDestroyFlagsValues."""

    VIR_DOMAIN_DESTROY_DEFAULT = 0
    VIR_DOMAIN_DESTROY_GRACEFUL = 1
    VIR_DOMAIN_DESTROY_REMOVE_LOGS = 2


class DomainSaveRestoreFlags(IntFlag):
    """Bits of virDomainSaveRestoreFlags."""

    VIR_DOMAIN_SAVE_BYPASS_CACHE = 1
    VIR_DOMAIN_SAVE_RUNNING = 2
    VIR_DOMAIN_SAVE_PAUSED = 4
    VIR_DOMAIN_SAVE_RESET_NVRAM = 8


class DomainMemoryModFlags(IntFlag):
    """Bits of virDomainMemoryModFlags."""

    VIR_DOMAIN_MEM_CURRENT = 0
    VIR_DOMAIN_MEM_LIVE = 1
    VIR_DOMAIN_MEM_CONFIG = 2
    VIR_DOMAIN_MEM_MAXIMUM = 4


class DomainNumatuneMemMode(IntEnum):
    """Values of virDomainNumatuneMemMode."""

    VIR_DOMAIN_NUMATUNE_MEM_STRICT = 0
    VIR_DOMAIN_NUMATUNE_MEM_PREFERRED = 1
    VIR_DOMAIN_NUMATUNE_MEM_INTERLEAVE = 2
    VIR_DOMAIN_NUMATUNE_MEM_RESTRICTIVE = 3


class DomainGetHostnameFlags(IntFlag):
    """Bits of virDomainGetHostnameFlags."""

    VIR_DOMAIN_GET_HOSTNAME_LEASE = 1
    VIR_DOMAIN_GET_HOSTNAME_AGENT = 2


class DomainMetadataType(IntEnum):
    """Values of virDomainMetadataType."""

    VIR_DOMAIN_METADATA_DESCRIPTION = 0
    VIR_DOMAIN_METADATA_TITLE = 1
    VIR_DOMAIN_METADATA_ELEMENT = 2


class DomainXMLFlags(IntFlag):
    """Bits of virDomainXMLFlags."""

    VIR_DOMAIN_XML_SECURE = 1
    VIR_DOMAIN_XML_INACTIVE = 2
    VIR_DOMAIN_XML_UPDATE_CPU = 4
    VIR_DOMAIN_XML_MIGRATABLE = 8


class DomainSaveImageXMLFlags(IntFlag):
    """Bits of virDomainSaveImageXMLFlags."""

    VIR_DOMAIN_SAVE_IMAGE_XML_SECURE = 1


class DomainBlockResizeFlags(IntFlag):
    """Bits of virDomainBlockResizeFlags."""

    VIR_DOMAIN_BLOCK_RESIZE_BYTES = 1
    VIR_DOMAIN_BLOCK_RESIZE_CAPACITY = 2
    VIR_DOMAIN_BLOCK_RESIZE_EXTEND = 4


class DomainMemoryFlags(IntFlag):
    """Bits of virDomainMemoryFlags."""

    VIR_MEMORY_VIRTUAL = 1
    VIR_MEMORY_PHYSICAL = 2


class DomainDefineFlags(IntFlag):
    """Bits of virDomainDefineFlags."""

    VIR_DOMAIN_DEFINE_VALIDATE = 1


class DomainUndefineFlagsValues(IntFlag):
    """Bits of virDomainUndefineFlagsValues."""

    VIR_DOMAIN_UNDEFINE_MANAGED_SAVE = 1
    VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA = 2
    VIR_DOMAIN_UNDEFINE_NVRAM = 4
    VIR_DOMAIN_UNDEFINE_KEEP_NVRAM = 8
    VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA = 16
    VIR_DOMAIN_UNDEFINE_TPM = 32
    VIR_DOMAIN_UNDEFINE_KEEP_TPM = 64


class ConnectListAllDomainsFlags(IntFlag):
    """Bits of virConnectListAllDomainsFlags."""

    VIR_CONNECT_LIST_DOMAINS_ACTIVE = 1
    VIR_CONNECT_LIST_DOMAINS_INACTIVE = 2
    VIR_CONNECT_LIST_DOMAINS_PERSISTENT = 4
    VIR_CONNECT_LIST_DOMAINS_TRANSIENT = 8
    VIR_CONNECT_LIST_DOMAINS_RUNNING = 16
    VIR_CONNECT_LIST_DOMAINS_PAUSED = 32
    VIR_CONNECT_LIST_DOMAINS_SHUTOFF = 64
    VIR_CONNECT_LIST_DOMAINS_OTHER = 128
    VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE = 256
    VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE = 512
    VIR_CONNECT_LIST_DOMAINS_AUTOSTART = 1024
    VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART = 2048
    VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT = 4096
    VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT = 8192
    VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT = 16384
    VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT = 32768


class VcpuState(IntEnum):
    """Values of virVcpuState."""

    VIR_VCPU_OFFLINE = 0
    VIR_VCPU_RUNNING = 1
    VIR_VCPU_BLOCKED = 2


class VcpuHostCpuState(IntEnum):
    """Values of virVcpuHostCpuState."""

    VIR_VCPU_INFO_CPU_OFFLINE = -1
    VIR_VCPU_INFO_CPU_UNAVAILABLE = -2


class DomainVcpuFlags(IntFlag):
    """Bits of virDomainVcpuFlags."""

    VIR_DOMAIN_VCPU_CURRENT = 0
    VIR_DOMAIN_VCPU_LIVE = 1
    VIR_DOMAIN_VCPU_CONFIG = 2
    VIR_DOMAIN_VCPU_MAXIMUM = 4
    VIR_DOMAIN_VCPU_GUEST = 8
    VIR_DOMAIN_VCPU_HOTPLUGGABLE = 16
    VIR_DOMAIN_VCPU_ASYNC_UNPLUG = 32


class DomainDeviceModifyFlags(IntFlag):
    """Bits of virDomainDeviceModifyFlags."""

    VIR_DOMAIN_DEVICE_MODIFY_CURRENT = 0
    VIR_DOMAIN_DEVICE_MODIFY_LIVE = 1
    VIR_DOMAIN_DEVICE_MODIFY_CONFIG = 2
    VIR_DOMAIN_DEVICE_MODIFY_FORCE = 4


class DomainStatsTypes(IntFlag):
    """Bits of virDomainStatsTypes."""

    VIR_DOMAIN_STATS_STATE = 1
    VIR_DOMAIN_STATS_CPU_TOTAL = 2
    VIR_DOMAIN_STATS_BALLOON = 4
    VIR_DOMAIN_STATS_VCPU = 8
    VIR_DOMAIN_STATS_INTERFACE = 16
    VIR_DOMAIN_STATS_BLOCK = 32
    VIR_DOMAIN_STATS_PERF = 64
    VIR_DOMAIN_STATS_IOTHREAD = 128
    VIR_DOMAIN_STATS_MEMORY = 256
    VIR_DOMAIN_STATS_DIRTYRATE = 512
    VIR_DOMAIN_STATS_VM = 1024


class ConnectGetAllDomainStatsFlags(IntFlag):
    """Bits of virConnectGetAllDomainStatsFlags."""

    VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE = 1
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE = 2
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_PERSISTENT = 4
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_TRANSIENT = 8
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_RUNNING = 16
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_PAUSED = 32
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_SHUTOFF = 64
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_OTHER = 128
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT = 536870912
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING = 1073741824
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS = 2147483648


class DomainBlockJobType(IntEnum):
    """Values of virDomainBlockJobType."""

    VIR_DOMAIN_BLOCK_JOB_TYPE_UNKNOWN = 0
    VIR_DOMAIN_BLOCK_JOB_TYPE_PULL = 1
    VIR_DOMAIN_BLOCK_JOB_TYPE_COPY = 2
    VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT = 3
    VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT = 4
    VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP = 5


class DomainBlockJobAbortFlags(IntFlag):
    """Bits of virDomainBlockJobAbortFlags."""

    VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC = 1
    VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT = 2


class DomainBlockJobInfoFlags(IntFlag):
    """Bits of virDomainBlockJobInfoFlags."""

    VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES = 1


class DomainBlockJobSetSpeedFlags(IntFlag):
    """Bits of virDomainBlockJobSetSpeedFlags."""

    VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES = 1


class DomainBlockPullFlags(IntFlag):
    """Bits of virDomainBlockPullFlags."""

    VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES = 64


class DomainBlockRebaseFlags(IntFlag):
    """Bits of virDomainBlockRebaseFlags."""

    VIR_DOMAIN_BLOCK_REBASE_SHALLOW = 1
    VIR_DOMAIN_BLOCK_REBASE_REUSE_EXT = 2
    VIR_DOMAIN_BLOCK_REBASE_COPY_RAW = 4
    VIR_DOMAIN_BLOCK_REBASE_COPY = 8
    VIR_DOMAIN_BLOCK_REBASE_RELATIVE = 16
    VIR_DOMAIN_BLOCK_REBASE_COPY_DEV = 32
    VIR_DOMAIN_BLOCK_REBASE_BANDWIDTH_BYTES = 64


class DomainBlockCopyFlags(IntFlag):
    """Bits of virDomainBlockCopyFlags."""

    VIR_DOMAIN_BLOCK_COPY_SHALLOW = 1
    VIR_DOMAIN_BLOCK_COPY_REUSE_EXT = 2
    VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB = 4
    VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES = 8
    VIR_DOMAIN_BLOCK_COPY_TARGET_ZEROED = 16


class DomainBlockCommitFlags(IntFlag):
    """Bits of virDomainBlockCommitFlags."""

    VIR_DOMAIN_BLOCK_COMMIT_SHALLOW = 1
    VIR_DOMAIN_BLOCK_COMMIT_DELETE = 2
    VIR_DOMAIN_BLOCK_COMMIT_ACTIVE = 4
    VIR_DOMAIN_BLOCK_COMMIT_RELATIVE = 8
    VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES = 16


class DomainDiskErrorCode(IntEnum):
    """Values of virDomainDiskErrorCode."""

    VIR_DOMAIN_DISK_ERROR_NONE = 0
    VIR_DOMAIN_DISK_ERROR_UNSPEC = 1
    VIR_DOMAIN_DISK_ERROR_NO_SPACE = 2


class KeycodeSet(IntEnum):
    """Values of virKeycodeSet."""

    VIR_KEYCODE_SET_LINUX = 0
    VIR_KEYCODE_SET_XT = 1
    VIR_KEYCODE_SET_ATSET1 = 2
    VIR_KEYCODE_SET_ATSET2 = 3
    VIR_KEYCODE_SET_ATSET3 = 4
    VIR_KEYCODE_SET_OSX = 5
    VIR_KEYCODE_SET_XT_KBD = 6
    VIR_KEYCODE_SET_USB = 7
    VIR_KEYCODE_SET_WIN32 = 8
    VIR_KEYCODE_SET_QNUM = 9


class DomainProcessSignal(IntEnum):
    """Values of virDomainProcessSignal."""

    VIR_DOMAIN_PROCESS_SIGNAL_NOP = 0
    VIR_DOMAIN_PROCESS_SIGNAL_HUP = 1
    VIR_DOMAIN_PROCESS_SIGNAL_INT = 2
    VIR_DOMAIN_PROCESS_SIGNAL_QUIT = 3
    VIR_DOMAIN_PROCESS_SIGNAL_ILL = 4
    VIR_DOMAIN_PROCESS_SIGNAL_TRAP = 5
    VIR_DOMAIN_PROCESS_SIGNAL_ABRT = 6
    VIR_DOMAIN_PROCESS_SIGNAL_BUS = 7
    VIR_DOMAIN_PROCESS_SIGNAL_FPE = 8
    VIR_DOMAIN_PROCESS_SIGNAL_KILL = 9
    VIR_DOMAIN_PROCESS_SIGNAL_USR1 = 10
    VIR_DOMAIN_PROCESS_SIGNAL_SEGV = 11
    VIR_DOMAIN_PROCESS_SIGNAL_USR2 = 12
    VIR_DOMAIN_PROCESS_SIGNAL_PIPE = 13
    VIR_DOMAIN_PROCESS_SIGNAL_ALRM = 14
    VIR_DOMAIN_PROCESS_SIGNAL_TERM = 15
    VIR_DOMAIN_PROCESS_SIGNAL_STKFLT = 16
    VIR_DOMAIN_PROCESS_SIGNAL_CHLD = 17
    VIR_DOMAIN_PROCESS_SIGNAL_CONT = 18
    VIR_DOMAIN_PROCESS_SIGNAL_STOP = 19
    VIR_DOMAIN_PROCESS_SIGNAL_TSTP = 20
    VIR_DOMAIN_PROCESS_SIGNAL_TTIN = 21
    VIR_DOMAIN_PROCESS_SIGNAL_TTOU = 22
    VIR_DOMAIN_PROCESS_SIGNAL_URG = 23
    VIR_DOMAIN_PROCESS_SIGNAL_XCPU = 24
    VIR_DOMAIN_PROCESS_SIGNAL_XFSZ = 25
    VIR_DOMAIN_PROCESS_SIGNAL_VTALRM = 26
    VIR_DOMAIN_PROCESS_SIGNAL_PROF = 27
    VIR_DOMAIN_PROCESS_SIGNAL_WINCH = 28
    VIR_DOMAIN_PROCESS_SIGNAL_POLL = 29
    VIR_DOMAIN_PROCESS_SIGNAL_PWR = 30
    VIR_DOMAIN_PROCESS_SIGNAL_SYS = 31
    VIR_DOMAIN_PROCESS_SIGNAL_RT0 = 32
    VIR_DOMAIN_PROCESS_SIGNAL_RT1 = 33
    VIR_DOMAIN_PROCESS_SIGNAL_RT2 = 34
    VIR_DOMAIN_PROCESS_SIGNAL_RT3 = 35
    VIR_DOMAIN_PROCESS_SIGNAL_RT4 = 36
    VIR_DOMAIN_PROCESS_SIGNAL_RT5 = 37
    VIR_DOMAIN_PROCESS_SIGNAL_RT6 = 38
    VIR_DOMAIN_PROCESS_SIGNAL_RT7 = 39
    VIR_DOMAIN_PROCESS_SIGNAL_RT8 = 40
    VIR_DOMAIN_PROCESS_SIGNAL_RT9 = 41
    VIR_DOMAIN_PROCESS_SIGNAL_RT10 = 42
    VIR_DOMAIN_PROCESS_SIGNAL_RT11 = 43
    VIR_DOMAIN_PROCESS_SIGNAL_RT12 = 44
    VIR_DOMAIN_PROCESS_SIGNAL_RT13 = 45
    VIR_DOMAIN_PROCESS_SIGNAL_RT14 = 46
    VIR_DOMAIN_PROCESS_SIGNAL_RT15 = 47
    VIR_DOMAIN_PROCESS_SIGNAL_RT16 = 48
    VIR_DOMAIN_PROCESS_SIGNAL_RT17 = 49
    VIR_DOMAIN_PROCESS_SIGNAL_RT18 = 50
    VIR_DOMAIN_PROCESS_SIGNAL_RT19 = 51
    VIR_DOMAIN_PROCESS_SIGNAL_RT20 = 52
    VIR_DOMAIN_PROCESS_SIGNAL_RT21 = 53
    VIR_DOMAIN_PROCESS_SIGNAL_RT22 = 54
    VIR_DOMAIN_PROCESS_SIGNAL_RT23 = 55
    VIR_DOMAIN_PROCESS_SIGNAL_RT24 = 56
    VIR_DOMAIN_PROCESS_SIGNAL_RT25 = 57
    VIR_DOMAIN_PROCESS_SIGNAL_RT26 = 58
    VIR_DOMAIN_PROCESS_SIGNAL_RT27 = 59
    VIR_DOMAIN_PROCESS_SIGNAL_RT28 = 60
    VIR_DOMAIN_PROCESS_SIGNAL_RT29 = 61
    VIR_DOMAIN_PROCESS_SIGNAL_RT30 = 62
    VIR_DOMAIN_PROCESS_SIGNAL_RT31 = 63
    VIR_DOMAIN_PROCESS_SIGNAL_RT32 = 64


class DomainEventType(IntEnum):
    """Values of virDomainEventType."""

    VIR_DOMAIN_EVENT_DEFINED = 0
    VIR_DOMAIN_EVENT_UNDEFINED = 1
    VIR_DOMAIN_EVENT_STARTED = 2
    VIR_DOMAIN_EVENT_SUSPENDED = 3
    VIR_DOMAIN_EVENT_RESUMED = 4
    VIR_DOMAIN_EVENT_STOPPED = 5
    VIR_DOMAIN_EVENT_SHUTDOWN = 6
    VIR_DOMAIN_EVENT_PMSUSPENDED = 7
    VIR_DOMAIN_EVENT_CRASHED = 8


class DomainEventDefinedDetailType(IntEnum):
    """Values of virDomainEventDefinedDetailType."""

    VIR_DOMAIN_EVENT_DEFINED_ADDED = 0
    VIR_DOMAIN_EVENT_DEFINED_UPDATED = 1
    VIR_DOMAIN_EVENT_DEFINED_RENAMED = 2
    VIR_DOMAIN_EVENT_DEFINED_FROM_SNAPSHOT = 3


class DomainEventUndefinedDetailType(IntEnum):
    """Values of virDomainEventUndefinedDetailType."""

    VIR_DOMAIN_EVENT_UNDEFINED_REMOVED = 0
    VIR_DOMAIN_EVENT_UNDEFINED_RENAMED = 1


class DomainEventStartedDetailType(IntEnum):
    """Values of virDomainEventStartedDetailType."""

    VIR_DOMAIN_EVENT_STARTED_BOOTED = 0
    VIR_DOMAIN_EVENT_STARTED_MIGRATED = 1
    VIR_DOMAIN_EVENT_STARTED_RESTORED = 2
    VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT = 3
    VIR_DOMAIN_EVENT_STARTED_WAKEUP = 4
    VIR_DOMAIN_EVENT_STARTED_RECREATED = 5


class DomainEventSuspendedDetailType(IntEnum):
    """Values of virDomainEventSuspendedDetailType."""

    VIR_DOMAIN_EVENT_SUSPENDED_PAUSED = 0
    VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED = 1
    VIR_DOMAIN_EVENT_SUSPENDED_IOERROR = 2
    VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG = 3
    VIR_DOMAIN_EVENT_SUSPENDED_RESTORED = 4
    VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT = 5
    VIR_DOMAIN_EVENT_SUSPENDED_API_ERROR = 6
    VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY = 7
    VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED = 8
    VIR_DOMAIN_EVENT_SUSPENDED_GUEST_SHUTDOWN = 9


class DomainEventResumedDetailType(IntEnum):
    """Values of virDomainEventResumedDetailType."""

    VIR_DOMAIN_EVENT_RESUMED_UNPAUSED = 0
    VIR_DOMAIN_EVENT_RESUMED_MIGRATED = 1
    VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT = 2
    VIR_DOMAIN_EVENT_RESUMED_POSTCOPY = 3
    VIR_DOMAIN_EVENT_RESUMED_POSTCOPY_FAILED = 4


class DomainEventStoppedDetailType(IntEnum):
    """Values of virDomainEventStoppedDetailType."""

    VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN = 0
    VIR_DOMAIN_EVENT_STOPPED_DESTROYED = 1
    VIR_DOMAIN_EVENT_STOPPED_CRASHED = 2
    VIR_DOMAIN_EVENT_STOPPED_MIGRATED = 3
    VIR_DOMAIN_EVENT_STOPPED_SAVED = 4
    VIR_DOMAIN_EVENT_STOPPED_FAILED = 5
    VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT = 6
    VIR_DOMAIN_EVENT_STOPPED_RECREATED = 7


class DomainEventShutdownDetailType(IntEnum):
    """Values of virDomainEventShutdownDetailType."""

    VIR_DOMAIN_EVENT_SHUTDOWN_FINISHED = 0
    VIR_DOMAIN_EVENT_SHUTDOWN_GUEST = 1
    VIR_DOMAIN_EVENT_SHUTDOWN_HOST = 2


class DomainEventPMSuspendedDetailType(IntEnum):
    """Values of virDomainEventPMSuspendedDetailType."""

    VIR_DOMAIN_EVENT_PMSUSPENDED_MEMORY = 0
    VIR_DOMAIN_EVENT_PMSUSPENDED_DISK = 1


class DomainEventCrashedDetailType(IntEnum):
    """Values of virDomainEventCrashedDetailType."""

    VIR_DOMAIN_EVENT_CRASHED_PANICKED = 0
    VIR_DOMAIN_EVENT_CRASHED_CRASHLOADED = 1


class DomainMemoryFailureRecipientType(IntEnum):
    """Values of virDomainMemoryFailureRecipientType."""

    VIR_DOMAIN_EVENT_MEMORY_FAILURE_RECIPIENT_HYPERVISOR = 0
    VIR_DOMAIN_EVENT_MEMORY_FAILURE_RECIPIENT_GUEST = 1


class DomainMemoryFailureActionType(IntEnum):
    """Values of virDomainMemoryFailureActionType."""

    VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_IGNORE = 0
    VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_INJECT = 1
    VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_FATAL = 2
    VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_RESET = 3


class DomainMemoryFailureFlags(IntFlag):
    """Bits of virDomainMemoryFailureFlags."""

    VIR_DOMAIN_MEMORY_FAILURE_ACTION_REQUIRED = 1
    VIR_DOMAIN_MEMORY_FAILURE_RECURSIVE = 2


class DomainJobType(IntEnum):
    """Values of virDomainJobType."""

    VIR_DOMAIN_JOB_NONE = 0
    VIR_DOMAIN_JOB_BOUNDED = 1
    VIR_DOMAIN_JOB_UNBOUNDED = 2
    VIR_DOMAIN_JOB_COMPLETED = 3
    VIR_DOMAIN_JOB_FAILED = 4
    VIR_DOMAIN_JOB_CANCELLED = 5


class DomainGetJobStatsFlags(IntFlag):
    """Bits of virDomainGetJobStatsFlags."""

    VIR_DOMAIN_JOB_STATS_COMPLETED = 1
    VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED = 2


class DomainAbortJobFlagsValues(IntFlag):
    """Bits of virDomainAbortJobFlagsValues."""

    VIR_DOMAIN_ABORT_JOB_POSTCOPY = 1


class DomainJobOperation(IntEnum):
    """Values of virDomainJobOperation."""

    VIR_DOMAIN_JOB_OPERATION_UNKNOWN = 0
    VIR_DOMAIN_JOB_OPERATION_START = 1
    VIR_DOMAIN_JOB_OPERATION_SAVE = 2
    VIR_DOMAIN_JOB_OPERATION_RESTORE = 3
    VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN = 4
    VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT = 5
    VIR_DOMAIN_JOB_OPERATION_SNAPSHOT = 6
    VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT = 7
    VIR_DOMAIN_JOB_OPERATION_DUMP = 8
    VIR_DOMAIN_JOB_OPERATION_BACKUP = 9
    VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_DELETE = 10


class DomainEventWatchdogAction(IntEnum):
    """Values of virDomainEventWatchdogAction."""

    VIR_DOMAIN_EVENT_WATCHDOG_NONE = 0
    VIR_DOMAIN_EVENT_WATCHDOG_PAUSE = 1
    VIR_DOMAIN_EVENT_WATCHDOG_RESET = 2
    VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF = 3
    VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN = 4
    VIR_DOMAIN_EVENT_WATCHDOG_DEBUG = 5
    VIR_DOMAIN_EVENT_WATCHDOG_INJECTNMI = 6


class DomainEventIOErrorAction(IntEnum):
    """Values of virDomainEventIOErrorAction."""

    VIR_DOMAIN_EVENT_IO_ERROR_NONE = 0
    VIR_DOMAIN_EVENT_IO_ERROR_PAUSE = 1
    VIR_DOMAIN_EVENT_IO_ERROR_REPORT = 2


class DomainEventGraphicsPhase(IntEnum):
    """Values of virDomainEventGraphicsPhase."""

    VIR_DOMAIN_EVENT_GRAPHICS_CONNECT = 0
    VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE = 1
    VIR_DOMAIN_EVENT_GRAPHICS_DISCONNECT = 2


class DomainEventGraphicsAddressType(IntEnum):
    """Values of virDomainEventGraphicsAddressType."""

    VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_IPV4 = 0
    VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_IPV6 = 1
    VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_UNIX = 2


class ConnectDomainEventBlockJobStatus(IntEnum):
    """Values of virConnectDomainEventBlockJobStatus."""

    VIR_DOMAIN_BLOCK_JOB_COMPLETED = 0
    VIR_DOMAIN_BLOCK_JOB_FAILED = 1
    VIR_DOMAIN_BLOCK_JOB_CANCELED = 2
    VIR_DOMAIN_BLOCK_JOB_READY = 3


class ConnectDomainEventDiskChangeReason(IntEnum):
    """Values of virConnectDomainEventDiskChangeReason."""

    VIR_DOMAIN_EVENT_DISK_CHANGE_MISSING_ON_START = 0
    VIR_DOMAIN_EVENT_DISK_DROP_MISSING_ON_START = 1


class DomainEventTrayChangeReason(IntEnum):
    """Values of virDomainEventTrayChangeReason."""

    VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN = 0
    VIR_DOMAIN_EVENT_TRAY_CHANGE_CLOSE = 1


class ConnectDomainEventAgentLifecycleState(IntEnum):
    """Values of virConnectDomainEventAgentLifecycleState."""

    VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED = 1
    VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED = 2


class ConnectDomainEventAgentLifecycleReason(IntEnum):
    """Values of virConnectDomainEventAgentLifecycleReason."""

    VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_UNKNOWN = 0
    VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_DOMAIN_STARTED = 1
    VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL = 2


class ConnectDomainEventChannelLifecycleState(IntEnum):
    """Values of virConnectDomainEventChannelLifecycleState."""

    VIR_CONNECT_DOMAIN_EVENT_CHANNEL_LIFECYCLE_STATE_CONNECTED = 1
    VIR_CONNECT_DOMAIN_EVENT_CHANNEL_LIFECYCLE_STATE_DISCONNECTED = 2


class ConnectDomainEventChannelLifecycleReason(IntEnum):
    """Values of virConnectDomainEventChannelLifecycleReason."""

    VIR_CONNECT_DOMAIN_EVENT_CHANNEL_LIFECYCLE_REASON_UNKNOWN = 0
    VIR_CONNECT_DOMAIN_EVENT_CHANNEL_LIFECYCLE_REASON_DOMAIN_STARTED = 1
    VIR_CONNECT_DOMAIN_EVENT_CHANNEL_LIFECYCLE_REASON_CHANNEL = 2


class DomainEventID(IntEnum):
    """Values of virDomainEventID."""

    VIR_DOMAIN_EVENT_ID_LIFECYCLE = 0
    VIR_DOMAIN_EVENT_ID_REBOOT = 1
    VIR_DOMAIN_EVENT_ID_RTC_CHANGE = 2
    VIR_DOMAIN_EVENT_ID_WATCHDOG = 3
    VIR_DOMAIN_EVENT_ID_IO_ERROR = 4
    VIR_DOMAIN_EVENT_ID_GRAPHICS = 5
    VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON = 6
    VIR_DOMAIN_EVENT_ID_CONTROL_ERROR = 7
    VIR_DOMAIN_EVENT_ID_BLOCK_JOB = 8
    VIR_DOMAIN_EVENT_ID_DISK_CHANGE = 9
    VIR_DOMAIN_EVENT_ID_TRAY_CHANGE = 10
    VIR_DOMAIN_EVENT_ID_PMWAKEUP = 11
    VIR_DOMAIN_EVENT_ID_PMSUSPEND = 12
    VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE = 13
    VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK = 14
    VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED = 15
    VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2 = 16
    VIR_DOMAIN_EVENT_ID_TUNABLE = 17
    VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE = 18
    VIR_DOMAIN_EVENT_ID_DEVICE_ADDED = 19
    VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION = 20
    VIR_DOMAIN_EVENT_ID_JOB_COMPLETED = 21
    VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED = 22
    VIR_DOMAIN_EVENT_ID_METADATA_CHANGE = 23
    VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD = 24
    VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE = 25
    VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE = 26
    VIR_DOMAIN_EVENT_ID_NIC_MAC_CHANGE = 27
    VIR_DOMAIN_EVENT_ID_VCPU_REMOVED = 28
    VIR_DOMAIN_EVENT_ID_CHANNEL_LIFECYCLE = 29


class DomainConsoleFlags(IntFlag):
    """Bits of virDomainConsoleFlags."""

    VIR_DOMAIN_CONSOLE_FORCE = 1
    VIR_DOMAIN_CONSOLE_SAFE = 2


class DomainChannelFlags(IntFlag):
    """Bits of virDomainChannelFlags."""

    VIR_DOMAIN_CHANNEL_FORCE = 1


class DomainOpenGraphicsFlags(IntFlag):
    """Bits of virDomainOpenGraphicsFlags."""

    VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH = 1


class DomainSetTimeFlags(IntFlag):
    """Bits of virDomainSetTimeFlags."""

    VIR_DOMAIN_TIME_SYNC = 1


class SchedParameterType(IntEnum):
    """Values of virSchedParameterType."""

    VIR_DOMAIN_SCHED_FIELD_INT = 1
    VIR_DOMAIN_SCHED_FIELD_UINT = 2
    VIR_DOMAIN_SCHED_FIELD_LLONG = 3
    VIR_DOMAIN_SCHED_FIELD_ULLONG = 4
    VIR_DOMAIN_SCHED_FIELD_DOUBLE = 5
    VIR_DOMAIN_SCHED_FIELD_BOOLEAN = 6


class BlkioParameterType(IntEnum):
    """Values of virBlkioParameterType."""

    VIR_DOMAIN_BLKIO_PARAM_INT = 1
    VIR_DOMAIN_BLKIO_PARAM_UINT = 2
    VIR_DOMAIN_BLKIO_PARAM_LLONG = 3
    VIR_DOMAIN_BLKIO_PARAM_ULLONG = 4
    VIR_DOMAIN_BLKIO_PARAM_DOUBLE = 5
    VIR_DOMAIN_BLKIO_PARAM_BOOLEAN = 6


class MemoryParameterType(IntEnum):
    """Values of virMemoryParameterType."""

    VIR_DOMAIN_MEMORY_PARAM_INT = 1
    VIR_DOMAIN_MEMORY_PARAM_UINT = 2
    VIR_DOMAIN_MEMORY_PARAM_LLONG = 3
    VIR_DOMAIN_MEMORY_PARAM_ULLONG = 4
    VIR_DOMAIN_MEMORY_PARAM_DOUBLE = 5
    VIR_DOMAIN_MEMORY_PARAM_BOOLEAN = 6


class DomainInterfaceAddressesSource(IntEnum):
    """Values of virDomainInterfaceAddressesSource."""

    VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE = 0
    VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT = 1
    VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP = 2


class DomainSetUserPasswordFlags(IntFlag):
    """Bits of virDomainSetUserPasswordFlags."""

    VIR_DOMAIN_PASSWORD_ENCRYPTED = 1


class DomainLifecycle(IntEnum):
    """Values of virDomainLifecycle."""

    VIR_DOMAIN_LIFECYCLE_POWEROFF = 0
    VIR_DOMAIN_LIFECYCLE_REBOOT = 1
    VIR_DOMAIN_LIFECYCLE_CRASH = 2


class DomainLifecycleAction(IntEnum):
    """Values of virDomainLifecycleAction."""

    VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY = 0
    VIR_DOMAIN_LIFECYCLE_ACTION_RESTART = 1
    VIR_DOMAIN_LIFECYCLE_ACTION_RESTART_RENAME = 2
    VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE = 3
    VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_DESTROY = 4
    VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_RESTART = 5
    VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE_RUNNING = 6


class DomainGuestInfoTypes(IntFlag):
    """Bits of virDomainGuestInfoTypes."""

    VIR_DOMAIN_GUEST_INFO_USERS = 1
    VIR_DOMAIN_GUEST_INFO_OS = 2
    VIR_DOMAIN_GUEST_INFO_TIMEZONE = 4
    VIR_DOMAIN_GUEST_INFO_HOSTNAME = 8
    VIR_DOMAIN_GUEST_INFO_FILESYSTEM = 16
    VIR_DOMAIN_GUEST_INFO_DISKS = 32
    VIR_DOMAIN_GUEST_INFO_INTERFACES = 64
    VIR_DOMAIN_GUEST_INFO_LOAD = 128
    VIR_DOMAIN_GUEST_INFO_DEVICES = 256


class DomainAgentResponseTimeoutValues(IntEnum):
    """Values of virDomainAgentResponseTimeoutValues."""

    VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK = -2
    VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_DEFAULT = -1
    VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_NOWAIT = 0


class DomainBackupBeginFlags(IntFlag):
    """Bits of virDomainBackupBeginFlags."""

    VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL = 1
    VIR_DOMAIN_BACKUP_BEGIN_PRESERVE_SHUTDOWN_DOMAIN = 2


class DomainAuthorizedSSHKeysSetFlags(IntFlag):
    """Bits of virDomainAuthorizedSSHKeysSetFlags."""

    VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND = 1
    VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE = 2


class DomainMessageType(IntFlag):
    """Bits of virDomainMessageType."""

    VIR_DOMAIN_MESSAGE_DEPRECATION = 1
    VIR_DOMAIN_MESSAGE_TAINTING = 2
    VIR_DOMAIN_MESSAGE_IOERRORS = 4


class DomainDirtyRateStatus(IntEnum):
    """Values of virDomainDirtyRateStatus."""

    VIR_DOMAIN_DIRTYRATE_UNSTARTED = 0
    VIR_DOMAIN_DIRTYRATE_MEASURING = 1
    VIR_DOMAIN_DIRTYRATE_MEASURED = 2


class DomainDirtyRateCalcFlags(IntFlag):
    """Bits of virDomainDirtyRateCalcFlags."""

    VIR_DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING = 0
    VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP = 1
    VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING = 2


class DomainFDAssociateFlags(IntFlag):
    """Bits of virDomainFDAssociateFlags."""

    VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_RESTORE = 1
    VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_WRITABLE = 2


class DomainGraphicsReloadType(IntEnum):
    """Values of virDomainGraphicsReloadType."""

    VIR_DOMAIN_GRAPHICS_RELOAD_TYPE_ANY = 0
    VIR_DOMAIN_GRAPHICS_RELOAD_TYPE_VNC = 1


class DomainCheckpointCreateFlags(IntFlag):
    """Bits of virDomainCheckpointCreateFlags."""

    VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE = 1
    VIR_DOMAIN_CHECKPOINT_CREATE_QUIESCE = 2
    VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE = 4


class DomainCheckpointXMLFlags(IntFlag):
    """Bits of virDomainCheckpointXMLFlags."""

    VIR_DOMAIN_CHECKPOINT_XML_SECURE = 1
    VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN = 2
    VIR_DOMAIN_CHECKPOINT_XML_SIZE = 4


class DomainCheckpointListFlags(IntFlag):
    """Bits of virDomainCheckpointListFlags."""

    VIR_DOMAIN_CHECKPOINT_LIST_ROOTS = 1
    VIR_DOMAIN_CHECKPOINT_LIST_DESCENDANTS = 1
    VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL = 2
    VIR_DOMAIN_CHECKPOINT_LIST_LEAVES = 4
    VIR_DOMAIN_CHECKPOINT_LIST_NO_LEAVES = 8


class DomainCheckpointDeleteFlags(IntFlag):
    """Bits of virDomainCheckpointDeleteFlags."""

    VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN = 1
    VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY = 2
    VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN_ONLY = 4


class DomainSnapshotCreateFlags(IntFlag):
    """Bits of virDomainSnapshotCreateFlags."""

    VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE = 1
    VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT = 2
    VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA = 4
    VIR_DOMAIN_SNAPSHOT_CREATE_HALT = 8
    VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY = 16
    VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT = 32
    VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE = 64
    VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC = 128
    VIR_DOMAIN_SNAPSHOT_CREATE_LIVE = 256
    VIR_DOMAIN_SNAPSHOT_CREATE_VALIDATE = 512


class DomainSnapshotXMLFlags(IntFlag):
    """Bits of virDomainSnapshotXMLFlags."""

    VIR_DOMAIN_SNAPSHOT_XML_SECURE = 1


class DomainSnapshotListFlags(IntFlag):
    """Bits of virDomainSnapshotListFlags."""

    VIR_DOMAIN_SNAPSHOT_LIST_ROOTS = 1
    VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS = 1
    VIR_DOMAIN_SNAPSHOT_LIST_LEAVES = 4
    VIR_DOMAIN_SNAPSHOT_LIST_NO_LEAVES = 8
    VIR_DOMAIN_SNAPSHOT_LIST_METADATA = 2
    VIR_DOMAIN_SNAPSHOT_LIST_NO_METADATA = 16
    VIR_DOMAIN_SNAPSHOT_LIST_INACTIVE = 32
    VIR_DOMAIN_SNAPSHOT_LIST_ACTIVE = 64
    VIR_DOMAIN_SNAPSHOT_LIST_DISK_ONLY = 128
    VIR_DOMAIN_SNAPSHOT_LIST_INTERNAL = 256
    VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL = 512
    VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL = 1024


class DomainSnapshotRevertFlags(IntFlag):
    """Bits of virDomainSnapshotRevertFlags."""

    VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING = 1
    VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED = 2
    VIR_DOMAIN_SNAPSHOT_REVERT_FORCE = 4
    VIR_DOMAIN_SNAPSHOT_REVERT_RESET_NVRAM = 8


class DomainSnapshotDeleteFlags(IntFlag):
    """Bits of virDomainSnapshotDeleteFlags."""

    VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN = 1
    VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY = 2
    VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY = 4


class EventHandleType(IntFlag):
    """Bits of virEventHandleType."""

    VIR_EVENT_HANDLE_READABLE = 1
    VIR_EVENT_HANDLE_WRITABLE = 2
    VIR_EVENT_HANDLE_ERROR = 4
    VIR_EVENT_HANDLE_HANGUP = 8


class ConnectListAllInterfacesFlags(IntFlag):
    """Bits of virConnectListAllInterfacesFlags."""

    VIR_CONNECT_LIST_INTERFACES_INACTIVE = 1
    VIR_CONNECT_LIST_INTERFACES_ACTIVE = 2


class InterfaceXMLFlags(IntFlag):
    """Bits of virInterfaceXMLFlags."""

    VIR_INTERFACE_XML_INACTIVE = 1


class InterfaceDefineFlags(IntFlag):
    """Bits of virInterfaceDefineFlags."""

    VIR_INTERFACE_DEFINE_VALIDATE = 1


class NetworkXMLFlags(IntFlag):
    """Bits of virNetworkXMLFlags."""

    VIR_NETWORK_XML_INACTIVE = 1


class ConnectListAllNetworksFlags(IntFlag):
    """Bits of virConnectListAllNetworksFlags."""

    VIR_CONNECT_LIST_NETWORKS_INACTIVE = 1
    VIR_CONNECT_LIST_NETWORKS_ACTIVE = 2
    VIR_CONNECT_LIST_NETWORKS_PERSISTENT = 4
    VIR_CONNECT_LIST_NETWORKS_TRANSIENT = 8
    VIR_CONNECT_LIST_NETWORKS_AUTOSTART = 16
    VIR_CONNECT_LIST_NETWORKS_NO_AUTOSTART = 32


class NetworkCreateFlags(IntFlag):
    """Bits of virNetworkCreateFlags."""

    VIR_NETWORK_CREATE_VALIDATE = 1


class NetworkDefineFlags(IntFlag):
    """Bits of virNetworkDefineFlags."""

    VIR_NETWORK_DEFINE_VALIDATE = 1


class NetworkUpdateCommand(IntEnum):
    """Values of virNetworkUpdateCommand."""

    VIR_NETWORK_UPDATE_COMMAND_NONE = 0
    VIR_NETWORK_UPDATE_COMMAND_MODIFY = 1
    VIR_NETWORK_UPDATE_COMMAND_DELETE = 2
    VIR_NETWORK_UPDATE_COMMAND_ADD_LAST = 3
    VIR_NETWORK_UPDATE_COMMAND_ADD_FIRST = 4


class NetworkUpdateSection(IntEnum):
    """Values of virNetworkUpdateSection."""

    VIR_NETWORK_SECTION_NONE = 0
    VIR_NETWORK_SECTION_BRIDGE = 1
    VIR_NETWORK_SECTION_DOMAIN = 2
    VIR_NETWORK_SECTION_IP = 3
    VIR_NETWORK_SECTION_IP_DHCP_HOST = 4
    VIR_NETWORK_SECTION_IP_DHCP_RANGE = 5
    VIR_NETWORK_SECTION_FORWARD = 6
    VIR_NETWORK_SECTION_FORWARD_INTERFACE = 7
    VIR_NETWORK_SECTION_FORWARD_PF = 8
    VIR_NETWORK_SECTION_PORTGROUP = 9
    VIR_NETWORK_SECTION_DNS_HOST = 10
    VIR_NETWORK_SECTION_DNS_TXT = 11
    VIR_NETWORK_SECTION_DNS_SRV = 12


class NetworkUpdateFlags(IntFlag):
    """Bits of virNetworkUpdateFlags."""

    VIR_NETWORK_UPDATE_AFFECT_CURRENT = 0
    VIR_NETWORK_UPDATE_AFFECT_LIVE = 1
    VIR_NETWORK_UPDATE_AFFECT_CONFIG = 2


class NetworkEventLifecycleType(IntEnum):
    """Values of virNetworkEventLifecycleType."""

    VIR_NETWORK_EVENT_DEFINED = 0
    VIR_NETWORK_EVENT_UNDEFINED = 1
    VIR_NETWORK_EVENT_STARTED = 2
    VIR_NETWORK_EVENT_STOPPED = 3


class NetworkEventID(IntEnum):
    """Values of virNetworkEventID."""

    VIR_NETWORK_EVENT_ID_LIFECYCLE = 0
    VIR_NETWORK_EVENT_ID_METADATA_CHANGE = 1


class IPAddrType(IntEnum):
    """Values of virIPAddrType."""

    VIR_IP_ADDR_TYPE_IPV4 = 0
    VIR_IP_ADDR_TYPE_IPV6 = 1


class NetworkPortCreateFlags(IntFlag):
    """Bits of virNetworkPortCreateFlags."""

    VIR_NETWORK_PORT_CREATE_RECLAIM = 1
    VIR_NETWORK_PORT_CREATE_VALIDATE = 2


class NetworkMetadataType(IntEnum):
    """Values of virNetworkMetadataType."""

    VIR_NETWORK_METADATA_DESCRIPTION = 0
    VIR_NETWORK_METADATA_TITLE = 1
    VIR_NETWORK_METADATA_ELEMENT = 2


class ConnectListAllNodeDeviceFlags(IntFlag):
    """Bits of virConnectListAllNodeDeviceFlags."""

    VIR_CONNECT_LIST_NODE_DEVICES_CAP_SYSTEM = 1
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV = 2
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV = 4
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_INTERFACE = 8
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET = 16
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_HOST = 32
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_TARGET = 64
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI = 128
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE = 256
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_FC_HOST = 512
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPORTS = 1024
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_GENERIC = 2048
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_DRM = 4096
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV_TYPES = 8192
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV = 16384
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_CCW_DEV = 32768
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_CSS_DEV = 65536
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_VDPA = 131072
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_CARD = 262144
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_QUEUE = 524288
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_MATRIX = 1048576
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPD = 2097152
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_CCWGROUP_DEV = 4194304
    VIR_CONNECT_LIST_NODE_DEVICES_CAP_CCWGROUP_MEMBER = 8388608
    VIR_CONNECT_LIST_NODE_DEVICES_PERSISTENT = 268435456
    VIR_CONNECT_LIST_NODE_DEVICES_TRANSIENT = 536870912
    VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE = 1073741824
    VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE = 2147483648


class NodeDeviceXMLFlags(IntFlag):
    """Bits of virNodeDeviceXMLFlags."""

    VIR_NODE_DEVICE_XML_INACTIVE = 1


class NodeDeviceCreateXMLFlags(IntFlag):
    """Bits of virNodeDeviceCreateXMLFlags."""

    VIR_NODE_DEVICE_CREATE_XML_VALIDATE = 1


class NodeDeviceDefineXMLFlags(IntFlag):
    """Bits of virNodeDeviceDefineXMLFlags."""

    VIR_NODE_DEVICE_DEFINE_XML_VALIDATE = 1


class NodeDeviceUpdateFlags(IntFlag):
    """Bits of virNodeDeviceUpdateFlags."""

    VIR_NODE_DEVICE_UPDATE_AFFECT_CURRENT = 0
    VIR_NODE_DEVICE_UPDATE_AFFECT_LIVE = 1
    VIR_NODE_DEVICE_UPDATE_AFFECT_CONFIG = 2


class NodeDeviceEventID(IntEnum):
    """Values of virNodeDeviceEventID."""

    VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE = 0
    VIR_NODE_DEVICE_EVENT_ID_UPDATE = 1


class NodeDeviceEventLifecycleType(IntEnum):
    """Values of virNodeDeviceEventLifecycleType."""

    VIR_NODE_DEVICE_EVENT_CREATED = 0
    VIR_NODE_DEVICE_EVENT_DELETED = 1
    VIR_NODE_DEVICE_EVENT_DEFINED = 2
    VIR_NODE_DEVICE_EVENT_UNDEFINED = 3


class NWFilterDefineFlags(IntFlag):
    """Bits of virNWFilterDefineFlags."""

    VIR_NWFILTER_DEFINE_VALIDATE = 1


class NWFilterBindingCreateFlags(IntFlag):
    """Bits of virNWFilterBindingCreateFlags."""

    VIR_NWFILTER_BINDING_CREATE_VALIDATE = 1


class SecretUsageType(IntEnum):
    """Values of virSecretUsageType."""

    VIR_SECRET_USAGE_TYPE_NONE = 0
    VIR_SECRET_USAGE_TYPE_VOLUME = 1
    VIR_SECRET_USAGE_TYPE_CEPH = 2
    VIR_SECRET_USAGE_TYPE_ISCSI = 3
    VIR_SECRET_USAGE_TYPE_TLS = 4
    VIR_SECRET_USAGE_TYPE_VTPM = 5


class ConnectListAllSecretsFlags(IntFlag):
    """Bits of virConnectListAllSecretsFlags."""

    VIR_CONNECT_LIST_SECRETS_EPHEMERAL = 1
    VIR_CONNECT_LIST_SECRETS_NO_EPHEMERAL = 2
    VIR_CONNECT_LIST_SECRETS_PRIVATE = 4
    VIR_CONNECT_LIST_SECRETS_NO_PRIVATE = 8


class SecretDefineFlags(IntFlag):
    """Bits of virSecretDefineFlags."""

    VIR_SECRET_DEFINE_VALIDATE = 1


class SecretEventID(IntEnum):
    """Values of virSecretEventID."""

    VIR_SECRET_EVENT_ID_LIFECYCLE = 0
    VIR_SECRET_EVENT_ID_VALUE_CHANGED = 1


class SecretEventLifecycleType(IntEnum):
    """Values of virSecretEventLifecycleType."""

    VIR_SECRET_EVENT_DEFINED = 0
    VIR_SECRET_EVENT_UNDEFINED = 1


class StoragePoolState(IntEnum):
    """Values of virStoragePoolState."""

    VIR_STORAGE_POOL_INACTIVE = 0
    VIR_STORAGE_POOL_BUILDING = 1
    VIR_STORAGE_POOL_RUNNING = 2
    VIR_STORAGE_POOL_DEGRADED = 3
    VIR_STORAGE_POOL_INACCESSIBLE = 4


class StoragePoolBuildFlags(IntFlag):
    """Bits of virStoragePoolBuildFlags."""

    VIR_STORAGE_POOL_BUILD_NEW = 0
    VIR_STORAGE_POOL_BUILD_REPAIR = 1
    VIR_STORAGE_POOL_BUILD_RESIZE = 2
    VIR_STORAGE_POOL_BUILD_NO_OVERWRITE = 4
    VIR_STORAGE_POOL_BUILD_OVERWRITE = 8


class StoragePoolDeleteFlags(IntFlag):
    """Bits of virStoragePoolDeleteFlags."""

    VIR_STORAGE_POOL_DELETE_NORMAL = 0
    VIR_STORAGE_POOL_DELETE_ZEROED = 1


class StoragePoolCreateFlags(IntFlag):
    """Bits of virStoragePoolCreateFlags."""

    VIR_STORAGE_POOL_CREATE_NORMAL = 0
    VIR_STORAGE_POOL_CREATE_WITH_BUILD = 1
    VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE = 2
    VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE = 4


class StorageVolType(IntEnum):
    """Values of virStorageVolType."""

    VIR_STORAGE_VOL_FILE = 0
    VIR_STORAGE_VOL_BLOCK = 1
    VIR_STORAGE_VOL_DIR = 2
    VIR_STORAGE_VOL_NETWORK = 3
    VIR_STORAGE_VOL_NETDIR = 4
    VIR_STORAGE_VOL_PLOOP = 5


class StorageVolDeleteFlags(IntFlag):
    """Bits of virStorageVolDeleteFlags."""

    VIR_STORAGE_VOL_DELETE_NORMAL = 0
    VIR_STORAGE_VOL_DELETE_ZEROED = 1
    VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS = 2


class StorageVolWipeAlgorithm(IntEnum):
    """Values of virStorageVolWipeAlgorithm."""

    VIR_STORAGE_VOL_WIPE_ALG_ZERO = 0
    VIR_STORAGE_VOL_WIPE_ALG_NNSA = 1
    VIR_STORAGE_VOL_WIPE_ALG_DOD = 2
    VIR_STORAGE_VOL_WIPE_ALG_BSI = 3
    VIR_STORAGE_VOL_WIPE_ALG_GUTMANN = 4
    VIR_STORAGE_VOL_WIPE_ALG_SCHNEIER = 5
    VIR_STORAGE_VOL_WIPE_ALG_PFITZNER7 = 6
    VIR_STORAGE_VOL_WIPE_ALG_PFITZNER33 = 7
    VIR_STORAGE_VOL_WIPE_ALG_RANDOM = 8
    VIR_STORAGE_VOL_WIPE_ALG_TRIM = 9


class StorageVolInfoFlags(IntFlag):
    """Bits of virStorageVolInfoFlags."""

    VIR_STORAGE_VOL_USE_ALLOCATION = 0
    VIR_STORAGE_VOL_GET_PHYSICAL = 1


class StorageXMLFlags(IntFlag):
    """Bits of virStorageXMLFlags."""

    VIR_STORAGE_XML_INACTIVE = 1


class ConnectListAllStoragePoolsFlags(IntFlag):
    """Bits of virConnectListAllStoragePoolsFlags."""

    VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE = 1
    VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE = 2
    VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT = 4
    VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT = 8
    VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART = 16
    VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART = 32
    VIR_CONNECT_LIST_STORAGE_POOLS_DIR = 64
    VIR_CONNECT_LIST_STORAGE_POOLS_FS = 128
    VIR_CONNECT_LIST_STORAGE_POOLS_NETFS = 256
    VIR_CONNECT_LIST_STORAGE_POOLS_LOGICAL = 512
    VIR_CONNECT_LIST_STORAGE_POOLS_DISK = 1024
    VIR_CONNECT_LIST_STORAGE_POOLS_ISCSI = 2048
    VIR_CONNECT_LIST_STORAGE_POOLS_SCSI = 4096
    VIR_CONNECT_LIST_STORAGE_POOLS_MPATH = 8192
    VIR_CONNECT_LIST_STORAGE_POOLS_RBD = 16384
    VIR_CONNECT_LIST_STORAGE_POOLS_SHEEPDOG = 32768
    VIR_CONNECT_LIST_STORAGE_POOLS_GLUSTER = 65536
    VIR_CONNECT_LIST_STORAGE_POOLS_ZFS = 131072
    VIR_CONNECT_LIST_STORAGE_POOLS_VSTORAGE = 262144
    VIR_CONNECT_LIST_STORAGE_POOLS_ISCSI_DIRECT = 524288


class StoragePoolDefineFlags(IntFlag):
    """Bits of virStoragePoolDefineFlags."""

    VIR_STORAGE_POOL_DEFINE_VALIDATE = 1


class StorageVolCreateFlags(IntFlag):
    """Bits of virStorageVolCreateFlags."""

    VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA = 1
    VIR_STORAGE_VOL_CREATE_REFLINK = 2
    VIR_STORAGE_VOL_CREATE_VALIDATE = 4


class StorageVolDownloadFlags(IntFlag):
    """Bits of virStorageVolDownloadFlags."""

    VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM = 1


class StorageVolUploadFlags(IntFlag):
    """Bits of virStorageVolUploadFlags."""

    VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM = 1


class StorageVolResizeFlags(IntFlag):
    """Bits of virStorageVolResizeFlags."""

    VIR_STORAGE_VOL_RESIZE_ALLOCATE = 1
    VIR_STORAGE_VOL_RESIZE_DELTA = 2
    VIR_STORAGE_VOL_RESIZE_SHRINK = 4


class StoragePoolEventID(IntEnum):
    """Values of virStoragePoolEventID."""

    VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE = 0
    VIR_STORAGE_POOL_EVENT_ID_REFRESH = 1


class StoragePoolEventLifecycleType(IntEnum):
    """Values of virStoragePoolEventLifecycleType."""

    VIR_STORAGE_POOL_EVENT_DEFINED = 0
    VIR_STORAGE_POOL_EVENT_UNDEFINED = 1
    VIR_STORAGE_POOL_EVENT_STARTED = 2
    VIR_STORAGE_POOL_EVENT_STOPPED = 3
    VIR_STORAGE_POOL_EVENT_CREATED = 4
    VIR_STORAGE_POOL_EVENT_DELETED = 5


class StreamFlags(IntFlag):
    """Bits of virStreamFlags."""

    VIR_STREAM_NONBLOCK = 1


class StreamRecvFlagsValues(IntFlag):
    """Bits of virStreamRecvFlagsValues."""

    VIR_STREAM_RECV_STOP_AT_HOLE = 1


class StreamEventType(IntFlag):
    """Bits of virStreamEventType."""

    VIR_STREAM_EVENT_READABLE = 1
    VIR_STREAM_EVENT_WRITABLE = 2
    VIR_STREAM_EVENT_ERROR = 4
    VIR_STREAM_EVENT_HANGUP = 8


class DomainQemuMonitorCommandFlags(IntFlag):
    """Bits of virDomainQemuMonitorCommandFlags."""

    VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT = 0
    VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP = 1


class DomainQemuAgentCommandTimeoutValues(IntEnum):
    """Values of virDomainQemuAgentCommandTimeoutValues."""

    VIR_DOMAIN_QEMU_AGENT_COMMAND_MIN = -2
    VIR_DOMAIN_QEMU_AGENT_COMMAND_BLOCK = -2
    VIR_DOMAIN_QEMU_AGENT_COMMAND_DEFAULT = -1
    VIR_DOMAIN_QEMU_AGENT_COMMAND_NOWAIT = 0
    VIR_DOMAIN_QEMU_AGENT_COMMAND_SHUTDOWN = 60


class ConnectDomainQemuMonitorEventRegisterFlags(IntFlag):
    """Bits of virConnectDomainQemuMonitorEventRegisterFlags."""

    VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX = 1
    VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_NOCASE = 2


class ClientTransport(IntEnum):
    """Values of virClientTransport."""

    VIR_CLIENT_TRANS_UNIX = 0
    VIR_CLIENT_TRANS_TCP = 1
    VIR_CLIENT_TRANS_TLS = 2


class AdmConnectDaemonShutdownFlags(IntFlag):
    """Bits of virAdmConnectDaemonShutdownFlags."""

    VIR_DAEMON_SHUTDOWN_PRESERVE = 1


class DriverFeature(IntEnum):
    """Values of virDrvFeature."""

    VIR_DRV_FEATURE_MIGRATION_V1 = 1
    VIR_DRV_FEATURE_REMOTE = 2
    VIR_DRV_FEATURE_MIGRATION_V2 = 3
    VIR_DRV_FEATURE_MIGRATION_P2P = 4
    VIR_DRV_FEATURE_MIGRATION_DIRECT = 5
    VIR_DRV_FEATURE_MIGRATION_V3 = 6
    VIR_DRV_FEATURE_MIGRATE_CHANGE_PROTECTION = 7
    VIR_DRV_FEATURE_FD_PASSING = 8
    VIR_DRV_FEATURE_TYPED_PARAM_STRING = 9
    VIR_DRV_FEATURE_PROGRAM_KEEPALIVE = 10
    VIR_DRV_FEATURE_XML_MIGRATABLE = 11
    VIR_DRV_FEATURE_MIGRATION_OFFLINE = 12
    VIR_DRV_FEATURE_MIGRATION_PARAMS = 13
    VIR_DRV_FEATURE_REMOTE_EVENT_CALLBACK = 14
    VIR_DRV_FEATURE_REMOTE_CLOSE_CALLBACK = 15
    VIR_DRV_FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER = 16


class ErrorNumber(IntEnum):
    """Values of virErrorNumber."""

    VIR_ERR_OK = 0
    VIR_ERR_INTERNAL_ERROR = 1
    VIR_ERR_NO_MEMORY = 2
    VIR_ERR_NO_SUPPORT = 3
    VIR_ERR_UNKNOWN_HOST = 4
    VIR_ERR_NO_CONNECT = 5
    VIR_ERR_INVALID_CONN = 6
    VIR_ERR_INVALID_DOMAIN = 7
    VIR_ERR_INVALID_ARG = 8
    VIR_ERR_OPERATION_FAILED = 9
    VIR_ERR_GET_FAILED = 10
    VIR_ERR_POST_FAILED = 11
    VIR_ERR_HTTP_ERROR = 12
    VIR_ERR_SEXPR_SERIAL = 13
    VIR_ERR_NO_XEN = 14
    VIR_ERR_XEN_CALL = 15
    VIR_ERR_OS_TYPE = 16
    VIR_ERR_NO_KERNEL = 17
    VIR_ERR_NO_ROOT = 18
    VIR_ERR_NO_SOURCE = 19
    VIR_ERR_NO_TARGET = 20
    VIR_ERR_NO_NAME = 21
    VIR_ERR_NO_OS = 22
    VIR_ERR_NO_DEVICE = 23
    VIR_ERR_NO_XENSTORE = 24
    VIR_ERR_DRIVER_FULL = 25
    VIR_ERR_CALL_FAILED = 26
    VIR_ERR_XML_ERROR = 27
    VIR_ERR_DOM_EXIST = 28
    VIR_ERR_OPERATION_DENIED = 29
    VIR_ERR_OPEN_FAILED = 30
    VIR_ERR_READ_FAILED = 31
    VIR_ERR_PARSE_FAILED = 32
    VIR_ERR_CONF_SYNTAX = 33
    VIR_ERR_WRITE_FAILED = 34
    VIR_ERR_XML_DETAIL = 35
    VIR_ERR_INVALID_NETWORK = 36
    VIR_ERR_NETWORK_EXIST = 37
    VIR_ERR_SYSTEM_ERROR = 38
    VIR_ERR_RPC = 39
    VIR_ERR_GNUTLS_ERROR = 40
    VIR_WAR_NO_NETWORK = 41
    VIR_ERR_NO_DOMAIN = 42
    VIR_ERR_NO_NETWORK = 43
    VIR_ERR_INVALID_MAC = 44
    VIR_ERR_AUTH_FAILED = 45
    VIR_ERR_INVALID_STORAGE_POOL = 46
    VIR_ERR_INVALID_STORAGE_VOL = 47
    VIR_WAR_NO_STORAGE = 48
    VIR_ERR_NO_STORAGE_POOL = 49
    VIR_ERR_NO_STORAGE_VOL = 50
    VIR_WAR_NO_NODE = 51
    VIR_ERR_INVALID_NODE_DEVICE = 52
    VIR_ERR_NO_NODE_DEVICE = 53
    VIR_ERR_NO_SECURITY_MODEL = 54
    VIR_ERR_OPERATION_INVALID = 55
    VIR_WAR_NO_INTERFACE = 56
    VIR_ERR_NO_INTERFACE = 57
    VIR_ERR_INVALID_INTERFACE = 58
    VIR_ERR_MULTIPLE_INTERFACES = 59
    VIR_WAR_NO_NWFILTER = 60
    VIR_ERR_INVALID_NWFILTER = 61
    VIR_ERR_NO_NWFILTER = 62
    VIR_ERR_BUILD_FIREWALL = 63
    VIR_WAR_NO_SECRET = 64
    VIR_ERR_INVALID_SECRET = 65
    VIR_ERR_NO_SECRET = 66
    VIR_ERR_CONFIG_UNSUPPORTED = 67
    VIR_ERR_OPERATION_TIMEOUT = 68
    VIR_ERR_MIGRATE_PERSIST_FAILED = 69
    VIR_ERR_HOOK_SCRIPT_FAILED = 70
    VIR_ERR_INVALID_DOMAIN_SNAPSHOT = 71
    VIR_ERR_NO_DOMAIN_SNAPSHOT = 72
    VIR_ERR_INVALID_STREAM = 73
    VIR_ERR_ARGUMENT_UNSUPPORTED = 74
    VIR_ERR_STORAGE_PROBE_FAILED = 75
    VIR_ERR_STORAGE_POOL_BUILT = 76
    VIR_ERR_SNAPSHOT_REVERT_RISKY = 77
    VIR_ERR_OPERATION_ABORTED = 78
    VIR_ERR_AUTH_CANCELLED = 79
    VIR_ERR_NO_DOMAIN_METADATA = 80
    VIR_ERR_MIGRATE_UNSAFE = 81
    VIR_ERR_OVERFLOW = 82
    VIR_ERR_BLOCK_COPY_ACTIVE = 83
    VIR_ERR_OPERATION_UNSUPPORTED = 84
    VIR_ERR_SSH = 85
    VIR_ERR_AGENT_UNRESPONSIVE = 86
    VIR_ERR_RESOURCE_BUSY = 87
    VIR_ERR_ACCESS_DENIED = 88
    VIR_ERR_DBUS_SERVICE = 89
    VIR_ERR_STORAGE_VOL_EXIST = 90
    VIR_ERR_CPU_INCOMPATIBLE = 91
    VIR_ERR_XML_INVALID_SCHEMA = 92
    VIR_ERR_MIGRATE_FINISH_OK = 93
    VIR_ERR_AUTH_UNAVAILABLE = 94
    VIR_ERR_NO_SERVER = 95
    VIR_ERR_NO_CLIENT = 96
    VIR_ERR_AGENT_UNSYNCED = 97
    VIR_ERR_LIBSSH = 98
    VIR_ERR_DEVICE_MISSING = 99
    VIR_ERR_INVALID_NWFILTER_BINDING = 100
    VIR_ERR_NO_NWFILTER_BINDING = 101
    VIR_ERR_INVALID_DOMAIN_CHECKPOINT = 102
    VIR_ERR_NO_DOMAIN_CHECKPOINT = 103
    VIR_ERR_NO_DOMAIN_BACKUP = 104
    VIR_ERR_INVALID_NETWORK_PORT = 105
    VIR_ERR_NETWORK_PORT_EXIST = 106
    VIR_ERR_NO_NETWORK_PORT = 107
    VIR_ERR_NO_HOSTNAME = 108
    VIR_ERR_CHECKPOINT_INCONSISTENT = 109
    VIR_ERR_MULTIPLE_DOMAINS = 110
    VIR_ERR_NO_NETWORK_METADATA = 111
    VIR_ERR_AGENT_COMMAND_TIMEOUT = 112
    VIR_ERR_AGENT_COMMAND_FAILED = 113
    VIR_ERR_INVALID_ENCR_KEY_SECRET = 114


class ErrorDomain(IntEnum):
    """Values of virErrorDomain."""

    VIR_FROM_NONE = 0
    VIR_FROM_XEN = 1
    VIR_FROM_XEND = 2
    VIR_FROM_XENSTORE = 3
    VIR_FROM_SEXPR = 4
    VIR_FROM_XML = 5
    VIR_FROM_DOM = 6
    VIR_FROM_RPC = 7
    VIR_FROM_PROXY = 8
    VIR_FROM_CONF = 9
    VIR_FROM_QEMU = 10
    VIR_FROM_NET = 11
    VIR_FROM_TEST = 12
    VIR_FROM_REMOTE = 13
    VIR_FROM_OPENVZ = 14
    VIR_FROM_XENXM = 15
    VIR_FROM_STATS_LINUX = 16
    VIR_FROM_LXC = 17
    VIR_FROM_STORAGE = 18
    VIR_FROM_NETWORK = 19
    VIR_FROM_DOMAIN = 20
    VIR_FROM_UML = 21
    VIR_FROM_NODEDEV = 22
    VIR_FROM_XEN_INOTIFY = 23
    VIR_FROM_SECURITY = 24
    VIR_FROM_VBOX = 25
    VIR_FROM_INTERFACE = 26
    VIR_FROM_ONE = 27
    VIR_FROM_ESX = 28
    VIR_FROM_PHYP = 29
    VIR_FROM_SECRET = 30
    VIR_FROM_CPU = 31
    VIR_FROM_XENAPI = 32
    VIR_FROM_NWFILTER = 33
    VIR_FROM_HOOK = 34
    VIR_FROM_DOMAIN_SNAPSHOT = 35
    VIR_FROM_AUDIT = 36
    VIR_FROM_SYSINFO = 37
    VIR_FROM_STREAMS = 38
    VIR_FROM_VMWARE = 39
    VIR_FROM_EVENT = 40
    VIR_FROM_LIBXL = 41
    VIR_FROM_LOCKING = 42
    VIR_FROM_HYPERV = 43
    VIR_FROM_CAPABILITIES = 44
    VIR_FROM_URI = 45
    VIR_FROM_AUTH = 46
    VIR_FROM_DBUS = 47
    VIR_FROM_PARALLELS = 48
    VIR_FROM_DEVICE = 49
    VIR_FROM_SSH = 50
    VIR_FROM_LOCKSPACE = 51
    VIR_FROM_INITCTL = 52
    VIR_FROM_IDENTITY = 53
    VIR_FROM_CGROUP = 54
    VIR_FROM_ACCESS = 55
    VIR_FROM_SYSTEMD = 56
    VIR_FROM_BHYVE = 57
    VIR_FROM_CRYPTO = 58
    VIR_FROM_FIREWALL = 59
    VIR_FROM_POLKIT = 60
    VIR_FROM_THREAD = 61
    VIR_FROM_ADMIN = 62
    VIR_FROM_LOGGING = 63
    VIR_FROM_XENXL = 64
    VIR_FROM_PERF = 65
    VIR_FROM_LIBSSH = 66
    VIR_FROM_RESCTRL = 67
    VIR_FROM_FIREWALLD = 68
    VIR_FROM_DOMAIN_CHECKPOINT = 69
    VIR_FROM_TPM = 70
    VIR_FROM_BPF = 71
    VIR_FROM_CH = 72


class ErrorLevel(IntEnum):
    """Values of virErrorLevel."""

    VIR_ERR_NONE = 0
    VIR_ERR_WARNING = 1
    VIR_ERR_ERROR = 2
