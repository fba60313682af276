"""The fake hypervisor's file, read and written beside its agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drover.burnin.fake_guest import FakeGuests
from drover.burnin.guest import Guest
from drover.lab.lab import Lab
from drover.lab.spec import Driver, LabSpec, save
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState


class Store:
    """The file of host1 as its agent writes it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "hosts/host1/agent/fake/guests"
        self.path.parent.mkdir(parents=True)
        self.path.touch()

    def put(self, uuid: str, power_state: str = "running", **given: Any) -> None:
        record = {
            "uuid": uuid,
            "name": f"drover-{uuid}",
            "defined": True,
            "power_state": power_state,
            "epoch": 1,
            **given,
        }
        self.write({"record": record})

    def write(self, change: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(change) + "\n")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def guests(tmp_path: Path, store: Store) -> FakeGuests:
    runtime = ThreadRuntime()
    lab = Lab(tmp_path, runtime)
    save(LabSpec(hosts=2, driver=Driver.FAKE, first_port=20000), lab.layout)
    return FakeGuests(lab, runtime)


def powers(guests: FakeGuests) -> dict[str, PowerState]:
    return {guest.uuid: guest.power_state for guest in guests.all()}


def one(guests: FakeGuests) -> Guest:
    [found] = guests.all()
    return found


def test_the_last_line_of_a_guest_counts(guests: FakeGuests, store: Store) -> None:
    store.put("a")
    store.put("b")
    assert powers(guests) == {"a": PowerState.RUNNING, "b": PowerState.RUNNING}
    store.put("a", "paused")
    store.write({"deleted": "b"})
    assert powers(guests) == {"a": PowerState.PAUSED}
    assert (one(guests).host, one(guests).epoch) == ("host1", 1)


def test_a_torn_line_counts_once_it_is_whole(guests: FakeGuests, store: Store) -> None:
    store.put("a")
    whole = json.dumps({"record": {"uuid": "b", "defined": True, "power_state": "running"}})
    store.path.write_text(store.path.read_text() + whole[:30])
    assert set(powers(guests)) == {"a"}
    with store.path.open("a") as file:
        file.write(whole[30:] + "\n")
    assert set(powers(guests)) == {"a", "b"}


def test_a_file_that_was_written_anew_is_read_anew(guests: FakeGuests, store: Store) -> None:
    store.put("a")
    store.put("b")
    assert set(powers(guests)) == {"a", "b"}
    fresh = store.path.with_suffix(".new")
    fresh.write_text("")
    fresh.rename(store.path)
    store.put("c")
    assert set(powers(guests)) == {"c"}


def test_files_are_what_is_left_also_of_a_guest_that_is_no_domain_any_more(guests: FakeGuests, store: Store) -> None:
    store.put("a", "shutdown", defined=False)
    assert powers(guests) == {}
    assert guests.files({"a", "b"}) == ["a in the store of host1"]


def test_a_killed_guest_crashed(guests: FakeGuests, store: Store) -> None:
    store.put("a")
    assert guests.kill(one(guests))
    assert powers(guests) == {"a": PowerState.CRASHED}
    assert not guests.kill(one(guests))


def test_what_the_agent_wrote_before_the_crash_is_known(guests: FakeGuests, store: Store) -> None:
    store.put("a")
    before = store.path.stat().st_size
    store.put("b")
    store.write({"deleted": "a"})
    store.put("a", "crashed")
    store.put("a", "running", boots=2)
    assert guests._stores["host1"].overtaken(before, "a") == [{"deleted": "a"}]


def test_a_stranger_is_there_until_it_is_removed(guests: FakeGuests, store: Store) -> None:
    guests.add_stranger("host1", "s")
    assert (one(guests).name, one(guests).epoch) == ("s", 0)
    guests.remove_stranger("host1", "s")
    guests.remove_stranger("host1", "s")
    assert guests.all() == []
