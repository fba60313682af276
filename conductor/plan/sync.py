"""What one sync of an agent means (DESIGN §3): verdicts, permits, drops, and the effects behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from conductor.effect import Begin, DropImage, Effect, Finish, Grant, Log, Move, Release, Requeue, Schedule, Setback, Vm
from conductor.plan.quarantine import failure_of
from drover import errors
from drover.objects.catalog import ImageStatus
from drover.objects.operation import ErrorInfo, Operation, ServiceLog
from drover.objects.placement import Placement
from drover.objects.sync import Ack, Begun, Drop, Gone, Held, Outcome, Permit, Result
from drover.states import (
    FINAL_STATES,
    VERBS,
    Action,
    OperationState,
    PlacementState,
    PoolKind,
    PowerState,
    Verdict,
    VmState,
)

__all__ = [
    "Facts",
    "SyncPlan",
    "build_failed",
    "choose_orders",
    "delete_done",
    "failed",
    "give_up",
    "info",
    "plan_begun",
    "plan_drops",
    "plan_gone",
    "plan_result",
    "unfilled",
]

#: order of service: what frees comes before what takes
_RANK = {PoolKind.DELETE: 0, PoolKind.LIFECYCLE: 1, PoolKind.BUILD: 2, PoolKind.SNAPSHOT: 3}

_NOT_LEAVING = (
    PlacementState.RESERVED,
    PlacementState.HELD,
    PlacementState.PERMITTED,
    PlacementState.ACTIVE,
)
_MAY_RUN = (PlacementState.PERMITTED, PlacementState.ACTIVE)


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows as they are, those that may be written held by the transaction."""

    operations: Mapping[str, Operation]  # by id
    busy: Mapping[str, Operation]  # the unfinished operation of an instance, by instance uuid
    placements: Mapping[str, Sequence[Placement]]  # by instance uuid
    build_attempts: int
    images: Mapping[str, ImageStatus] = field(default_factory=dict)  # that shelved instances are to be made from


@dataclass(slots=True)
class SyncPlan:
    """The answer to one agent, and what is written for it."""

    effects: list[Effect] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    permits: list[Permit] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)


def info(error: errors.DroverError) -> ErrorInfo:
    """An error as the journal keeps it."""
    return ErrorInfo(code=error.code, message=error.message, retryable=error.retryable, params=error.kwargs)


def _current(op: Operation | None, attempt: int, host: str) -> bool:
    return op is not None and op.state not in FINAL_STATES and op.attempt == attempt and op.host == host


def _here(facts: Facts, instance_uuid: str, host: str, epoch: int) -> list[Placement]:
    """Placements of the instance on *host* up to *epoch*."""
    return [p for p in facts.placements.get(instance_uuid, ()) if p.host == host and p.epoch <= epoch]


def plan_result(plan: SyncPlan, facts: Facts, host: str, result: Result) -> None:
    """The end of an order, as its host tells it."""
    op = facts.operations.get(result.operation_id)
    plan.acks.append(Ack(operation_id=result.operation_id, attempt=result.attempt, verdict=_verdict(op, result, host)))
    if op is None or not _current(op, result.attempt, host):
        return
    if result.started_at is not None and result.steps:
        document = ServiceLog(
            service=f"agent@{host}", attempt=result.attempt, started_at=result.started_at, steps=result.steps
        )
        plan.effects.append(Log(op.id, document))
    if VERBS[op.action].places:
        plan.effects.extend(_build_ended(facts, op, host, result))
    elif op.action is Action.DELETE:
        # A delete that failed stays unfinished: its order goes out again with a later sync, until its budget ends it.
        if result.outcome is Outcome.SUCCEEDED:
            plan.effects.extend(_deleted(facts, op, host, result.epoch))
    else:
        plan.effects.extend(_verb_ended(facts, op, host, result))


def _verdict(op: Operation | None, result: Result, host: str) -> Verdict:
    if op is None:
        return Verdict.REJECTED
    if _current(op, result.attempt, host):
        return Verdict.APPLIED
    return Verdict.ALREADY if op.attempt == result.attempt and op.host == host else Verdict.SUPERSEDED


def _error(result: Result) -> ErrorInfo:
    return result.error or ErrorInfo(code="OperationCancelled", message="cancelled by the agent", retryable=True)


