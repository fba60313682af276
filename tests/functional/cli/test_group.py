"""``drover aggregate``, ``drover group``, and what goes with them, against a real conductor."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drover.cli import main
from drover.cli.session import Session
from drover.objects.group import Hints
from tests.functional.conductor.conftest import CTX, Fleet, fleet, settings, times

__all__ = ["fleet", "settings", "times"]


class Drover:
    """One command after the other, as a script runs them."""

    def __init__(self, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
        self._fleet = fleet
        self._capsys = capsys

    def __call__(self, *arguments: str, status: int = 0) -> str:
        self._capsys.readouterr()
        session = Session(bus=self._fleet.bus, runtime=self._fleet.runtime)
        got = main.run(arguments, session)
        out, err = self._capsys.readouterr()
        assert got == status, err
        return err if status else out

    def data(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--format", "json"))


@pytest.fixture
def drover(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> Drover:
    fleet.agent("h1")
    return Drover(fleet, capsys)


def test_aggregates(drover: Drover) -> None:
    assert "ssd=true" in drover("aggregate", "create", "fast", "--zone", "az1", "--property", "ssd=true")
    assert "NameTaken" in drover("aggregate", "create", "fast", status=4)
    assert "h1" in drover("aggregate", "add-host", "fast", "h1")
    assert "InUse" in drover("aggregate", "delete", "fast", status=4)
    changed = drover.data("aggregate", "set", "fast", "--property", "n=1", "--unset", "ssd")
    assert (changed["metadata"], changed["availability_zone"]) == ({"n": "1"}, "az1")
    assert drover.data("aggregate", "set", "fast", "--zone", "")["availability_zone"] == ""
    assert "InvalidAggregate" in drover("aggregate", "set", "fast", status=2)
    assert [it["hosts"] for it in drover.data("aggregate", "list")] == [["h1"]]
    assert drover.data("host", "show", "h1")["aggregates"] == ["fast"]
    assert "host h1 removed from aggregate fast" in drover("aggregate", "remove-host", "fast", "h1")
    drover("aggregate", "delete", "fast")
    assert "AggregateNotFound" in drover("aggregate", "show", "fast", status=3)


def test_groups(drover: Drover) -> None:
    drover("group", "create", "apart", "--policy", "anti-affinity", "--max-per-host", "2")
    assert "anti-affinity, 2 a host" in drover("group", "list")
    assert "BadInput" in drover("group", "create", "x", "--policy", "together", status=2)
    assert "InvalidGroup" in drover("group", "create", "x", "--policy", "affinity", "--max-per-host", "2", status=2)
    created = drover.data("instance", "create", "vm", *_SMALL, "--group", "apart")
    assert created[0]["uuid"] in drover("group", "show", "apart")
    assert "group" in drover("instance", "show", "vm")
    drover("group", "delete", "apart")
    assert "ServerGroupNotFound" in drover("group", "show", "apart", status=3)


_SMALL = ("--flavor", "small", "--image", "img", "--network", "none")


def test_where_an_instance_is_to_go(drover: Drover, fleet: Fleet) -> None:
    drover("aggregate", "create", "fast", "--zone", "az1")
    drover("aggregate", "add-host", "fast", "h1")
    there = fleet.create("there", networks=()).instance_uuids[0]
    drover(
        *("instance", "create", "vm", *_SMALL, "--availability-zone", "az1", "--on-host", "h1"),
        *("--different-host", "there", "--wait-for-room-s", "60"),
    )
    assert fleet.api.instance_show(CTX, "vm").hints == Hints(
        availability_zone="az1", host="h1", different_host=(there,), wait=True, wait_s=60.0
    )
    assert "zone az1" in drover("instance", "show", "vm")
    refusal = drover("instance", "create", "x", *_SMALL, "--same-host", "there", "--different-host", "there", status=2)
    assert "InvalidHints" in refusal


def test_what_waits_is_marked(drover: Drover, fleet: Fleet) -> None:
    reply = fleet.create("vm", networks=(), hints=Hints(wait=True))
    with fleet.database.write() as conn:
        conn.exec_driver_sql("UPDATE operation SET waits = 'of 1 host memory refused 1'")
    assert "scheduling (waits)" in drover("operation", "list")
    assert "of 1 host memory refused 1" in drover("operation", "show", reply.operation_ids[0])


def test_properties_of_images_and_flavors(drover: Drover, fleet: Fleet) -> None:
    drover("image", "create", "i", "--url", "http://127.0.0.1/i", "--property", "hw_cpu_policy=shared")
    assert "hw_cpu_policy=shared" in drover("image", "show", "i")
    refusal = drover("image", "create", "j", "--url", "http://127.0.0.1/j", "--property", "hw_colour=red", status=2)
    assert "InvalidImage" in refusal
    pinned = ("--vcpus", "1", "--memory", "64", "--property", "hw:cpu_policy=dedicated")
    assert "hw:cpu_policy=dedicated" in drover("flavor", "create", "pinned", *pinned)
    contradiction = ("--flavor", "pinned", "--image", "i", "--network", "none")
    assert "InvalidFlavor" in drover("instance", "create", "vm", *contradiction, status=2)


def test_a_host_drains_and_is_released(drover: Drover, fleet: Fleet) -> None:
    assert "up, draining" in drover("host", "drain", "h1")
    assert fleet.api.host_show(CTX, "h1").draining
    assert "draining" not in drover("host", "undrain", "h1")
    with fleet.database.write() as conn:
        conn.exec_driver_sql("UPDATE host_capacity SET quarantine = '5 builds failed here', failures = 5")
    assert "up, quarantine" in drover("host", "list")
    assert "5 builds failed here" in drover("host", "show", "h1")
    assert "quarantine" not in drover("host", "release", "h1")
    assert "HostNotFound" in drover("host", "release", "nowhere", status=3)
