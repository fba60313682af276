"""Parameters of verbs, and images a guest can be rebuilt from where it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conductor.rule.verb import check_fit, check_parameters, check_same_kind
from drover import errors
from drover.objects.catalog import Flavor, Image
from drover.states import Action
from drover.units import GIB

FLAVOR = Flavor(id="f", name="small", vcpus=1, memory_mib=512, disk_gib=5)
IMAGE = Image(id="i", name="img", virtual_size_bytes=2 * GIB)


@pytest.mark.parametrize("action", [a for a in Action if a not in (Action.BUILD, Action.SOFT_DELETE)])
def test_a_verb_takes_its_own_parameters_and_no_others(action: Action) -> None:
    needed = {"name": "kept"} if action is Action.SNAPSHOT else {}
    kept = check_parameters(action, needed)
    assert kept == ({"type": "soft"} if action is Action.REBOOT else needed)
    with pytest.raises(errors.BadInput):
        check_parameters(action, {**needed, "image_id": "x"})
    with pytest.raises(errors.BadInput):
        check_parameters(action, {**needed, "power": "off"})


def test_a_long_value_is_refused_and_told_in_part() -> None:
    with pytest.raises(errors.BadInput) as caught:
        check_parameters(Action.REBUILD, {"image": "x" * 100_000})
    assert len(caught.value.message) < 400


def test_a_flavor_must_have_what_the_image_needs() -> None:
    check_fit(FLAVOR, replace(IMAGE, min_memory_mib=512, min_disk_gib=5))
    check_fit(replace(FLAVOR, disk_gib=0), replace(IMAGE, min_disk_gib=50))
    for large in (replace(IMAGE, min_memory_mib=513), replace(IMAGE, min_disk_gib=6)):
        with pytest.raises(errors.InvalidFlavor):
            check_fit(FLAVOR, large)


def test_a_guest_whose_disk_is_its_images_takes_no_larger_one() -> None:
    larger = replace(IMAGE, virtual_size_bytes=2 * GIB + 1)
    check_same_kind(FLAVOR, larger, IMAGE)
    check_same_kind(replace(FLAVOR, disk_gib=0), IMAGE, larger)
    with pytest.raises(errors.InvalidFlavor, match=r"2 GiB of disk were claimed .* needs 3"):
        check_same_kind(replace(FLAVOR, disk_gib=0), larger, IMAGE)
    with pytest.raises(errors.InvalidImage):
        check_same_kind(FLAVOR, replace(IMAGE, architecture="aarch64"), IMAGE)
