"""A filter's mask and its words say the same of every host, in the fleet's table and in a part of it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drover.conf.scheduler import SchedulerSettings
from drover.db.host_table import HostRow
from drover.objects.host import HostUsage
from scheduler.host_table import HostTable, amounts
from scheduler.spec import PlacementSpec
from tests.unit.scheduler.fleets import batches, chain, fleets, usages

SHIPPED = SchedulerSettings()
EVERY = chain(
    filters=(*SHIPPED.filters, "io_operations", "instances"),
    weighers=(*SHIPPED.weighers, "free_disk", "load", "io_operations", "image_cached"),
    isolated_images=("i1",),
    isolated_hosts=("host0", "host2"),
    max_io_ops_per_host=2,
    max_instances_per_host=1,
)
#: a fleet as it is in the middle of a batch, and a request
requests = batches(most=1).filter(bool).map(lambda batch: batch[0])
moments = st.lists(st.integers(0, 7), max_size=4)


def table_of(rows: list[HostRow], usage: dict[str, HostUsage], wanted: PlacementSpec, placed: list[int]) -> HostTable:
    table = HostTable.build(rows).with_usage(usage).scratch()
    table.set_members(dict(wanted.group.hosts) if wanted.group is not None else {})
    for place in placed:
        if place < len(table):
            table.occupy(np.array([place]), amounts(wanted.resources), np.array([1]))
    return table


@given(rows=fleets(), usage=usages, wanted=requests, placed=moments)
def test_a_host_is_refused_with_words_and_passes_without(
    rows: list[HostRow], usage: dict[str, HostUsage], wanted: PlacementSpec, placed: list[int]
) -> None:
    table = table_of(rows, usage, wanted, placed)
    for each in EVERY.filters:
        mask = each.mask(table, wanted).tolist()
        words = [each.explain(table, place, wanted) for place in range(len(table))]
        assert mask == [text == "" for text in words], each.name
        assert each.applies(table, wanted) or all(mask), each.name


@given(rows=fleets(), usage=usages, wanted=requests, placed=moments)
def test_a_host_is_judged_by_its_own_columns_alone(
    rows: list[HostRow], usage: dict[str, HostUsage], wanted: PlacementSpec, placed: list[int]
) -> None:
    table = table_of(rows, usage, wanted, placed)
    places = np.arange(len(table) - 1, -1, -2)
    part = table.imagined(places, amounts(wanted.resources), np.zeros(len(places), dtype=np.int64))
    for each in EVERY.filters:
        assert each.mask(part, wanted).tolist() == each.mask(table, wanted)[places].tolist(), each.name
        for place, whole in enumerate(places.tolist()):
            assert each.explain(part, place, wanted) == each.explain(table, whole, wanted), each.name
    for weigher, _ in EVERY.weighers:
        weights = weigher.weigh(table, wanted)
        assert weigher.weigh(part, wanted).tolist() == weights[places].tolist(), weigher.name
        assert all(0.0 <= weight <= 1.0 for weight in weights.tolist()), weigher.name
