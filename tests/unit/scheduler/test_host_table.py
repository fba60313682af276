from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drover.db.host_table import HostRow
from scheduler.host_table import HostTable, LabelColumn, Resource
from tests.unit.scheduler.fleets import fleets, host


def seen(table: HostTable) -> list[object]:
    """Everything a filter can read, host by host."""
    return [
        (
            table.name(place),
            bool(table.enabled[place]),
            table.disabled_reason(place),
            bool(table.up[place]),
            table.total[:, place].tolist(),
            table.free[:, place].tolist(),
            table.architecture[place],
            table.virt_types[place],
            table.traits[place],
            table.traits.having("avx2").tolist()[place],
        )
        for place in range(len(table))
    ] + [table.largest.tolist()]


def test_hosts_stand_in_the_order_of_their_names() -> None:
    table = HostTable.build([host("b", used_vcpus=3), host("a"), host("c", up=0)])
    assert table.names == ("a", "b", "c")
    assert table.free[Resource.VCPUS].tolist() == [8, 5, 8]
    assert table.up.tolist() == [True, True, False]
    assert table.is_host("b").tolist() == [False, True, False]
    assert not table.is_host("d").any()


@settings(deadline=None)
@given(before=fleets(), data=st.data())
def test_an_updated_table_equals_one_built_anew(before: list[HostRow], data: st.DataObject) -> None:
    donors = data.draw(fleets())
    changed = [dataclasses.replace(donor, host=row.host) for row, donor in zip(before, donors, strict=False)]
    picked = data.draw(st.lists(st.sampled_from(changed), unique=True)) if changed else []
    merged = {row.host: row for row in before} | {row.host: row for row in picked}
    table = HostTable.build(before)
    untouched = seen(table)
    assert seen(table.with_rows(picked)) == seen(HostTable.build(merged.values()))
    assert seen(table) == untouched


def test_a_row_of_a_strange_host_is_refused() -> None:
    with pytest.raises(KeyError):
        HostTable.build([host("a")]).with_rows([host("b")])


def test_taken_places_keep_their_names_and_may_repeat() -> None:
    table = HostTable.build([host("a"), host("b", traits=("avx2",), enabled=0, disabled_reason="why")])
    part = table.take(np.array([1, 1, 0]), np.array([[1, 2, 3]] * 3))
    assert [part.name(place) for place in range(3)] == ["b", "b", "a"]
    assert part.disabled_reason(1) == "why"
    assert part.traits.having("avx2").tolist() == [True, True, False]
    assert part.fits(Resource.DISK_GIB, 2).tolist() == [False, True, True]


def test_labels_of_a_column_that_grew() -> None:
    column = LabelColumn.of([frozenset("a"), frozenset("b")])
    grown = column.replaced(np.array([0]), [frozenset("bc")])
    assert grown.having("b").tolist() == [True, True]
    assert grown.having("a").tolist() == [False, False]
    assert column.having("a").tolist() == [True, False]
