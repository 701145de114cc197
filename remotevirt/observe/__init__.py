"""What hears the trace hook: metrics, the status page, the audit trail, the live trace, the log of calls."""

from remotevirt.observe.audit import AuditTracer, open_sink
from remotevirt.observe.endpoint import ObserveFactory
from remotevirt.observe.lag import LagMeter
from remotevirt.observe.live import LiveTracer
from remotevirt.observe.logs import LogTracer
from remotevirt.observe.metrics import Metrics
from remotevirt.observe.status import Domains, Status

__all__ = [
    "AuditTracer",
    "Domains",
    "LagMeter",
    "LiveTracer",
    "LogTracer",
    "Metrics",
    "ObserveFactory",
    "Status",
    "open_sink",
]
