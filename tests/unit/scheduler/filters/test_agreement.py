"""A filter's mask and its words say the same of every host, in the fleet's table and in a part of it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from drover.db.host_table import HostRow
from scheduler.host_table import HostTable
from scheduler.spec import PlacementSpec
from tests.unit.scheduler.fleets import chain, fleets, specs

CHAIN = chain()


@settings(deadline=None)
@given(rows=fleets(), wanted=specs)
def test_a_host_is_refused_with_words_and_passes_without(rows: list[HostRow], wanted: PlacementSpec) -> None:
    table = HostTable.build(rows)
    for each in CHAIN.filters:
        mask = each.mask(table, wanted).tolist()
        words = [each.explain(table, place, wanted) for place in range(len(table))]
        assert mask == [text == "" for text in words], each.name


@settings(deadline=None)
@given(rows=fleets(), wanted=specs)
def test_a_host_is_judged_by_its_own_columns_alone(rows: list[HostRow], wanted: PlacementSpec) -> None:
    table = HostTable.build(rows)
    places = np.arange(len(table) - 1, -1, -2)
    part = table.take(places, table.free[:, places])
    for each in CHAIN.filters:
        assert each.mask(part, wanted).tolist() == each.mask(table, wanted)[places].tolist(), each.name
        for place, whole in enumerate(places.tolist()):
            assert each.explain(part, place, wanted) == each.explain(table, whole, wanted), each.name
    for weigher, _ in CHAIN.weighers:
        weights = weigher.weigh(table, wanted)
        assert weigher.weigh(part, wanted).tolist() == weights[places].tolist(), weigher.name
        assert all(0.0 <= weight <= 1.0 for weight in weights.tolist()), weigher.name
