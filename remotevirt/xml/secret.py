"""The document of a secret: what it is for, and who may see it. Its value never stands in one."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import attrs

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.parse import Element, parse_document, text_of
from remotevirt.xml.schema import SCHEMAS, validate_document
from remotevirt.xml.values import format_uuid, parse_uuid
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["SecretModel", "format_secret", "parse_secret"]

USAGES: Final = ("none", "volume", "ceph", "iscsi", "tls", "vtpm")
"""The words for virSecretUsageType, by number."""

PLACES: Final = {
    c.VIR_SECRET_USAGE_TYPE_VOLUME: ("volume", "volume usage specified, but volume path is missing"),
    c.VIR_SECRET_USAGE_TYPE_CEPH: ("name", "Ceph usage specified, but name is missing"),
    c.VIR_SECRET_USAGE_TYPE_ISCSI: ("target", "iSCSI usage specified, but target is missing"),
    c.VIR_SECRET_USAGE_TYPE_TLS: ("name", "TLS usage specified, but name is missing"),
    c.VIR_SECRET_USAGE_TYPE_VTPM: ("name", "vTPM usage specified, but name is missing"),
}
"""By usage: the element that names what the secret is for, and what libvirt says if it does not."""


@attrs.frozen
class SecretModel:
    """A secret.

    Attributes:
        uuid: 16 bytes.
        ephemeral: it is forgotten when the daemon ends.
        private: its value is given to no client.
        description: whatever its owner wrote.
        usage_type: what kind of thing it is for (VIR_SECRET_USAGE_TYPE_*).
        usage_id: which one; None for a secret without a usage.
    """

    uuid: bytes
    ephemeral: bool = False
    private: bool = False
    description: str | None = None
    usage_type: int = c.VIR_SECRET_USAGE_TYPE_NONE
    usage_id: str | None = None


def _child(element: Element, name: str) -> str:
    """Return the text of a child, "" if there is none."""
    found = element.find(name)
    return "" if found is None else text_of(found)


def _switch(element: Element, name: str) -> bool:
    """Return an attribute that says yes or no; an empty one says no."""
    text = element.get(name) or "no"
    if text not in ("yes", "no"):
        raise XmlError(f"invalid value of '{name}'", domain=c.VIR_FROM_SECRET)
    return text == "yes"


def _read_usage(element: Element) -> tuple[int, str | None]:
    """Return what a secret is for: the kind, and which one."""
    word = element.get("type")
    if not word:
        raise XmlError("unknown secret usage type", domain=c.VIR_FROM_SECRET)
    if word not in USAGES:
        raise ConfigUnsupported(f"unknown secret usage type {word}", domain=c.VIR_FROM_SECRET)
    kind = USAGES.index(word)
    if kind not in PLACES:
        return kind, None
    place, complaint = PLACES[kind]
    name = _child(element, place)
    if not name:
        raise InternalError(complaint, domain=c.VIR_FROM_SECRET)
    return kind, name


def parse_secret(text: str, *, validate: bool = False) -> SecretModel:
    """Read a secret's document; without a UUID it gets a new one.

    Args:
        text: the document.
        validate: refuse what libvirt's schema does not know.

    Raises:
        VirError: with the code, domain and text that libvirt gives.
    """
    root = parse_document(text, root="secret", source="(definition_of_secret)", domain=c.VIR_FROM_SECRET)
    if validate:
        validate_document(root, SCHEMAS / "secret.rng")
    ephemeral, private = _switch(root, "ephemeral"), _switch(root, "private")
    words = _child(root, "uuid")
    uuid = parse_uuid(words) if words else uuid4().bytes
    if uuid is None:
        raise InternalError("malformed uuid element", domain=c.VIR_FROM_SECRET)
    description = _child(root, "description") or None
    found = root.find("usage")
    kind, name = (c.VIR_SECRET_USAGE_TYPE_NONE, None) if found is None else _read_usage(found)
    return SecretModel(uuid, ephemeral, private, description, kind, name)


def format_secret(model: SecretModel) -> str:
    """Print a secret, with a line end after it."""
    made = Tag("secret")
    made.set("ephemeral", "yes" if model.ephemeral else "no")
    made.set("private", "yes" if model.private else "no")
    made.add(leaf("uuid", format_uuid(model.uuid)))
    if model.description is not None:
        made.add(leaf("description", model.description))
    if model.usage_id is not None:
        usage = Tag("usage").set("type", USAGES[model.usage_type])
        usage.add(leaf(PLACES[model.usage_type][0], model.usage_id))
        made.add(usage)
    return render(made)
