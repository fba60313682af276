"""Verbs on an existing instance: start, stop, reboot, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

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
from drover.rpc.context import RequestContext
from drover.states import VERBS, Action, OperationState, PlacementState, allowed

__all__ = ["ActionWorkflow"]

LOG = log.get(__name__)

#: parameters a verb takes, with their values; the first is the default
_PARAMETERS: Mapping[Action, Mapping[str, tuple[str, ...]]] = {
    Action.REBOOT: {"type": ("soft", "hard")},
}


@dataclass(frozen=True, slots=True)
class _Written:
    operation: Operation
    applied: Applied
    fresh: bool


class ActionWorkflow:
    """``instance_action`` of the contract."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def run(
        self, ctx: RequestContext, ref: str, action: Action, params: dict[str, str], idempotency_key: str
    ) -> Operation:
        """Write the operation and what it changes at once, then nudge its host (see the contract)."""
        params = _checked(action, params)
        digest = digest_of({"instance": ref, "action": action.value, "params": params})
        key = (ctx.project_id, idempotency_key)

        def attempt() -> _Written:
            with self._core.database.write() as conn:
                known = notice.recall(conn, [key]) if idempotency_key else {}
                before = recalled(known, key, digest)
                if before is not None:
                    return _Written(_existing(conn, before), Applied(), fresh=False)
                target = instance.resolve(conn, ref, project_id=ctx.project_id)
                written = self._write(conn, ctx, target, action, params)
                if idempotency_key:
                    reply = codec.to_json(written.operation.id)
                    notice.remember(conn, {key: notice.Remembered(digest, reply)}, self._core.runtime.clock.now())
                return written

        written = self._redone(attempt)
        self._core.after(written.applied)
        if written.fresh and written.operation.state is OperationState.DISPATCHED:
            self._core.hand_out([written.operation])
        return written.operation

    def _redone(self, attempt: Callable[[], _Written]) -> _Written:
        """Two requests met on the same instance or key: the second try sees what the other wrote."""
        try:
            return retry.while_busy(self._core.runtime, attempt)
        except errors.StoreConflict:
            return retry.while_busy(self._core.runtime, attempt)

    def _write(
        self, conn: Connection, ctx: RequestContext, target: Instance, action: Action, params: dict[str, str]
    ) -> _Written:
        busy = operation.unfinished_of_instances(conn, [target.uuid], lock=True).get(target.uuid)
        if action is Action.DELETE and busy is not None and busy.action is Action.DELETE:
            return _Written(busy, Applied(), fresh=False)
        # Read again under the lock: what was unfinished may have ended meanwhile.
        target = instance.resolve(conn, target.uuid, project_id=ctx.project_id)
        self._refuse(target, action, busy)
        op = self._operation(ctx, target, action, params)
        if action is Action.DELETE:
            return self._delete(conn, op, busy)
        operation.add(conn, [op], owner_until=self._core.owner().until, keys={})
        return _Written(op, Applied(), fresh=True)

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

    def _delete(self, conn: Connection, op: Operation, busy: Operation | None) -> _Written:
        """Delete supersedes what runs. Undelivered placements go at once; the others are left by their hosts."""
        before: list[Effect] = []
        if busy is not None:
            error = info(errors.Superseded(action="delete", operation_id=op.id))
            before.append(Finish(busy.id, busy.attempt, OperationState.CANCELLED, error))
        here = placement.find_of_instances(conn, [op.instance_uuid], lock=True).get(op.instance_uuid, [])
        before.extend(_give_up(p) for p in here)
        applied = effect.apply(conn, before, self._core.owner())
        left = [p for p in here if p.state is not PlacementState.RESERVED]
        current = [p for p in left if p.state is not PlacementState.LEAVING]
        host = current[-1].host if current else ""
        op = replace(op, host=host)
        operation.add(conn, [op], owner_until=self._core.owner().until, keys={})
        if not host:  # no host has its current epoch: the delete is over, older remains are cleaned up behind it
            done = effect.apply(conn, delete_done(op), self._core.owner())
            applied.finished.extend(done.finished)
            found = operation.get(conn, op.id)
            op = found if found is not None else op
        return _Written(op, applied, fresh=True)


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
