"""The digest that drivers stamp into their guests."""

from __future__ import annotations

from dataclasses import replace

from agent.virt.digest import spec_digest
from tests.contract.virt.spec import make_spec

SPEC = make_spec()


def test_the_digest_is_of_the_guest_not_of_the_way_to_its_image() -> None:
    fetched_elsewhere = replace(SPEC, image=replace(SPEC.image, url="http://other/", token="new"))
    assert spec_digest(fetched_elsewhere) == spec_digest(SPEC)
    assert spec_digest(replace(SPEC, memory_mib=1)) != spec_digest(SPEC)
    assert spec_digest(replace(SPEC, image=replace(SPEC.image, sha256="1" * 64))) != spec_digest(SPEC)