def _build_ended(facts: Facts, op: Operation, host: str, result: Result) -> list[Effect]:
    uuid = op.instance_uuid
    if result.outcome is Outcome.SUCCEEDED:
        shelved = op.params["image_id"] if op.action is Action.UNSHELVE else ""
        return [
            Finish(op.id, op.attempt, OperationState.SUCCEEDED),
            Vm(
                instance_uuid=uuid,
                vm_state=VERBS[op.action].end,
                power_state=result.power_state,
                shelved_image_id="" if shelved else None,
                launched=True,
            ),
            Move(uuid, host, result.epoch, PlacementState.ACTIVE, _NOT_LEAVING),
            *([DropImage(shelved)] if shelved else []),
        ]
    error = _error(result)
    return [*build_failed(facts, op, host, error, clean=result.clean), *failure_of(op, host, error)]


def build_failed(facts: Facts, op: Operation, host: str, error: ErrorInfo, *, clean: bool) -> list[Effect]:
    """A build that did not work on *host*: elsewhere, or to its end.

    :param clean: nothing of it is left there, so the placement goes at once; else it is ``leaving``. What was
        permitted may run there then, so it goes elsewhere only when the host says that it is gone.
    """
    mine = [p for p in facts.placements.get(op.instance_uuid, ()) if p.host == host and p.operation_id == op.id]
    effects = [_left(p, clean=clean) for p in mine]
    may_run = not clean and any(p.state in _MAY_RUN for p in mine)
    if error.retryable and op.attempt < facts.build_attempts:
        effects.append(Setback(op.id, op.attempt, error))
        return effects if may_run else [*effects, Requeue(op, host)]
    return [*effects, *failed(op, error)]


def failed(op: Operation, error: ErrorInfo, power_state: PowerState | None = None) -> list[Effect]:
    """A verb that did not work, for good. What it was to place is nowhere, and what it was to fill goes."""
    verb = VERBS[op.action]
    return [
        Finish(op.id, op.attempt, OperationState.FAILED, error),
        Vm(
            instance_uuid=op.instance_uuid,
            vm_state=verb.on_failure,
            power_state=power_state,
            fault=error,
            host="" if verb.places else None,
        ),
        *unfilled(op),
    ]


def give_up(p: Placement) -> Effect:
    """Take a placement back: gone at once if its order was never handed out, else left by its host."""
    return _left(p, clean=p.state is PlacementState.RESERVED)


def unfilled(op: Operation) -> list[Effect]:
    """The image that an operation was to fill goes with it."""
    return [DropImage(op.params["image_id"])] if VERBS[op.action].uploads else []


def _deleted(facts: Facts, op: Operation, host: str, epoch: int) -> list[Effect]:
    released = [Release(p.instance_uuid, p.host, p.epoch) for p in _here(facts, op.instance_uuid, host, epoch)]
    return [*released, *delete_done(op)]


def delete_done(op: Operation) -> list[Effect]:
    """The user's delete is over. Placements that are still ``leaving`` elsewhere outlive it."""
    return [
        Finish(op.id, op.attempt, OperationState.SUCCEEDED),
        Vm(
            instance_uuid=op.instance_uuid,
            vm_state=VmState.DELETED,
            power_state=PowerState.UNKNOWN,
            host="",
            deleted=True,
        ),
    ]


def _verb_ended(facts: Facts, op: Operation, host: str, result: Result) -> list[Effect]:
    observed = result.power_state if result.power_state is not PowerState.UNKNOWN else None
    if result.outcome is not Outcome.SUCCEEDED:
        return failed(op, _error(result), observed)
    if op.action is Action.SHELVE:
        return _shelved(facts, op, host, result)
    end = VERBS[op.action].end
    if op.action is Action.REBUILD and observed is PowerState.SHUTDOWN:
        end = VmState.STOPPED
    return [
        Finish(op.id, op.attempt, OperationState.SUCCEEDED),
        Vm(instance_uuid=op.instance_uuid, vm_state=end, power_state=observed),
    ]


