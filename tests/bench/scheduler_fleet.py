"""The fleet that a scheduler is measured with, and what is asked of it. The same numbers at every run."""

from __future__ import annotations

import random

from drover.db.host_table import HostRow
from drover.objects import codec
from drover.objects.group import GroupPolicy, HostAggregate
from drover.objects.hardware import Cell, CellAsk, Hardware, HardwareAsk
from scheduler.spec import GroupRule, PlacementSpec

__all__ = ["equal_requests", "hosts", "mixed_requests"]

ZONES = ("az1", "az2")
#: vCPUs, MiB, GiB
FLAVORS = ((1, 1024, 10), (1, 2048, 20), (2, 2048, 20), (2, 4096, 40), (4, 8192, 80), (8, 16384, 160), (4, 32768, 40))
#: of a hundred requests how many are of each kind
_KINDS = {"plain": 50, "zone": 15, "spread": 12, "together": 6, "ssd": 7, "traits": 8, "pinned": 2}
_PINNED = HardwareAsk(cells=(CellAsk(vcpus=2, memory_mib=4096),), dedicated=True)


def hosts(count: int) -> list[HostRow]:
    """70 % full, three sizes, three aggregates of which two are zones; some down, disabled, without KVM, or with CPUs
    for dedicated use."""
    chance = random.Random(count)
    return [_host(number, chance) for number in range(count)]


def _host(number: int, chance: random.Random) -> HostRow:
    vcpus = chance.choice((64, 128, 256))
    totals = (vcpus, vcpus * 4096, vcpus * 20)
    used = [int(total * min(1.0, max(0.0, chance.gauss(0.7, 0.15)))) for total in totals]
    aggregates = [HostAggregate(name=zone, availability_zone=zone) for zone in ZONES if number % 2 == ZONES.index(zone)]
    if chance.random() < 0.3:
        aggregates.append(HostAggregate(name="ssd", metadata={"disk": "ssd"}))
    pinned = chance.random() < 0.05
    return HostRow(
        host=f"host-{number:05}",
        enabled=int(chance.random() < 0.99),
        disabled_reason="",
        up=int(chance.random() < 0.97),
        total_vcpus=totals[0],
        total_memory_mib=totals[1],
        total_disk_gib=totals[2],
        used_vcpus=used[0],
        used_memory_mib=used[1],
        used_disk_gib=used[2],
        architecture="x86_64",
        virt_types=chance.choice(('["kvm","qemu"]', '["kvm","qemu"]', '["qemu"]')),
        traits=chance.choice(("[]", '["HW_CPU_X86_AVX2"]', '["HW_CPU_X86_AVX2","HW_CPU_X86_AVX512F"]')),
        aggregates=codec.to_json(aggregates),
        hardware=codec.to_json(_HARDWARE) if pinned else "",
    )


_HARDWARE = Hardware(
    cells=tuple(
        Cell(
            id=cell,
            cpus=tuple(range(cell * 16, cell * 16 + 16)),
            cores=tuple((cpu, cpu + 1) for cpu in range(cell * 16, cell * 16 + 16, 2)),
            memory_mib=131072,
        )
        for cell in range(2)
    )
)


def equal_requests(count: int) -> list[PlacementSpec]:
    """As one call with a count makes them."""
    return [PlacementSpec(vcpus=2, memory_mib=2048, disk_gib=20, architecture="x86_64", virt_type="kvm")] * count


def mixed_requests(count: int, fleet: int) -> list[PlacementSpec]:
    """Each unlike the one before it; members of groups find others of theirs placed already."""
    chance = random.Random(count + fleet)
    groups = {kind: [_group(kind, number, fleet, chance) for number in range(20)] for kind in ("spread", "together")}
    kinds = chance.choices(list(_KINDS), weights=list(_KINDS.values()), k=count)
    return [_request(kind, groups, chance) for kind in kinds]


def _group(kind: str, number: int, fleet: int, chance: random.Random) -> GroupRule:
    policy, members = (GroupPolicy.ANTI_AFFINITY, 8) if kind == "spread" else (GroupPolicy.AFFINITY, 1)
    at = sorted(chance.sample(range(fleet), members))
    return GroupRule(id=f"{kind}-{number}", policy=policy, hosts=tuple((f"host-{place:05}", 1) for place in at))


def _request(kind: str, groups: dict[str, list[GroupRule]], chance: random.Random) -> PlacementSpec:
    vcpus, memory_mib, disk_gib = chance.choice(FLAVORS)
    return PlacementSpec(
        vcpus=0 if kind == "pinned" else vcpus,
        memory_mib=memory_mib,
        disk_gib=disk_gib,
        architecture="x86_64",
        virt_type=chance.choice(("kvm", "")),
        project_id=f"project-{chance.randrange(50)}",
        availability_zone=chance.choice(ZONES) if kind == "zone" else "",
        group=chance.choice(groups[kind]) if kind in groups else None,
        aggregate_specs=(("disk", "ssd"),) if kind == "ssd" else (),
        required_traits=("HW_CPU_X86_AVX512F",) if kind == "traits" else (),
        hardware=_PINNED if kind == "pinned" else HardwareAsk(),
    )
