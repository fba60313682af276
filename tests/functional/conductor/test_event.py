"""What a conductor tells, and that it tells nothing that was not committed."""

from __future__ import annotations

import pytest

from conductor.dead_letter import DeadLetters
from conductor.service import Conductor
from drover import errors
from drover.conf.times import TimeSettings
from drover.objects.event import Event
from drover.objects.sync import Gone, Observation
from drover.rpc import conductor
from drover.rpc.contract import client
from drover.states import Action, PowerState
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent
from tests.machine import wait_until


def told(fleet: Fleet) -> list[Event]:
    return list(fleet.events.wait(0, 0.0).events)


def lines(events: list[Event]) -> list[str]:
    return [
        f"{e.kind} {e.name or e.subject} {e.action or '-'} {e.state} {e.power_state} {e.code}".strip() for e in events
    ]


def built(fleet: Fleet, agent: PlayedAgent) -> str:
    reply = fleet.create("web")
    fleet.place(reply)
    (order,) = agent.sync().orders
    assert agent.begin(order)
    agent.end(order)
    return reply.instance_uuids[0]


def test_the_life_of_an_instance(fleet: Fleet) -> None:
    agent = fleet.agent()
    uuid = built(fleet, agent)
    fleet.api.instance_action(CTX, uuid, Action.DELETE, {})
    (order,) = agent.sync().orders
    agent.end(order)
    assert lines(told(fleet)) == [
        "host h1 - registered",
        "instance web - building unknown",
        "operation web build scheduling",
        "operation web build running",
        "operation web build succeeded",
        "instance web - active running",
        "operation web delete dispatched",
        "operation web delete succeeded",
        "instance web - deleted unknown",
    ]
    of_it = [event for event in told(fleet) if event.kind != "host"]
    assert {(event.subject, event.project_id, event.source) for event in of_it} == {(uuid, "default", "c1")}


def test_a_failure_tells_its_code(fleet: Fleet) -> None:
    reply = fleet.create("web")
    fleet.api.operation_cancel(CTX, reply.operation_ids[0])
    ended = [event for event in told(fleet) if event.state in ("cancelled", "error")]
    assert [(event.kind, event.code) for event in ended] == [
        ("operation", "OperationCancelled"),
        ("instance", "OperationCancelled"),
    ]


def test_a_repeat_and_a_refusal_tell_nothing(fleet: Fleet) -> None:
    fleet.create("web", idempotency_key="k")
    before = told(fleet)
    fleet.create("web", idempotency_key="k")
    with pytest.raises(errors.FlavorNotFound):
        fleet.create("db", flavor="nope")
    assert told(fleet) == before


def see(agent: PlayedAgent, uuid: str, power: PowerState) -> None:
    agent.sync(observations=(Observation(instance_uuid=uuid, epoch=1, power_state=power),))


def test_a_guest_that_changes_by_itself_is_told_once(fleet: Fleet) -> None:
    agent = fleet.agent()
    uuid = built(fleet, agent)
    before = len(told(fleet))
    see(agent, uuid, PowerState.RUNNING)
    assert len(told(fleet)) == before
    for _ in range(3):
        see(agent, uuid, PowerState.SHUTDOWN)
    assert lines(told(fleet)[before:]) == ["instance web - stopped shutdown"]


def test_hosts_and_alarms(fleet: Fleet) -> None:
    fleet.agent()
    fleet.api.host_set_enabled(CTX, "h1", False, "new disk")
    fleet.api.host_set_enabled(CTX, "h1", True)
    assert [(e.state, e.detail) for e in told(fleet)[1:]] == [("disabled", "new disk"), ("enabled", "")]


@pytest.fixture
def times(request: pytest.FixtureRequest) -> TimeSettings:
    quick = {"sync_interval_s": 0.5, "reap_interval_s": 0.1} if "silent" in request.node.name else {}
    return TimeSettings(join_window_s=0.0, **quick)


def test_a_silent_host_is_an_alarm_until_it_speaks(fleet: Fleet) -> None:
    agent = fleet.agent()

    def alarms() -> list[tuple[str, str]]:
        return [(it.kind, it.subject) for it in fleet.api.alarm_list(CTX)]

    wait_until(lambda: alarms() == [("SilentHost", "h1")], "the alarm")
    with pytest.raises(errors.AlarmStands):
        fleet.api.alarm_clear(CTX, "SilentHost", "h1")

    def speaks() -> bool:
        agent.sync()
        return alarms() == []

    wait_until(speaks, "the end of the alarm")
    of_it = [(e.kind, e.state) for e in told(fleet) if e.state != "registered"]
    assert of_it[:4] == [("host", "down"), ("alarm", "raised"), ("host", "up"), ("alarm", "cleared")]


def test_a_dead_letter_stands_until_it_is_acknowledged(fleet: Fleet) -> None:
    letters = DeadLetters(fleet.runtime, fleet.database, "")
    item = Gone(instance_uuid="i", epoch=1)
    assert [event.state for event in letters.put("h1", item, ValueError("bad"))] == ["raised"]
    assert letters.put("h1", item, ValueError("worse")) == []  # it stands already
    cleared = fleet.api.alarm_clear(CTX, "DeadLetter", "h1")
    assert cleared.detail == "Gone: bad"
    assert [(e.subject, e.state, e.name) for e in told(fleet)] == [("DeadLetter", "cleared", "h1")]
    with pytest.raises(errors.AlarmNotFound):
        fleet.api.alarm_clear(CTX, "DeadLetter", "h1")


def test_a_conductor_on_a_broker_says_where_its_events_are(fleet: Fleet) -> None:
    other = Conductor(fleet.runtime, fleet.bus, fleet.database, fleet.conductor._options, "c2")
    other.start()
    waiting = client(conductor.WAIT_CONTRACT, fleet.bus, server="c2")
    with pytest.raises(errors.EventsElsewhere):
        waiting.event_wait(CTX, -1, 0.0)
    other.stop()