def _shelved(facts: Facts, op: Operation, host: str, result: Result) -> list[Effect]:
    """The disk is an image now, so its host may let go of it; without that image it must not."""
    image_id = op.params["image_id"]
    status = facts.images.get(image_id)
    if status is not ImageStatus.ACTIVE:
        error = errors.ImageNotReady(ref=image_id, status=status.value if status else "deleted")
        return failed(op, info(error))
    here = _here(facts, op.instance_uuid, host, result.epoch)
    return [
        Finish(op.id, op.attempt, OperationState.SUCCEEDED),
        Vm(
            instance_uuid=op.instance_uuid,
            vm_state=VmState.SHELVED_OFFLOADED,
            power_state=PowerState.SHUTDOWN,
            host="",
            shelved_image_id=image_id,
        ),
        *(_left(p, clean=result.clean) for p in here),
    ]


def _left(p: Placement, *, clean: bool) -> Effect:
    if clean:
        return Release(p.instance_uuid, p.host, p.epoch)
    return Move(p.instance_uuid, p.host, p.epoch, PlacementState.LEAVING, _NOT_LEAVING)


def plan_begun(plan: SyncPlan, facts: Facts, host: str, begun: Begun) -> None:
    """The agent works on an order, and may ask leave to start its domain."""
    op = facts.operations.get(begun.operation_id)
    if op is None or not _current(op, begun.attempt, host):
        if begun.permit:
            plan.permits.append(Permit(operation_id=begun.operation_id, attempt=begun.attempt, granted=False))
        return
    if op.state is OperationState.DISPATCHED:
        plan.effects.append(Begin(op.id, op.attempt))
    if not begun.permit:
        return
    if not VERBS[op.action].places:
        plan.permits.append(Permit(operation_id=op.id, attempt=op.attempt, granted=True))
        return
    mine = [
        p
        for p in facts.placements.get(op.instance_uuid, ())
        if p.host == host and p.operation_id == op.id and p.state is not PlacementState.LEAVING
    ]
    if mine:
        plan.effects.append(Grant(op.id, op.attempt, op.instance_uuid, host, mine[-1].epoch))
    else:
        plan.permits.append(Permit(operation_id=op.id, attempt=op.attempt, granted=False))


def plan_gone(plan: SyncPlan, facts: Facts, host: str, gone: Gone) -> None:
    """The host has nothing of (instance, epoch ≤ this) left."""
    here = _here(facts, gone.instance_uuid, host, gone.epoch)
    leaving = [p for p in here if p.state is PlacementState.LEAVING]
    plan.effects.extend(Release(p.instance_uuid, p.host, p.epoch) for p in leaving)
    op = facts.busy.get(gone.instance_uuid)
    if op is None:
        return
    everywhere = facts.placements.get(gone.instance_uuid, ())
    if op.state is OperationState.QUEUED and all(p in leaving for p in everywhere):
        plan.effects.append(Schedule(op.id, op.attempt))  # it waited until no host has anything of it
    if op.host != host:
        return
    if VERBS[op.action].places and any(p.operation_id == op.id for p in leaving):
        plan.effects.append(Requeue(op, host))  # it failed here after its permit, and waited for this word
    if op.action is not Action.DELETE:
        return
    if all(p.host != host or p in leaving for p in everywhere):
        plan.effects.extend(delete_done(op))


def plan_drops(plan: SyncPlan, facts: Facts, host: str, held: Sequence[Held]) -> None:
    """Orders the agent has that are not its own any more."""
    for item in held:
        op = facts.operations.get(item.operation_id)
        if not _current(op, item.attempt, host):
            reason = "unknown" if op is None else f"{op.state} in attempt {op.attempt} on {op.host or 'no host'}"
            plan.drops.append(Drop(operation_id=item.operation_id, attempt=item.attempt, reason=reason))


def choose_orders(
    waiting: Sequence[Operation], held: Sequence[Held], ended: Sequence[Result], want: Mapping[str, int]
) -> list[Operation]:
    """What to hand out: everything unfinished that the agent does not have, within each pool's room."""
    known = {(h.operation_id, h.attempt) for h in held} | {(r.operation_id, r.attempt) for r in ended}
    room = dict(want)
    chosen: list[Operation] = []
    for op in sorted(waiting, key=lambda op: (_RANK[VERBS[op.action].pool], op.created_at, op.id)):
        pool = VERBS[op.action].pool
        if (op.id, op.attempt) in known or room.get(pool, 0) <= 0:
            continue
        room[pool] -= 1
        chosen.append(op)
    return chosen
