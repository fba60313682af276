"""Weighers of more than free room."""

from __future__ import annotations

import pytest

from drover.objects import codec
from drover.objects.group import GroupPolicy
from drover.objects.hardware import Cell, CellAsk, CellClaim, Hardware, HardwareAsk, HardwareClaim, PciDevice
from drover.objects.host import HostUsage
from scheduler.host_table import Beside, Count, HostTable
from scheduler.plugin import Weigher
from scheduler.spec import PlacementSpec
from scheduler.weighers.failures import FailuresWeigher
from scheduler.weighers.free_disk import FreeDiskWeigher
from scheduler.weighers.image_cached import ImageCachedWeigher
from scheduler.weighers.io_operations import IoOperationsWeigher
from scheduler.weighers.load import LoadWeigher
from scheduler.weighers.numa import NumaWeigher
from scheduler.weighers.pci import PciWeigher
from scheduler.weighers.soft_affinity import SoftAffinityWeigher
from scheduler.weighers.soft_anti_affinity import SoftAntiAffinityWeigher
from tests.unit.scheduler.fleets import GPU, group, host, spec

CPUS = Hardware(cells=(Cell(id=0, cpus=(0, 1, 2, 3), memory_mib=4096),))
GPUS = Hardware(devices=tuple(PciDevice(address=f"0000:0{n}:00.0", vendor_id=GPU[0], product_id=GPU[1]) for n in "12"))
PAGES = Hardware(cells=(Cell(id=0, pages={2048: 1024}),))
ONE_CPU = HardwareClaim(cells=(CellClaim(cell=0, vcpus=1, memory_mib=64, cpus=(2,), reserved=(3,)),))
ONE_GPU = HardwareClaim(devices=("0000:01:00.0",))
HALF_THE_PAGES = HardwareClaim(cells=(CellClaim(cell=0, vcpus=1, memory_mib=1024, page_kib=2048),))
PINNED = spec(hardware=HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=64),), dedicated=True))

ROWS = [
    host("a", hardware=CPUS, used_disk_gib=75),
    host("b", failures=1, hardware=GPUS),
    host("c", failures=3, total_disk_gib=50, hardware=PAGES),
]
USAGE = {
    "a": HostUsage(cpu_percent=25.0, io_operations=3, images=("i1", "i2")),
    "b": HostUsage(cpu_percent=250.0, images=("i2",)),
}
CLAIMS = {"a": [ONE_CPU], "b": [ONE_GPU], "c": [HALF_THE_PAGES]}


def fleet(wanted: PlacementSpec) -> HostTable:
    claims = {name: [codec.to_json(each) for each in held] for name, held in CLAIMS.items()}
    table = HostTable.build(ROWS, Beside(claims=claims)).with_usage(USAGE).scratch()
    table.set_members(dict(wanted.group.hosts) if wanted.group is not None else {})
    return table


@pytest.mark.parametrize(
    ("subject", "wanted", "weights"),
    [
        (FreeDiskWeigher(), spec(), [0.25, 1.0, 0.5]),
        (FailuresWeigher(), spec(), [1.0, 0.5, 0.25]),
        (LoadWeigher(), spec(), [0.75, 0.0, 1.0]),
        (IoOperationsWeigher(), spec(), [0.25, 1.0, 1.0]),
        (ImageCachedWeigher(), spec(image_id="i1"), [1.0, 0.0, 0.0]),
        (ImageCachedWeigher(), spec(image_id="i2"), [1.0, 1.0, 0.0]),
        (SoftAffinityWeigher(), spec(group=group(GroupPolicy.SOFT_AFFINITY, a=3, b=1)), [0.75, 0.5, 0.0]),
        (SoftAntiAffinityWeigher(), spec(group=group(GroupPolicy.SOFT_ANTI_AFFINITY, a=3, b=1)), [0.25, 0.5, 1.0]),
        (PciWeigher(), spec(), [1.0, 0.5, 1.0]),
        (NumaWeigher(), PINNED, [0.5, 0.0, 0.5]),
    ],
)
def test_weights(subject: Weigher, wanted: PlacementSpec, weights: list[float]) -> None:
    table = fleet(wanted)
    assert subject.applies(table, wanted)
    assert subject.weigh(table, wanted).tolist() == weights


def test_reports_of_unknown_hosts_are_left_aside() -> None:
    table = HostTable.build([host("a")]).with_usage({"gone": HostUsage(io_operations=4)})
    assert table.count(Count.IO_OPERATIONS).tolist() == [0]


@pytest.mark.parametrize("subject", [FailuresWeigher(), PciWeigher(), NumaWeigher(), SoftAffinityWeigher()])
def test_where_there_is_nothing_to_weigh_it_is_not_asked(subject: Weigher) -> None:
    assert not subject.applies(HostTable.build([host("a"), host("b")]), spec())
