"""``drover events --follow`` over a real broker: what changes is told while it does."""

from __future__ import annotations

import json
import threading
from typing import Any

from tests.fleet import PATIENCE_S, Fleet


def test_who_follows_sees_an_instance_come_and_go(fake: Fleet) -> None:
    told: list[dict[str, Any]] = []
    seen = threading.Condition()

    def follow() -> None:
        with fake.drover_lines("events", "--follow", "--format", "json", "--timeout", f"{PATIENCE_S:.0f}") as following:
            started.append(following)
            assert following.stdout is not None
            for line in following.stdout:
                with seen:
                    told.append(json.loads(line))
                    seen.notify_all()

    started: list[Any] = []
    reading = fake.runtime.spawn("follow", follow)
    try:
        while not told:  # something is told again and again, until who follows has bound its queue
            assert fake.drover("host", "enable", "host1").returncode == 0
        reply = fake.create(1)
        [uuid] = reply.instance_uuids
        assert [op.state for op in fake.wait(reply.operation_ids)] == ["succeeded"]
        fake.delete([uuid])
        with seen:
            assert seen.wait_for(lambda: _ends(told, uuid) == ["succeeded", "succeeded"], PATIENCE_S)
    finally:
        for following in started:
            following.terminate()
        reading.join(PATIENCE_S)
    mine = [event for event in told if event["subject"] == uuid]
    states = [event["state"] for event in mine if event["kind"] == "operation" and event["action"] == "build"]
    assert states[0] in {"queued", "scheduling"}
    assert states.index("running") < states.index("succeeded")
    assert "active" in [event["state"] for event in mine if event["kind"] == "instance"]
    assert {event["version"] for event in told} == {1}


def _ends(told: list[dict[str, Any]], uuid: str) -> list[str]:
    return [
        event["state"]
        for event in told
        if event["subject"] == uuid and event["kind"] == "operation" and event["state"] in {"succeeded", "failed"}
    ]
