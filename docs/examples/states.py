"""Print each guest and its state."""

import sys

import libvirt

STATES = {libvirt.VIR_DOMAIN_RUNNING: "running", libvirt.VIR_DOMAIN_PAUSED: "paused"}

connection = libvirt.open(sys.argv[1])
for domain in connection.listAllDomains():
    state, _ = domain.state()
    print(domain.name(), "is", STATES.get(state, "not running"))
connection.close()
