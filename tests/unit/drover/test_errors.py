"""Errors are promises: one code each, and the same error on both sides of the bus."""

from __future__ import annotations

import copy
import gc
import json
import pickle
from string import Formatter

import pytest

from drover import errors


def _classes(root: type[errors.DroverError] = errors.DroverError) -> list[type[errors.DroverError]]:
    here = [root] if root.__module__ == errors.__name__ else []
    return here + [cls for child in root.__subclasses__() for cls in _classes(child)]


CLASSES = sorted(set(_classes()), key=lambda cls: cls.code)


def test_every_code_is_unique_and_every_class_has_its_own() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(codes) == len(set(codes))
    assert all("code" in vars(cls) for cls in CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
def test_an_error_crosses_as_itself(cls: type[errors.DroverError]) -> None:
    fields = {name: f"<{name}>" for _, name, _, _ in Formatter().parse(cls.template) if name}
    error = cls(**fields)
    rebuilt = errors.from_dict(json.loads(json.dumps(error.to_dict())))
    assert type(rebuilt) is cls
    assert (str(rebuilt), rebuilt.kwargs) == (str(error), error.kwargs)
    assert all(value in str(error) for value in fields.values())
    assert "\n" not in str(error)
    assert 1 <= cls.exit_code <= 125


def test_a_missing_parameter_shows_as_a_question_mark() -> None:
    assert str(errors.InstanceNotFound()) == "no instance '?'"


def test_a_code_of_a_later_release_keeps_its_words() -> None:
    error = errors.from_dict({"code": "NotYetInvented", "message": "the moon is full", "params": {"x": 1}})
    assert type(error) is errors.DroverError
    assert "the moon is full" in str(error)


def test_an_error_survives_pickle_and_copy() -> None:
    error = errors.InstanceNotFound(ref="web1")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is errors.InstanceNotFound
        assert str(twin) == "no instance 'web1'"


def test_a_subclass_without_a_code_of_its_own_does_not_take_its_parents_place() -> None:
    """oslo.messaging makes such a class for each error that arrives."""
    remote = type("InstanceNotFound_Remote", (errors.InstanceNotFound,), {})
    try:
        assert errors.by_code("InstanceNotFound") is errors.InstanceNotFound
    finally:
        del remote
        gc.collect()
