"""Whose a domain is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lxml import etree

from agent.virt.libvirt import identity
from agent.virt.libvirt.xml.element import render
from drover.objects.guest import GuestClass
from tests.unit.agent.virt.libvirt.spec import make_spec

SPEC = make_spec()
MARK = identity.stamp(SPEC, "operation-1")


def as_libvirt_returns_it(text: str) -> str:
    """Without the namespace, which is how virDomainGetMetadata answers."""
    root = etree.fromstring(text)
    for node in root.iter():
        node.tag = etree.QName(node).localname
    etree.cleanup_namespaces(root)
    return str(etree.tostring(root, encoding="unicode"))


def test_what_is_stamped_is_read_back() -> None:
    text = as_libvirt_returns_it(render(identity.element(MARK, SPEC)))
    assert identity.read(text) == MARK


def test_a_rescue_is_stamped_and_outlives_a_restamp() -> None:
    mark = identity.stamp(SPEC, "operation-1", rescue=True)
    text = as_libvirt_returns_it(render(identity.element(mark, SPEC)))
    assert identity.read(text) == replace(MARK, rescue=True)
    assert identity.read(identity.restamped(text, "operation-2")) == replace(mark, operation_id="operation-2")


def test_a_restamp_changes_the_operation_alone() -> None:
    text = as_libvirt_returns_it(render(identity.element(MARK, SPEC)))
    again = identity.restamped(text, "operation-2")
    assert identity.read(again) == replace(MARK, operation_id="operation-2")
    assert again.replace("operation-2", "operation-1").split() == text.split()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<instance/>",
        "<instance deployment='d' uuid='u' epoch='many' digest='' operation=''/>",
        "<other deployment='d' uuid='u' epoch='1' digest='' operation=''/>",
        "not xml",
    ],
)
def test_what_is_no_stamp_reads_as_none(text: str) -> None:
    assert identity.read(text) is None


@pytest.mark.parametrize(
    ("mark", "domain_uuid", "deployment_id", "kind"),
    [
        (MARK, SPEC.uuid, SPEC.deployment_id, GuestClass.OURS),
        (None, SPEC.uuid, SPEC.deployment_id, GuestClass.FOREIGN),
        (MARK, "a-copy", SPEC.deployment_id, GuestClass.FOREIGN),
        (MARK, SPEC.uuid, "another", GuestClass.FOREIGN),
        (MARK, SPEC.uuid, "", GuestClass.FOREIGN),
        (replace(MARK, deployment_id=""), SPEC.uuid, "", GuestClass.FOREIGN),
    ],
)
def test_classify(mark: identity.Stamp | None, domain_uuid: str, deployment_id: str, kind: GuestClass) -> None:
    assert identity.classify(mark, domain_uuid, deployment_id) is kind
