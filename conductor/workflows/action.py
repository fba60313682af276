"""Verbs on an existing instance: start, stop, reboot, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from conductor import effect
from conductor.core import Core
from conductor.effect import Applied, Effect, Finish, Move, Release
from conductor.idempotency import digest_of, recalled
from conductor.plan.reap import info
from conductor.plan.sync import delete_done
from drover import errors, log, retry
from drover.clock import age_s
from drover.db import instance, notice, operation, placement
from drover.objects import codec
from drover.objects.instance import Instance
from drover.objects.operation import Operation
from drover.objects.placement import Placement
from drover.objects.sync import Order
from drover.rpc.context import RequestContext
from drover.runtime.joiner import Joiner
from drover.states import VERBS, Action, OperationState, PlacementState, allowed

__all__ = ["ActionWorkflow"]

LOG = log.get(__name__)

#: parameters a verb takes, with their values; the first is the default
_PARAMETERS: Mapping[Action, Mapping[str, tuple[str, ...]]] = {
    Action.REBOOT: {"type": ("soft", "hard")},
}


@dataclass(frozen=True, slots=True)
class _Job:
    ctx: RequestContext
    ref: str  # uuid or name of an instance
    action: Action
    params: dict[str, str]
    key: tuple[str, str]  # project, idempotency key or ""
    digest: str


@dataclass(frozen=True, slots=True)
class _New:
    """An operation to be written, with what it changes at once."""

    place: int  # of its request
    operation: Operation
    effects: Sequence[Effect]


@dataclass(slots=True)
class _Written:
    """What one transaction came to; counts only when it was committed."""

    answers: dict[int, Operation | Exception] = field(default_factory=dict)
    applied: Applied = field(default_factory=Applied)
    handed_out: list[Operation] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)


class ActionWorkflow:
    """``instance_action`` of the contract. Requests that arrive together share a transaction."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._joiner: Joiner[_Job, Operation] = Joiner(core.runtime, self._batch, window_s=core.times.join_window_s)

    def run(
        self, ctx: RequestContext, ref: str, action: Action, params: dict[str, str], idempotency_key: str
    ) -> Operation:
        """Write the operation and what it changes at once, then nudge its host (see the contract)."""
        params = _checked(action, params)
        digest = digest_of({"instance": ref, "action": action.value, "params": params})
        return self._joiner.submit(_Job(ctx, ref, action, params, (ctx.project_id, idempotency_key), digest))

    def _batch(self, jobs: Sequence[_Job]) -> list[Operation | Exception]:
        try:
            written = retry.while_busy(self._core.runtime, lambda: self._write(jobs))
        except errors.StoreConflict:
            if len(jobs) > 1:
                raise  # the joiner tries each alone
            # Another conductor was at the same instance or key. The second try sees what it wrote.
            written = retry.while_busy(self._core.runtime, lambda: self._write(jobs))
        self._core.after(written.applied)
        self._core.send(written.handed_out, written.orders)
        return [written.answers[place] for place in range(len(jobs))]

    def _write(self, jobs: Sequence[_Job]) -> _Written:
        written = _Written()
        with self._core.database.write() as conn:
            left = dict(enumerate(jobs))
            while left:
                left = self._round(conn, left, written)
            written.orders = self._core.orders.hand_out(conn, written.handed_out)
        return written

    def _round(self, conn: Connection, jobs: Mapping[int, _Job], written: _Written) -> dict[int, _Job]:
        """Do those that name different instances by uuid; answers the others, for the next round.

        Instances are read under the lock of their unfinished operations, which may have ended meanwhile.
        """
        uuids = [job.ref for job in jobs.values()]
        known = notice.recall(conn, [job.key for job in jobs.values() if job.key[1]])
        busy = operation.unfinished_of_instances(conn, uuids, lock=True)
        targets = {uuid: i for uuid, i in instance.find(conn, uuids).items() if i.deleted_at is None}
        doomed = [job.ref for job in jobs.values() if job.action is Action.DELETE]
        placements = placement.find_of_instances(conn, doomed, lock=True)
        later: dict[int, _Job] = {}
        new: list[_New] = []
        remember: dict[tuple[str, str], notice.Remembered] = {}
        for place, job in jobs.items():
            try:
                before = recalled({**known, **remember}, job.key, job.digest)
                target = targets.pop(job.ref, None)
                if job.key in remember:
                    later[place] = job  # a repeat of what this round writes
                elif before is not None:
                    written.answers[place] = _existing(conn, before)
                elif target is None:  # by its name, or another request of this round has it
                    uuid = instance.resolve(conn, job.ref, project_id=job.ctx.project_id).uuid
                    later[place] = replace(job, ref=uuid)
                else:
                    op, effects = self._decide(job, target, busy.get(job.ref), placements.get(job.ref, ()))
                    written.answers[place] = op
                    if op is not busy.get(job.ref):
                        new.append(_New(place, op, effects))
                    if job.key[1]:
                        remember[job.key] = notice.Remembered(job.digest, codec.to_json(op.id))
            except errors.DroverError as exc:
                if isinstance(exc, errors.Unavailable):
                    raise
                written.answers[place] = exc
        notice.remember(conn, remember, self._core.runtime.clock.now())
        self._insert(conn, new, written)
        return later

    def _refuse(self, target: Instance, action: Action, busy: Operation | None) -> None:
        if target.locked:
            raise errors.InstanceLocked(instance=target.name)
        if busy is not None and action is not Action.DELETE:
            raise errors.InstanceBusy(
                instance=target.name,
                action=busy.action.value,
                operation_id=busy.id,
                age_s=int(age_s(busy.created_at, self._core.runtime.clock.now())),
                state=busy.state.value,
            )
        if not allowed(action, target.vm_state):
            legal = ", ".join(sorted(VERBS[action].legal))
            raise errors.InvalidState(
                action=action.value, instance=target.name, vm_state=target.vm_state.value, allowed=legal
            )

    def _operation(self, ctx: RequestContext, target: Instance, action: Action, params: dict[str, str]) -> Operation:
        now = self._core.runtime.clock.now()
        queue_s, run_s = self._core.budgets(action)
        return Operation(
            id=self._core.runtime.uuid(),
            instance_uuid=target.uuid,
            instance_name=target.name,
            action=action,
            state=OperationState.DISPATCHED,
            attempt=1,
            params=params,
            host=target.host,
            queue_budget_s=queue_s,
            run_budget_s=run_s,
            owner=self._core.name,
            request_id=ctx.request_id,
            project_id=ctx.project_id,
            user_id=ctx.user_id,
            created_at=now,
            dispatched_at=now,
        )

    def _decide(
        self, job: _Job, target: Instance, busy: Operation | None, here: Sequence[Placement]
    ) -> tuple[Operation, list[Effect]]:
        """The operation that one request gets, a new one or the one that is *busy*, and what it changes at once.

        :raises errors.InstanceLocked: InstanceBusy, InvalidState: there can be none.
        """
        if job.action is Action.DELETE and busy is not None and busy.action is Action.DELETE:
            return busy, []
        self._refuse(target, job.action, busy)
        op = self._operation(job.ctx, target, job.action, job.params)
        if job.action is not Action.DELETE:
            return op, []
        # Delete supersedes what runs. Undelivered placements go at once; the others are left by their hosts.
        effects = [_give_up(p) for p in here]
        if busy is not None:
            error = info(errors.Superseded(action="delete", operation_id=op.id))
            effects.append(Finish(busy.id, busy.attempt, OperationState.CANCELLED, error))
        current = [p for p in here if p.state not in (PlacementState.RESERVED, PlacementState.LEAVING)]
        return replace(op, host=current[-1].host if current else ""), effects

    def _insert(self, conn: Connection, new: Sequence[_New], written: _Written) -> None:
        core = self._core
        owner = core.owner()
        applied = effect.apply(conn, [e for one in new for e in one.effects], owner)
        operation.add(conn, [one.operation for one in new], owner_until=owner.until, keys={})
        # No host has its current epoch: such a delete is over, and older remains are cleaned up behind it.
        over = [op for op in (one.operation for one in new) if op.action is Action.DELETE and not op.host]
        applied.finished += effect.apply(conn, [e for op in over for e in delete_done(op)], owner).finished
        ended = operation.find(conn, (op.id for op in over))
        written.answers.update({one.place: ended[one.operation.id] for one in new if one.operation.id in ended})
        written.handed_out += [one.operation for one in new if one.operation.id not in ended]
        written.applied.finished += applied.finished
        written.applied.requeued += applied.requeued


def _give_up(p: Placement) -> Effect:
    if p.state is PlacementState.RESERVED:
        return Release(p.instance_uuid, p.host, p.epoch)
    of = tuple(s for s in PlacementState if s not in (PlacementState.LEAVING, PlacementState.RESERVED))
    return Move(p.instance_uuid, p.host, p.epoch, PlacementState.LEAVING, of)


def _existing(conn: Connection, reply: str) -> Operation:
    operation_id = codec.from_json(reply, str)
    found = operation.get(conn, operation_id)
    if found is None:
        raise errors.OperationNotFound(ref=operation_id)
    return found


def _checked(action: Action, params: dict[str, str]) -> dict[str, str]:
    """Parameters with their defaults.

    :raises errors.BadInput: a verb that is no request, a parameter it does not take, or a value it does not know.
    """
    if action is Action.BUILD:
        raise errors.BadInput(reason="build is started by instance create")
    known = _PARAMETERS.get(action, {})
    for name, value in params.items():
        if value not in known.get(name, ()):
            raise errors.BadInput(reason=f"{action.value} takes no {name}={value}")
    return {name: params.get(name, values[0]) for name, values in known.items()}
