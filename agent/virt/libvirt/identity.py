"""Who a domain is: Drover's element in the domain's metadata.

*Ours* means that the element's uuid equals the domain's and that the deployment is ours; anything else is
foreign, listed and never touched.  The element of the live XML counts while the domain is active.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from agent.virt.digest import spec_digest
from agent.virt.libvirt.xml.element import add, parse, render, text_safe
from drover.objects.guest import GuestClass, GuestSpec

__all__ = ["NAMESPACE", "PREFIX", "Stamp", "classify", "domain_name", "element", "read", "restamped", "stamp"]

NAMESPACE = "urn:drover:instance:1"
PREFIX = "drover"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What the machine reads; the names beside it are for people."""

    deployment_id: str
    uuid: str
    epoch: int
    digest: str
    operation_id: str
    rescue: bool = False  # this definition boots from the rescue disk


def domain_name(instance_uuid: str) -> str:
    """The name in ``virsh list``: unique for ever, and the uuid can be copied out of it."""
    return f"drover-{instance_uuid}"


def stamp(spec: GuestSpec, operation_id: str, *, rescue: bool = False) -> Stamp:
    return Stamp(
        deployment_id=spec.deployment_id,
        uuid=spec.uuid,
        epoch=spec.epoch,
        digest=spec_digest(spec),
        operation_id=operation_id,
        rescue=rescue,
    )


def element(mark: Stamp, spec: GuestSpec) -> ET.Element:
    """``<drover:instance>`` for the ``<metadata>`` of a new definition."""
    root = ET.Element(
        _tag("instance"),
        {
            f"xmlns:{PREFIX}": NAMESPACE,
            "deployment": text_safe(mark.deployment_id),
            "uuid": mark.uuid,
            "epoch": str(mark.epoch),
            "digest": mark.digest,
            "operation": text_safe(mark.operation_id),
        },
    )
    if mark.rescue:
        root.set("rescue", "yes")
    for tag, text in (
        ("name", spec.name),
        ("flavor", spec.flavor_name),
        ("image", spec.image.id),
        ("project", spec.project_id),
        ("user", spec.user_id),
    ):
        add(root, _tag(tag), text)
    for key, value in sorted(spec.metadata.items()):
        add(root, _tag("property"), value, key=key)
    return root


def restamped(text: str, operation_id: str) -> str:
    """The element *text* with another operation id. libvirt takes metadata as it gives it: without the namespace."""
    root = parse(text)
    root.set("operation", text_safe(operation_id))
    return render(root)


def read(text: str) -> Stamp | None:
    """The stamp in the element that libvirt returns for :data:`NAMESPACE`; None when it is not of this release's kind."""
    try:
        root = parse(text)
        if root.tag != "instance":
            return None
        return Stamp(
            deployment_id=root.attrib["deployment"],
            uuid=root.attrib["uuid"],
            epoch=int(root.attrib["epoch"]),
            digest=root.attrib["digest"],
            operation_id=root.attrib["operation"],
            rescue=root.get("rescue") == "yes",
        )
    except (ET.ParseError, KeyError, ValueError):
        return None


def classify(mark: Stamp | None, domain_uuid: str, deployment_id: str) -> GuestClass:
    """:param deployment_id: ours; empty while this host has not been told: then everything is foreign."""
    if mark is None or not deployment_id or mark.deployment_id != deployment_id or mark.uuid != domain_uuid:
        return GuestClass.FOREIGN
    return GuestClass.OURS


def _tag(name: str) -> str:
    return f"{PREFIX}:{name}"
