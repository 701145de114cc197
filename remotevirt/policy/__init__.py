"""Who may do what on which objects: the policy file, what it means, and its enforcement.

::

    file.py     TOML -> rules, strictly           rules.py    one rule: whom, and which objects
    engine.py   rules -> rights of a client       store.py    the policy in force, and reloading
    plans.py    what each procedure needs         finder.py   which objects a reference means
    guards.py   enforcement of calls              filters.py  of lists
    events.py   of events                         cli.py      remotevirt-policy

It knows the contract and the seam to drivers, and nothing of transports or the server.
"""

from remotevirt.policy.engine import Decision, Policy, Rights, access_denied
from remotevirt.policy.events import Watcher
from remotevirt.policy.file import PolicyError, load_policy, parse_policy
from remotevirt.policy.guards import enforce
from remotevirt.policy.rules import Thing
from remotevirt.policy.store import PolicyStore

__all__ = [
    "Decision",
    "Policy",
    "PolicyError",
    "PolicyStore",
    "Rights",
    "Thing",
    "Watcher",
    "access_denied",
    "enforce",
    "load_policy",
    "parse_policy",
]
