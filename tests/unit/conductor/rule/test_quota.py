from __future__ import annotations

import pytest

from conductor.rule.quota import LARGEST_LIMIT, amounts_of, check_change, fitting
from drover import errors
from drover.objects.catalog import Flavor
from drover.objects.quota import RESOURCES, UNLIMITED, Amounts, Quota, QuotaChange

EACH = amounts_of(Flavor(id="f", name="small", vcpus=2, memory_mib=512, disk_gib=0), networks=1)
NOTHING = Amounts()
NONE = dict.fromkeys(RESOURCES, UNLIMITED)


def quota(used: Amounts = NOTHING, /, **limits: int) -> Quota:
    return Quota(project_id="p", limits=Amounts(**{**NONE, **limits}), used=used)


def test_no_limit_leaves_room_for_all() -> None:
    assert fitting(quota(), EACH, least=1000, most=1000) == 1000
    assert not quota().limited
    assert quota(vcpus=0).limited


@pytest.mark.parametrize(
    ("limits", "fits"),
    [({"instances": 3}, 3), ({"vcpus": 7}, 3), ({"memory_mib": 1024}, 2), ({"addresses": 0, "vcpus": 9}, 0)],
)
def test_the_scarcest_resource_decides(limits: dict[str, int], fits: int) -> None:
    assert fitting(quota(**limits), EACH, least=0, most=10) == fits


def test_what_an_instance_has_none_of_is_no_matter() -> None:
    assert fitting(quota(Amounts(disk_gib=50), disk_gib=10), EACH, least=1, most=5) == 5


def test_a_refusal_names_resource_limit_use_and_what_was_asked() -> None:
    with pytest.raises(errors.QuotaExceeded) as refused:
        fitting(quota(Amounts(instances=1, vcpus=2), instances=10, vcpus=6), EACH, least=3, most=5)
    assert refused.value.kwargs == {"project": "p", "resource": "vcpus", "limit": 6, "used": 2, "asked": 6}
    assert refused.value.exit_code == 4


def test_a_limit_below_the_use_lets_nothing_come() -> None:
    assert fitting(quota(Amounts(instances=2), instances=2), EACH, least=0, most=4) == 0
    with pytest.raises(errors.QuotaExceeded):
        fitting(quota(Amounts(instances=5), instances=2), EACH, least=0, most=4)


def test_a_change_names_at_least_one_possible_limit() -> None:
    assert check_change(QuotaChange(vcpus=UNLIMITED, addresses=0)) == {"vcpus": UNLIMITED, "addresses": 0}
    for bad in (QuotaChange(), QuotaChange(vcpus=-2), QuotaChange(vcpus=LARGEST_LIMIT + 1)):
        with pytest.raises(errors.BadInput):
            check_change(bad)
