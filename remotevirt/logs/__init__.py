"""The daemon's log, governed by libvirt's settings.

* :mod:`~remotevirt.logs.settings`: levels, filters and outputs, and the strings that say them.
* :mod:`~remotevirt.logs.record`: one thing that was logged, as text and as JSON.
* :mod:`~remotevirt.logs.sinks`: files, streams, syslog, the journal.
* :mod:`~remotevirt.logs.log`: the observer that puts them together.
"""

from __future__ import annotations

from remotevirt.logs.log import Logs
from remotevirt.logs.settings import Filter, Kind, Level, Output

__all__ = ["Filter", "Kind", "Level", "Logs", "Output"]
