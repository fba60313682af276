from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.db.host_table import HostRow
from drover.objects import codec
from drover.objects.hardware import DeviceAsk, Hardware, HardwareAsk, HardwareClaim, PciDevice
from drover.objects.host import HostUsage
from scheduler.column import LabelColumn
from scheduler.host_table import Beside, Count, HostTable, Resource
from tests.unit.scheduler.fleets import GPU, fleets, host, usages

CLAIM = codec.to_json(HardwareClaim(devices=("0000:3b:00.0",)))


def seen(table: HostTable) -> list[object]:
    """Everything a filter can read, host by host."""
    return [
        (
            table.name(place),
            bool(table.enabled[place]),
            table.host(place),
            bool(table.up[place]),
            table.total[:, place].tolist(),
            table.free[:, place].tolist(),
            table.architecture[place],
            table.virt_types[place],
            table.traits[place],
            table.traits.having("avx2").tolist()[place],
            bool(table.draining[place]),
            bool(table.quarantined[place]),
            int(table.failures[place]),
            int(table.devices[place]),
            float(table.cpu_load[place]),
            table.counts[:, place].tolist(),
            table.images[place],
            table.aggregates[place],
            table.hardware[place],
        )
        for place in range(len(table))
    ] + [table.largest.tolist()]


def test_hosts_stand_in_the_order_of_their_names() -> None:
    table = HostTable.build([host("b", used_vcpus=3), host("a"), host("c", up=0)])
    assert tuple(table.rows) == ("a", "b", "c")
    assert table.free[Resource.VCPUS].tolist() == [8, 5, 8]
    assert table.up.tolist() == [True, True, False]
    assert table.is_host("b").tolist() == [False, True, False]
    assert not table.is_host("d").any()


@given(before=fleets(), usage=usages, data=st.data())
def test_an_updated_table_equals_one_built_anew(
    before: list[HostRow], usage: dict[str, HostUsage], data: st.DataObject
) -> None:
    donors = data.draw(fleets())
    changed = [dataclasses.replace(donor, host=row.host) for row, donor in zip(before, donors, strict=False)]
    picked = data.draw(st.lists(st.sampled_from(changed), unique=True)) if changed else []
    beside = Beside(
        instances={row.host: number + 1 for number, row in enumerate(picked)},
        claims={row.host: [CLAIM] for row in picked if row.hardware},
    )
    merged = {row.host: row for row in before} | {row.host: row for row in picked}
    table = HostTable.build(before).with_usage(usage)
    untouched = seen(table)
    assert seen(table.with_rows(picked, beside)) == seen(HostTable.build(merged.values(), beside).with_usage(usage))
    assert seen(table) == untouched


def test_a_row_of_a_strange_host_is_refused() -> None:
    with pytest.raises(KeyError):
        HostTable.build([host("a")]).with_rows([host("b")])


def test_imagined_places_keep_their_names_and_may_repeat() -> None:
    table = HostTable.build([host("a"), host("b", traits=("avx2",), enabled=0, disabled_reason="why")])
    part = table.imagined(np.array([1, 1, 0]), np.array([2, 512, 30]), np.array([0, 3, 1]))
    assert [part.name(place) for place in range(3)] == ["b", "b", "a"]
    assert part.host(1).disabled_reason == "why"
    assert part.traits.having("avx2").tolist() == [True, True, False]
    assert part.fits(Resource.DISK_GIB, 40).tolist() == [True, False, True]
    assert part.count(Count.INSTANCES).tolist() == [0, 3, 1]


def test_a_scratch_table_is_written_to_and_the_table_is_not() -> None:
    table = HostTable.build([host("a"), host("b")], Beside(instances={"b": 4}))
    scratch = table.scratch()
    scratch.occupy(np.array([1]), np.array([1, 1024, 10]), np.array([1]))
    scratch.set_members({"a": 2, "gone": 5})
    assert scratch.free[:, 1].tolist() == [7, 15360, 90]
    assert scratch.count(Count.INSTANCES).tolist() == [0, 5]
    assert scratch.count(Count.MEMBERS).tolist() == [2, 0]
    assert table.free[:, 1].tolist() == [8, 16384, 100]
    assert table.counts.tolist() == [[0, 4], [0, 0], [0, 0]]


def test_hardware_given_away_is_seen_at_its_place_alone() -> None:
    devices = tuple(PciDevice(address=f"0000:0{n}:00.0", vendor_id=GPU[0], product_id=GPU[1]) for n in range(2))
    table = HostTable.build([host(name, hardware=Hardware(devices=devices)) for name in "ab"])
    ask = HardwareAsk(devices=(DeviceAsk(alias="gpu", count=2, ids=(GPU,)),))
    given = table.with_hardware(0, table.hardware[0].given(ask))
    assert (given.devices.tolist(), table.devices.tolist()) == ([0, 2], [2, 2])
    assert (given.hardware.fits(ask).tolist(), table.hardware.fits(ask).tolist()) == ([False, True], [True, True])
    assert given.hardware[0].given(ask) == given.hardware[0]


def test_labels_of_a_column_that_grew() -> None:
    column = LabelColumn.of([frozenset("a"), frozenset("b")])
    grown = column.replaced(np.array([0]), [frozenset("bc")])
    assert grown.having("b").tolist() == [True, True]
    assert grown.having("a").tolist() == [False, False]
    assert column.having("a").tolist() == [True, False]


def test_values_that_no_host_has_any_more_are_forgotten() -> None:
    column = LabelColumn.of([frozenset("a"), frozenset("b")])
    for number in range(20):
        column = column.replaced(np.array([1]), [frozenset((str(number),))])
    assert len(column.values) <= 4
    assert [set(column[place]) for place in (0, 1)] == [{"a"}, {"19"}]


def test_a_small_part_of_a_column_is_asked_about_what_it_has() -> None:
    column = LabelColumn.of([frozenset((str(number),)) for number in range(9)]).take(np.array([7, 2]))
    asked: list[str] = []

    def is_two(words: frozenset[str]) -> bool:
        asked.extend(words)
        return "2" in words

    assert column.where(is_two).tolist() == [False, True]
    assert asked == ["7", "2"]
