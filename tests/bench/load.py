"""The load: one process with many client threads, each calling for itself, and one long poll for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from drover.objects.instance import CreateRequest
from drover.objects.operation import Operation
from drover.states import Action, OperationState
from tests.bench.fleet import FLAVOR, IMAGE, Fleet

__all__ = ["CLIENTS", "Load", "create_each", "create_together", "delete_each"]

CLIENTS = 20
_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one wave of requests came to."""

    instances: tuple[str, ...]
    seconds: Sequence[float]  # of each: from its call to its final row
    answered_s: Sequence[float]  # of each call: until its reply
    took_s: float  # from the first call until the client knew that all had ended


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    at: datetime
    answered_s: float
    instances: tuple[str, ...]
    operations: tuple[str, ...]


def create_each(fleet: Fleet, prefix: str, count: int, networks: tuple[str, ...]) -> Load:
    """*count* separate create calls."""

    def create(number: int) -> _Sent:
        request = CreateRequest(name=f"{prefix}-{number}", flavor=FLAVOR, image=IMAGE, networks=networks)
        return _create(fleet, request)

    return _wave(fleet, [lambda number=number: create(number) for number in range(count)])  # type: ignore[misc]


def create_together(fleet: Fleet, prefix: str, count: int, networks: tuple[str, ...]) -> Load:
    """One call for *count* instances."""
    request = CreateRequest(name=prefix, flavor=FLAVOR, image=IMAGE, networks=networks, count=count)
    return _wave(fleet, [lambda: _create(fleet, request)])


def delete_each(fleet: Fleet, instances: Sequence[str]) -> Load:
    """A delete call for each."""

    def delete(uuid: str) -> _Sent:
        at, began_s = datetime.now(UTC), time.monotonic()
        operation = fleet.api.instance_action(fleet.context(), uuid, Action.DELETE, {})
        return _Sent(at=at, answered_s=time.monotonic() - began_s, instances=(uuid,), operations=(operation.id,))

    return _wave(fleet, [lambda uuid=uuid: delete(uuid) for uuid in instances])  # type: ignore[misc]


def _create(fleet: Fleet, request: CreateRequest) -> _Sent:
    at, began_s = datetime.now(UTC), time.monotonic()
    reply = fleet.api.instance_create(fleet.context(), request)
    answered_s = time.monotonic() - began_s
    return _Sent(at=at, answered_s=answered_s, instances=reply.instance_uuids, operations=reply.operation_ids)


def _wave(fleet: Fleet, calls: Sequence[Callable[[], _Sent]]) -> Load:
    began_s = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        sent = list(clients.map(lambda call: call(), calls))
    ended = _wait(fleet, [operation for each in sent for operation in each.operations])
    took_s = time.monotonic() - began_s
    return Load(
        instances=tuple(uuid for each in sent for uuid in each.instances),
        seconds=[_seconds(each.at, ended[operation]) for each in sent for operation in each.operations],
        answered_s=[each.answered_s for each in sent],
        took_s=took_s,
    )


def _wait(fleet: Fleet, operations: Sequence[str]) -> Mapping[str, Operation]:
    """Long polls until all have ended.

    :raises RuntimeError: one of them failed, or it took too long.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        reply = fleet.waiting.operation_wait(fleet.context(), tuple(operations), timeout_s=30.0)
        bad = [op for op in reply.operations if op.error is not None]
        if bad:
            raise RuntimeError(f"{len(bad)} of {len(operations)} failed: {bad[0].error}")
        if reply.done:
            return {op.id: op for op in reply.operations}
        if time.monotonic() > deadline_s:
            left = sum(op.state is not OperationState.SUCCEEDED for op in reply.operations)
            raise RuntimeError(f"{left} of {len(operations)} unfinished after {_PATIENCE_S} s")


def _seconds(sent_at: datetime, operation: Operation) -> float:
    assert operation.finished_at is not None
    return (operation.finished_at - sent_at).total_seconds()
