"""The admin program: the daemon itself, its servers and their clients, for ``virt-admin``.

* :mod:`~remotevirt.admin.server`: the server called ``admin``, and who may come in.
* :mod:`~remotevirt.admin.session`: what it answers.
* :mod:`~remotevirt.admin.clients`: clients and their limits as parameters.
* :mod:`~remotevirt.admin.workers`: threads as parameters.
"""

from __future__ import annotations

from remotevirt.admin.controls import Controls, Logs
from remotevirt.admin.server import ADMIN_SERVER, admin_server
from remotevirt.admin.session import AdminSession

__all__ = ["ADMIN_SERVER", "AdminSession", "Controls", "Logs", "admin_server"]
