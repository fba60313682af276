from __future__ import annotations

from dataclasses import replace

import pytest

from agent.observation import Observations
from agent.virt.driver import PowerEvent, Stats
from drover.objects.guest import GuestClass, GuestState
from drover.objects.host import HostUsage, Inventory
from drover.objects.instance import InstanceUsage
from drover.objects.sync import Remains, SyncRequest
from drover.states import PowerState

INVENTORY = Inventory(vcpus=4, memory_mib=1000, disk_gib=10)
EMPTY = SyncRequest(host="h1", session=1, seq=1)
STATS = Stats(host=HostUsage(guests=1), guests={"a": InstanceUsage(memory_mib=64)})


def guest(uuid: str = "a", power_state: PowerState = PowerState.RUNNING, epoch: int = 1) -> GuestState:
    return GuestState(uuid=uuid, name=uuid, kind=GuestClass.OURS, epoch=epoch, power_state=power_state)


FOREIGN = GuestState(uuid="f", name="foreign", kind=GuestClass.FOREIGN, power_state=PowerState.RUNNING)


@pytest.fixture
def seen() -> Observations:
    """One guest runs, and the conductor knows."""
    observations = Observations(INVENTORY)
    observations.look_begins([])
    assert observations.saw_all([guest(), FOREIGN], STATS)
    told(observations)
    return observations


def told(observations: Observations) -> SyncRequest:
    request = observations.fill(EMPTY)
    observations.delivered(request)
    return request


def test_first_look_tells_everything() -> None:
    observations = Observations(INVENTORY)
    observations.look_begins([])
    observations.saw_all([guest(), FOREIGN], STATS)
    request = told(observations)
    [observation] = request.observations
    assert (observation.instance_uuid, observation.epoch, observation.power_state) == ("a", 1, PowerState.RUNNING)
    assert observation.usage == STATS.guests["a"]
    assert request.usage == STATS.host
    assert request.foreign == ("foreign",)
    assert observations.fill(EMPTY) == EMPTY


def test_whether_a_guest_is_rescued_is_told() -> None:
    observations = Observations(INVENTORY)
    observations.look_begins([])
    observations.saw_all([replace(guest(), rescue=True), guest("b")], STATS)
    assert [seen.rescue for seen in told(observations).observations] == [True, False]


def test_files_without_a_domain_are_told_with_each_look_unless_an_order_is_at_them() -> None:
    observations = Observations(INVENTORY)
    observations.look_begins(["busy"])
    observations.saw_all([guest()], STATS, [("busy", 1), ("left", 2)])
    assert told(observations).remains == (Remains(instance_uuid="left", epoch=2),)
    assert told(observations).remains == ()
    observations.look_begins([])
    observations.order_began("left")
    observations.saw_all([guest()], STATS, [("left", 2)])
    assert told(observations).remains == ()


def test_undelivered_is_told_again() -> None:
    observations = Observations(INVENTORY)
    observations.look_begins([])
    observations.saw_all([guest()], STATS)
    first = observations.fill(EMPTY)
    assert observations.fill(EMPTY) == first


def test_usage_without_change_is_no_news(seen: Observations) -> None:
    seen.look_begins([])
    assert not seen.saw_all([guest(), FOREIGN], STATS)
    request = told(seen)
    assert request.observations
    assert request.foreign is None


def test_event_of_a_known_state_is_nothing(seen: Observations) -> None:
    assert not seen.event(PowerEvent("a", PowerState.RUNNING))
    assert seen.look_begins([]) == []


def test_event_asks_for_a_look(seen: Observations) -> None:
    assert seen.event(PowerEvent("a", PowerState.SHUTDOWN))
    assert seen.look_begins([]) == ["a"]
    assert seen.saw(["a"], [guest(power_state=PowerState.CRASHED)])
    assert told(seen).observations[0].power_state is PowerState.CRASHED
    assert seen.look_begins([]) == []


def test_event_during_an_order_waits_for_its_end(seen: Observations) -> None:
    seen.order_began("a")
    seen.event(PowerEvent("a", PowerState.SHUTDOWN))
    assert seen.look_begins(["a"]) == []
    seen.look_failed()
    assert seen.order_ended("a", PowerState.RUNNING)  # the result says otherwise than the event
    assert seen.look_begins([]) == ["a"]


def test_event_of_an_orders_own_doing_needs_no_look(seen: Observations) -> None:
    seen.order_began("a")
    seen.event(PowerEvent("a", PowerState.SHUTDOWN))
    assert not seen.order_ended("a", PowerState.SHUTDOWN)
    assert not seen.event(PowerEvent("a", PowerState.SHUTDOWN))  # late
    assert seen.look_begins([]) == []


def test_what_was_read_while_an_order_worked_is_thrown_away(seen: Observations) -> None:
    seen.look_begins([])
    seen.order_began("a")
    seen.order_ended("a", PowerState.SHUTDOWN)
    seen.saw_all([guest()], STATS)
    assert told(seen).observations == ()
    seen.look_begins(["a"])
    seen.saw_all([guest()], STATS)
    assert told(seen).observations == ()


def test_an_order_makes_what_waits_old(seen: Observations) -> None:
    seen.look_begins([])
    seen.saw_all([guest()], STATS)
    seen.order_began("a")
    assert told(seen).observations == ()


def test_an_event_during_the_look_is_looked_at_again(seen: Observations) -> None:
    seen.event(PowerEvent("a", PowerState.SHUTDOWN))
    seen.look_begins([])
    seen.order_began("a")
    seen.saw(["a"], [guest(power_state=PowerState.SHUTDOWN)])
    assert seen.look_begins([]) == ["a"]


def test_failed_look_tells_nothing_and_keeps_the_question(seen: Observations) -> None:
    seen.event(PowerEvent("a", PowerState.SHUTDOWN))
    seen.look_begins([])
    seen.look_failed()
    assert told(seen) == EMPTY
    assert seen.look_begins([]) == ["a"]


def test_removed_guest_has_no_news(seen: Observations) -> None:
    seen.event(PowerEvent("a", PowerState.SHUTDOWN))
    seen.order_removed("a")
    assert not seen.event(PowerEvent("a", PowerState.SHUTDOWN))
    assert seen.look_begins([]) == []


def test_inventory_is_told_when_it_changes(seen: Observations) -> None:
    assert not seen.inventory_is(INVENTORY)
    grown = Inventory(vcpus=8, memory_mib=1000, disk_gib=10)
    assert seen.inventory_is(grown)
    assert told(seen).inventory == grown
    assert told(seen).inventory is None
    assert not seen.inventory_is(grown)


def test_inventory_that_changes_while_it_is_told(seen: Observations) -> None:
    first, second = (Inventory(vcpus=n, memory_mib=1000, disk_gib=10) for n in (8, 16))
    seen.inventory_is(first)
    request = seen.fill(EMPTY)
    seen.inventory_is(second)
    seen.delivered(request)
    assert told(seen).inventory == second
    assert told(seen).inventory is None


def test_many_guests_are_told_in_parts() -> None:
    observations = Observations(INVENTORY)
    observations.look_begins([])
    observations.saw_all([guest(f"g{number}") for number in range(1500)], STATS)
    first = observations.fill(EMPTY)
    assert observations.delivered(first)
    second = observations.fill(EMPTY)
    assert not observations.delivered(second)
    assert len({o.instance_uuid for o in (*first.observations, *second.observations)}) == 1500
