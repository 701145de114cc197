"""States of a domain, operations on it, and what a real libvirtd 9.0.0 answered to each pair.

The recording (``state_table.json``) was made with libvirt's own test driver over the wire: for each state
a domain was brought there by :data:`STATES`, then one of :data:`OPERATIONS` was called. Recorded are the
error (code, domain, message, str1, str2, int1) or null, the domain afterwards (state, reason, active,
persistent, managed save; null if it is gone), and the lifecycle events (event, detail, whether the domain
in it had an id).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAME = "machine"
UUID = bytes(range(1, 17))
XML = (
    f"<domain type='test'><name>{NAME}</name><uuid>01020304-0506-0708-090a-0b0c0d0e0f10</uuid>"
    "<memory>65536</memory><vcpu current='2'>4</vcpu><os><type>hvm</type></os>{extra}</domain>"
)
PLAIN = XML.replace("{extra}", "")

REF = object()
"""Stands for the domain's reference in arguments."""

STATES: dict[str, list[tuple[Any, ...]]] = {
    "shutoff": [("domain_define_xml", PLAIN)],
    "running": [("domain_define_xml", PLAIN), ("domain_create", REF)],
    "paused": [("domain_define_xml", PLAIN), ("domain_create", REF), ("domain_suspend", REF)],
    "resumed": [
        ("domain_define_xml", PLAIN),
        ("domain_create", REF),
        ("domain_suspend", REF),
        ("domain_resume", REF),
    ],
    "destroyed": [("domain_define_xml", PLAIN), ("domain_create", REF), ("domain_destroy", REF)],
    "saved": [("domain_define_xml", PLAIN), ("domain_create", REF), ("domain_managed_save", REF, 0)],
    "transient": [("domain_create_xml", PLAIN, 0)],
    "transient-paused": [("domain_create_xml", PLAIN, 0), ("domain_suspend", REF)],
    "undefined": [("domain_define_xml", PLAIN), ("domain_create", REF), ("domain_undefine", REF)],
    "redefined": [
        ("domain_define_xml", PLAIN),
        ("domain_create", REF),
        ("domain_define_xml", PLAIN.replace("65536", "32768")),
    ],
    "adopted": [("domain_create_xml", PLAIN, 0), ("domain_define_xml", PLAIN)],
    "off-restarts": [
        ("domain_define_xml", XML.replace("{extra}", "<on_poweroff>restart</on_poweroff>")),
        ("domain_create", REF),
    ],
    "off-preserves": [
        ("domain_define_xml", XML.replace("{extra}", "<on_poweroff>preserve</on_poweroff>")),
        ("domain_create", REF),
    ],
    "reboot-destroys": [
        ("domain_define_xml", XML.replace("{extra}", "<on_reboot>destroy</on_reboot>")),
        ("domain_create", REF),
    ],
    "transient-reboot-destroys": [
        ("domain_create_xml", XML.replace("{extra}", "<on_reboot>destroy</on_reboot>"), 0),
    ],
    "gone": [("domain_define_xml", PLAIN), ("domain_undefine", REF)],
}

