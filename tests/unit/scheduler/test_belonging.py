from __future__ import annotations

import pytest

from drover.objects import codec
from drover.objects.group import HostAggregate
from scheduler.belonging import AggregateColumn, Belonging


def belonging(*metadata: dict[str, str], zone: str = "") -> Belonging:
    aggregates = [HostAggregate(name=f"a{n}", metadata=each) for n, each in enumerate(metadata)]
    return Belonging.of(codec.to_json([*aggregates, HostAggregate(name="z", availability_zone=zone)]))


def test_values_of_all_aggregates_are_merged() -> None:
    found = belonging({"os": "debian, suse", "ssd": "true"}, {"os": "suse,alpine"}, zone="east")
    assert found.metadata == {"os": {"debian", "suse", "alpine"}, "ssd": {"true"}}
    assert found.zones == {"east"}
    assert belonging().zones == {"nova"}


@pytest.mark.parametrize(
    ("metadata", "number"), [([{}], 5.0), ([{"n": "2"}], 2.0), ([{"n": "7"}, {"n": "3"}], 3.0), ([{"n": "few"}], 5.0)]
)
def test_the_least_number_counts(metadata: list[dict[str, str]], number: float) -> None:
    assert belonging(*metadata).number("n", 5.0) == number


def test_numbers_of_a_fleet() -> None:
    some, none = belonging({"n": "2"}), belonging()
    assert AggregateColumn.of([none, none]).numbers("n", 5.0) == 5.0
    column = AggregateColumn.of([none, some, belonging({"n": "2"})])
    assert len(column.values) == 2
    numbers = column.numbers("n", 5.0)
    assert not isinstance(numbers, float)
    assert numbers.tolist() == [5.0, 2.0, 2.0]
