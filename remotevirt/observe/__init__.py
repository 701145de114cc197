"""What hears the trace hook: metrics, the status page, the audit trail, the live trace, the log of calls.

Metrics and status page are in :mod:`remotevirt.observe.pages`.
"""

from remotevirt.observe.audit import AuditTracer, open_sink
from remotevirt.observe.live import LiveTracer
from remotevirt.observe.logs import LogTracer

__all__ = [
    "AuditTracer",
    "LiveTracer",
    "LogTracer",
    "open_sink",
]
