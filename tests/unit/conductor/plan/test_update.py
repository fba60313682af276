from __future__ import annotations

import pytest

from conductor.plan.update import plan_update
from drover import errors
from drover.objects.update import InstanceUpdate
from tests.unit.conductor.plan.rows import instance


def test_changes_meet_what_is_there() -> None:
    now = instance(metadata={"a": "1", "b": "2"}, tags=("x", "y"))
    after = plan_update(
        now, InstanceUpdate(set_metadata={"c": "3"}, unset_metadata=("a",), add_tags=("z", "x"), remove_tags=("y",))
    )
    assert (after.metadata, after.tags) == ({"b": "2", "c": "3"}, ("x", "z"))
    assert plan_update(now, InstanceUpdate()) == now


@pytest.mark.parametrize(
    ("update", "error"),
    [
        (InstanceUpdate(name="Not A Host Name"), errors.InvalidName),
        (InstanceUpdate(set_metadata={"a": "1"}, unset_metadata=("a",)), errors.BadInput),
        (InstanceUpdate(add_tags=("x",), remove_tags=("x",)), errors.BadInput),
        (InstanceUpdate(add_tags=("a,b",)), errors.BadInput),
        (InstanceUpdate(add_tags=('a"b',)), errors.BadInput),
        (InstanceUpdate(add_tags=("",)), errors.BadInput),
        (InstanceUpdate(add_tags=tuple(f"t{n}" for n in range(51))), errors.BadInput),
        (InstanceUpdate(set_metadata={"": "x"}), errors.BadInput),
        (InstanceUpdate(set_metadata={"k": "x" * 256}), errors.BadInput),
        (InstanceUpdate(set_metadata={"k": "\0"}), errors.BadInput),
        (InstanceUpdate(set_metadata={f"k{n}": "" for n in range(129)}), errors.BadInput),
    ],
)
def test_impossible_values_are_refused(update: InstanceUpdate, error: type[errors.DroverError]) -> None:
    with pytest.raises(error):
        plan_update(instance(), update)


def test_a_lock_stops_all_but_its_end() -> None:
    locked = instance(locked=True)
    with pytest.raises(errors.InstanceLocked):
        plan_update(locked, InstanceUpdate(add_tags=("x",)))
    assert plan_update(locked, InstanceUpdate(locked=True)) == locked
    assert plan_update(locked, InstanceUpdate(locked=False, add_tags=("x",))).tags == ("x",)