OPERATIONS: list[tuple[Any, ...]] = [
    ("domain_create", REF),
    ("domain_create_with_flags", REF, 0),
    ("domain_create_with_flags", REF, 1),
    ("domain_suspend", REF),
    ("domain_resume", REF),
    ("domain_shutdown", REF),
    ("domain_shutdown_flags", REF, 0),
    ("domain_shutdown_flags", REF, 2),
    ("domain_reboot", REF, 0),
    ("domain_reboot", REF, 32),
    ("domain_reset", REF, 0),
    ("domain_reset", REF, 1),
    ("domain_destroy", REF),
    ("domain_destroy_flags", REF, 1),
    ("domain_destroy_flags", REF, 2),
    ("domain_undefine", REF),
    ("domain_undefine_flags", REF, 1),
    ("domain_undefine_flags", REF, 3),
    ("domain_undefine_flags", REF, 4),
    ("domain_managed_save", REF, 0),
    ("domain_managed_save", REF, 8),
    ("domain_managed_save_remove", REF, 0),
    ("domain_has_managed_save_image", REF, 0),
    ("domain_define_xml", PLAIN),
    ("domain_define_xml_flags", PLAIN, 2),
    ("domain_create_xml", PLAIN, 0),
    ("domain_create_xml", PLAIN, 1),
    ("domain_rename", REF, "other", 0),
    ("domain_rename", REF, NAME, 0),
    ("domain_rename", REF, "test", 0),
    ("domain_rename", REF, "a/b", 0),
    ("domain_rename", REF, "", 0),
    ("domain_rename", REF, "other", 1),
    ("domain_set_autostart", REF, 1),
    ("domain_get_autostart", REF),
    ("domain_get_state", REF, 1),
    ("domain_get_control_info", REF, 0),
    ("domain_get_time", REF, 0),
    ("domain_set_time", REF, 5, 0, 0),
    ("domain_get_hostname", REF, 0),
    ("domain_get_max_memory", REF),
    ("domain_set_max_memory", REF, 40000),
    ("domain_set_memory", REF, 30000),
    ("domain_set_memory", REF, 70000),
    ("domain_set_memory_flags", REF, 30000, 0),
    ("domain_set_memory_flags", REF, 30000, 1),
    ("domain_set_memory_flags", REF, 30000, 2),
    ("domain_set_memory_flags", REF, 30000, 3),
    ("domain_set_memory_flags", REF, 30000, 6),
    ("domain_set_memory_stats_period", REF, 3, 0),
    ("domain_get_vcpus", REF, 4, 2),
    ("domain_get_max_vcpus", REF),
    ("domain_set_vcpus", REF, 3),
    ("domain_set_vcpus", REF, 5),
    ("domain_set_vcpus_flags", REF, 1, 0),
    ("domain_set_vcpus_flags", REF, 1, 2),
    ("domain_set_vcpus_flags", REF, 1, 3),
    ("domain_set_vcpus_flags", REF, 8, 4),
    ("domain_set_vcpus_flags", REF, 8, 6),
    ("domain_set_vcpus_flags", REF, 33, 2),
    ("domain_get_vcpus_flags", REF, 0),
    ("domain_get_vcpus_flags", REF, 1),
    ("domain_get_vcpus_flags", REF, 2),
    ("domain_get_vcpus_flags", REF, 6),
    ("domain_pin_vcpu", REF, 0, b"\x03"),
    ("domain_pin_vcpu", REF, 3, b"\x03"),
    ("domain_get_vcpu_pin_info", REF, 4, 2, 0),
    ("domain_get_vcpu_pin_info", REF, 4, 2, 2),
    ("domain_get_emulator_pin_info", REF, 2, 0),
    ("domain_pin_emulator", REF, b"\x05", 0),
    ("domain_memory_stats", REF, 13, 0),
    ("domain_get_cpu_stats", REF, 3, -1, 1, 0),
    ("domain_get_disk_errors", REF, 0, 0),
    ("domain_block_stats", REF, "vda"),
    ("domain_interface_stats", REF, "eth0"),
    ("domain_get_security_label", REF),
    ("domain_get_scheduler_type", REF),
    ("domain_get_scheduler_parameters", REF, 1),
    ("domain_get_metadata", REF, 0, None, 0),
    ("domain_get_metadata", REF, 0, None, 1),
    ("domain_get_metadata", REF, 0, None, 2),
    ("domain_set_metadata", REF, 0, "words", None, None, 0),
    ("domain_set_metadata", REF, 0, "words", None, None, 1),
    ("domain_set_metadata", REF, 0, "words", None, None, 2),
    ("domain_set_metadata", REF, 0, "words", None, None, 3),
    ("domain_set_metadata", REF, 7, "words", None, None, 0),
    ("domain_get_os_type", REF),
    ("domain_is_active", REF),
    ("domain_is_persistent", REF),
    ("domain_is_updated", REF),
    ("domain_get_messages", REF, 0),
    ("domain_get_xml_desc", REF, 4),
]


def label(operation: tuple[Any, ...]) -> str:
    """Return the key of an operation in the recording."""
    name, *arguments = operation
    shown = ["REF" if value is REF else repr(value) for value in arguments]
    return f"{name}({', '.join(shown)})".replace(PLAIN, "XML")


def recorded() -> dict[str, dict[str, list[Any]]]:
    """Return the recording: state -> operation -> [error, afterwards, events, value].

    In the file the outcomes stand apart, because most of them occur often.
    """
    data = json.loads(Path(__file__).with_name("state_table.json").read_text(encoding="utf-8"))
    outcomes, operations = data["outcomes"], data["operations"]
    return {
        state: {operation: outcomes[number] for operation, number in zip(operations, row, strict=True)}
        for state, row in data["states"].items()
    }


def plain(value: Any) -> Any:
    """Return an answer as JSON has it; references and what depends on the clock are left out."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = {name: plain(item) for name, item in zip(value._fields, value, strict=True)}
        return {name: item for name, item in fields.items() if name not in ("cpu_time", "dom", "id")}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
