"""``drover events`` and ``drover alarm clear`` against a real conductor."""

from __future__ import annotations

import json

import pytest

from drover.cli import main
from drover.cli.session import Session
from drover.objects.event import Event, EventKind, host_event
from tests.functional.conductor.conftest import CTX, Fleet, fleet, settings, times
from tests.machine import wait_until
from tests.unit.agent.manual import manual_runtime

__all__ = ["fleet", "settings", "times"]

#: nothing that anybody asked for
OF_OTHERS = Event(kind=EventKind.OPERATION, subject="theirs", project_id="others", state="running")


def run(fleet: Fleet, *arguments: str) -> int:
    return main.run(arguments, Session(bus=fleet.bus, runtime=fleet.runtime))


def test_the_past_is_that_of_the_journal(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    reply = fleet.create("web")
    fleet.create("db", networks=())
    fleet.api.operation_cancel(CTX, reply.operation_ids[0])
    assert run(fleet, "events") == 0
    lines = [line.split(maxsplit=3)[2:] for line in capsys.readouterr().out.splitlines()]
    assert sorted(lines) == sorted(
        [
            ["operation", "web  build queued"],
            ["operation", "db  build scheduling"],
            ["operation", "web  build cancelled  OperationCancelled: cancelled: by tester"],
        ]
    )
    assert run(fleet, "events", "--instance", "db", "--format", "json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    event = json.loads(line)
    assert (event["version"], event["kind"], event["name"], event["state"]) == (1, "operation", "db", "scheduling")
    assert run(fleet, "events", "--kind", "host") == 0
    told = capsys.readouterr()
    assert (told.out, told.err.partition(":")[0]) == ("", "warning")
    assert "no history of kind host" in told.err
    assert run(fleet, "events", "--instance", "nope") == 3


def follow(fleet: Fleet, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of ``--follow``, which sees what is told while it runs. Its time is over when it has shown them."""
    status: list[int] = []
    runtime, clock = manual_runtime()
    session = Session(bus=fleet.bus, runtime=runtime)
    line = ("events", "--follow", "--timeout", "60", *arguments)
    task = fleet.runtime.spawn("follow", lambda: status.append(main.run(line, session)))
    wait_until(lambda: fleet.events._waiting, "the reader")
    fleet.create("web")
    fleet.events.publish([host_event("h1", "down")])
    wait_until(lambda: fleet.events._waiting, "the reader, for more")
    clock.pass_by(60.0)
    fleet.events.publish([OF_OTHERS])
    assert task.join(60)
    assert status == [0]
    return capsys.readouterr().out.splitlines()


def test_follow_shows_what_changes_a_line_each(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split(maxsplit=2)[2] for line in follow(fleet, capsys)]
    assert lines == ["instance   web  building, unknown", "operation  web  build scheduling", "host       h1  down"]


def test_follow_of_a_kind_in_json_lines(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    events = [json.loads(line) for line in follow(fleet, capsys, "--kind", "host", "--format", "json")]
    assert [(event["kind"], event["subject"], event["source"]) for event in events] == [("host", "h1", "c1")]


def test_clearing_what_does_not_stand(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fleet, "alarm", "clear", "DeadLetter", "h1") == 3
    assert run(fleet, "alarm", "clear", "SilentHost", "h1") == 4
    assert "AlarmStands" in capsys.readouterr().err
