# TEMPORARY stand-in until the XML room is there
from __future__ import annotations

import copy
import uuid as U

from lxml import etree

from remotevirt.drivers.test.runstate import read_run_state
from remotevirt.stubs.errors import XmlError


class Definition:
    @classmethod
    def parse(cls, text: str, *, validate: bool = False) -> Definition:
        try:
            e = etree.fromstring(text)
        except etree.XMLSyntaxError as x:
            raise XmlError(str(x))
        s = cls()
        s.size = len(text)
        s.name = e.findtext("name")
        u = e.findtext("uuid")
        s.uuid = U.UUID(u).bytes if u else U.uuid4().bytes
        s.max_memory = int(e.findtext("memory"))
        s.memory = int(e.findtext("currentMemory") or s.max_memory)
        v = e.find("vcpu")
        s.max_vcpus = int(v.text) if v is not None else 1
        s.vcpus = int(v.get("current", s.max_vcpus)) if v is not None else 1
        s.title = e.findtext("title")
        s.description = e.findtext("description")
        s.on_poweroff = e.findtext("on_poweroff") or "destroy"
        s.on_reboot = e.findtext("on_reboot") or "restart"
        s.disks = [
            (
                d.find("target").get("dev"),
                next(iter(d.find("source").values()), "") if d.find("source") is not None else "",
            )
            for d in e.findall("devices/disk")
        ]
        s.ifs = [
            (
                i.find("target").get("dev") if i.find("target") is not None else "",
                i.find("mac").get("address"),
            )
            for i in e.findall("devices/interface")
        ]
        s.has_balloon = e.find("devices/memballoon") is not None
        s.balloon_period = 0
        s.emulator_pin = None
        s.cpu_mask = None
        s.pins = {}
        s.meta = {}
        s.iothreads = []
        s.run_state = read_run_state(e)
        return s

    def copy(self):
        c = copy.copy(self)
        c.pins = dict(self.pins)
        c.meta = dict(self.meta)
        return c

    def format(self, flags, id):
        return f"<domain type='test'>{self.name} {id}</domain>"

    def vcpu_pin(self, n):
        return self.pins.get(n)

    def pin_vcpu(self, n, b):
        self.pins[n] = b

    def metadata(self, uri):
        return self.meta.get(uri)

    def set_metadata(self, uri, key, x):
        if x is None:
            self.meta.pop(uri, None)
        else:
            self.meta[uri] = x

    def metadata_size(self, without=None):
        return sum(len(v) for k, v in self.meta.items() if k != without)

    def has_interface(self, d):
        return any(d in i for i in self.ifs)
