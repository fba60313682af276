"""``drover quota`` against a real conductor."""

from __future__ import annotations

import json

import pytest

from drover.cli import main
from drover.cli.session import Session
from tests.functional.conductor.conftest import Fleet, fleet, settings, times

__all__ = ["fleet", "settings", "times"]


def run(fleet: Fleet, *arguments: str) -> int:
    return main.run(arguments, Session(bus=fleet.bus, runtime=fleet.runtime))


def test_set_show_list_and_the_refusal(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fleet, "quota", "set", "default", "--instances", "1", "--memory-mib", "2048") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["default", "0/1", "0/-", "0/2048", "0/-", "0/-"]
    create = ("instance", "create", "--flavor", "small", "--image", "img", "--network", "net")
    assert run(fleet, *create, "web") == 0
    capsys.readouterr()
    assert run(fleet, *create, "db") == 4
    assert capsys.readouterr().err == (
        "error: QuotaExceeded: quota of project 'default' is short of instances: 1 more asked, 1 of 1 used\n"
    )
    assert run(fleet, "quota", "list", "--format", "json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["limits"]["instances"], listed["used"]["instances"]) == (1, 1)
    assert run(fleet, "quota", "show") == 0
    assert "1 of 1" in capsys.readouterr().out
    assert run(fleet, "quota", "show", "other", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["limits"]["vcpus"] == -1


def test_bad_limits_are_refused(fleet: Fleet) -> None:
    assert run(fleet, "quota", "set", "default") == 2
    assert run(fleet, "quota", "set", "default", "--vcpus", "-2") == 2
    assert run(fleet, "quota", "set", "default", "--vcpus", str(2**31)) == 2
