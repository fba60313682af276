"""Killing a part of a lab at a chosen moment of builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

from drover.objects.instance import CreateReply
from drover.states import OperationState
from tests.fleet import Fleet

__all__ = ["MOMENTS", "create_and_kill"]

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
