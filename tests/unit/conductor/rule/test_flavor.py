from __future__ import annotations

from dataclasses import replace

import pytest

from conductor.rule.flavor import check_flavor
from drover import errors
from drover.objects.catalog import Flavor

SMALL = Flavor(id="", name="small", vcpus=1, memory_mib=64, disk_gib=0)


@pytest.mark.parametrize(
    "flavor",
    [
        SMALL,
        replace(SMALL, vcpus=256, memory_mib=4),
        replace(SMALL, extra_specs={"virt_type": "auto"}),
        replace(SMALL, id="0b8ee2a5-3b1c-4d8e-9d5a-6c3f8e1b2a7d"),
    ],
)
def test_good_flavors(flavor: Flavor) -> None:
    check_flavor(flavor)


@pytest.mark.parametrize(
    ("flavor", "word"),
    [
        (replace(SMALL, vcpus=0), "vcpus is 0"),
        (replace(SMALL, vcpus=257), "1 to 256"),
        (replace(SMALL, memory_mib=3), "memory_mib"),
        (replace(SMALL, memory_mib=2**40), "memory_mib"),
        (replace(SMALL, disk_gib=-1), "disk_gib"),
        (replace(SMALL, extra_specs={"virt_type": "xen"}), "xen"),
        (replace(SMALL, extra_specs={"hw:watchdog_action": "reset"}), "of hw: there are numa_nodes, numa_cpus.N"),
        (replace(SMALL, id="1"), "UUID"),
    ],
)
def test_bad_flavors_say_why(flavor: Flavor, word: str) -> None:
    with pytest.raises(errors.InvalidFlavor, match=word):
        check_flavor(flavor)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(errors.InvalidFlavor, match=r"vcpus .*; memory_mib"):
        check_flavor(replace(SMALL, vcpus=0, memory_mib=0))


def test_the_name_is_checked() -> None:
    with pytest.raises(errors.InvalidName):
        check_flavor(replace(SMALL, name=""))
