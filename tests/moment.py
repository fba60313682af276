"""Killing a part of a lab at a chosen moment of builds, and guests."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import LiteralString

from drover.lab.spec import Driver
from drover.objects.instance import CreateReply
from drover.runtime import program
from drover.states import OperationState
from tests import promise
from tests.fleet import Fleet

__all__ = ["MOMENTS", "create_and_kill", "kill_guest"]

#: name → what the database shows when it has come
MOMENTS: Mapping[str, LiteralString] = {
    "asked": "SELECT id FROM operation WHERE unfinished = 1 LIMIT 1",
    "placed": "SELECT id FROM operation WHERE unfinished = 1 AND state = 'dispatched' LIMIT 1",
    "begun": "SELECT id FROM operation WHERE unfinished = 1 AND state = 'running' LIMIT 1",
    "permitted": "SELECT epoch FROM allocation WHERE state = 'permitted' LIMIT 1",
}


def create_and_kill(fleet: Fleet, count: int, part: str, moment: str) -> CreateReply:
    """Build *count* instances, kill *part* when *moment* has come, start it again; all are built in the end."""
    replies: list[CreateReply] = []

    def create() -> None:
        replies.append(fleet.create(count))

    creating = fleet.runtime.spawn("create", create)
    fleet.until_row(MOMENTS[moment])
    fleet.lab.kill(part)
    fleet.lab.up()
    creating.join()
    ended = fleet.wait(replies[0].operation_ids)
    assert [op.state for op in ended] == [OperationState.SUCCEEDED] * count, [op.error for op in ended]
    return replies[0]


def kill_guest(fleet: Fleet, host: str, uuid: str) -> None:
    """As the kernel does when memory is short. None may be there yet, or any more."""
    if fleet.lab.spec().driver is Driver.LIBVIRT:
        for at, instance, pid in promise.qemus(fleet):
            if (at, instance) == (host, uuid):
                os.kill(pid, program.KILL)
        return
    for record in promise.fake_records(fleet):
        if (record["host"], record["uuid"]) == (host, uuid) and record.get("power_state") in ("running", "paused"):
            with (fleet.lab.layout.host(host) / "agent/fake/guests").open("a") as file:
                file.write(json.dumps({"record": {**record, "power_state": "crashed"}}) + "\n")
