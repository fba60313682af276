"""``instance_recover``: an operator's way out for one instance, seen before it is taken."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from conductor import effect
from conductor.core import Core
from conductor.effect import Anew, Applied, Effect, Vm
from conductor.plan.recover import Situation, diagnose, options, plan_delete, plan_reset
from conductor.plan.sync import info
from drover import errors, log, retry
from drover.db import host, instance, operation, orphan, placement
from drover.db import image as images
from drover.objects.event import operation_event
from drover.objects.operation import Operation
from drover.objects.preview import Cure, Recovery
from drover.rpc.context import RequestContext
from drover.states import Action, OperationState, PowerState, VmState

__all__ = ["RecoverWorkflow"]

LOG = log.get(__name__)


class RecoverWorkflow:
    """Each cure is one transaction on rows that it holds: a crash leaves all of it or nothing."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def recover(self, ctx: RequestContext, ref: str, cure: Cure | None, *, dry_run: bool) -> Recovery:
        """See the contract."""
        core = self._core
        if cure is None or dry_run:
            with core.database.read() as conn:
                s = self._situation(conn, ctx, ref, lock=False)
            _check(s, cure)
            return Recovery(instance=s.instance, diagnosis=diagnose(s), options=options(s))
        try:
            found, applied = retry.while_busy(core.runtime, lambda: self._cure(ctx, ref, cure))
        except errors.StoreConflict:  # a verb came in between, and the second look says so
            found, applied = retry.while_busy(core.runtime, lambda: self._cure(ctx, ref, cure))
        core.after(applied)
        uuid = found.instance.uuid
        LOG.warning("instance recovered", instance=uuid, cure=cure.value, user=ctx.user_id, request_id=ctx.request_id)
        return found

    def _situation(self, conn: Connection, ctx: RequestContext, ref: str, *, lock: bool) -> Situation:
        """The rows, locked as a verb locks them: operation, instance, placements.

        :raises drover.errors.StoreConflict: a verb began before the instance was locked.
        """
        uuid = instance.resolve(conn, ref, project_id=ctx.project_id).uuid
        busy = operation.unfinished_of_instances(conn, [uuid], lock=lock).get(uuid)
        it = instance.find(conn, [uuid], lock=lock).get(uuid)
        if it is None or it.deleted_at is not None:
            raise errors.InstanceNotFound(ref=ref)
        placements = placement.find_of_instances(conn, [uuid], lock=lock).get(uuid, [])
        if lock and busy is None and operation.unfinished_of_instances(conn, [uuid]):
            raise errors.StoreConflict(constraint="", detail=f"a verb of {uuid} began meanwhile")
        wanted = {p.host for p in placements}
        pulses = [p for p in host.pulses(conn) if p.host in wanted]
        return Situation(
            instance=it,
            busy=busy,
            placements=placements,
            up=frozenset(p.host for p in pulses if p.up),
            fenced=frozenset(p.host for p in pulses if p.fence is not None),
            elsewhere=orphan.hosts_of(conn, uuid, anywhere=True),
            image_there=images.find(conn, it.image_id) is not None,
            now=self._core.runtime.clock.now(),
        )

    def _cure(self, ctx: RequestContext, ref: str, cure: Cure) -> tuple[Recovery, Applied]:
        core = self._core
        with core.write() as conn:
            s = self._situation(conn, ctx, ref, lock=True)
            if s.instance.locked:
                raise errors.InstanceLocked(instance=s.instance.name)
            _check(s, cure)
            op = self._operation(ctx, s, cure)
            applied = effect.apply(conn, _effects(s, cure, op), core.owner())
            if op is not None:
                operation.add(conn, [op], owner_until=core.owner().until, keys={})
                applied.events.append(operation_event(op))
                applied.requeued += [op.id] if op.action is Action.BUILD else []
            after = instance.find(conn, [s.instance.uuid])[s.instance.uuid]
        done = Recovery(
            instance=after, diagnosis=diagnose(s), options=options(s), done=cure, operation_id=op.id if op else ""
        )
        return done, applied

    def _operation(self, ctx: RequestContext, s: Situation, cure: Cure) -> Operation | None:
        """A row of the journal: a cure that is a verb is one, so that the instance's history tells of it."""
        if cure is Cure.RESET:
            return None
        action = Action.DELETE if cure is Cure.DELETE else Action.BUILD
        op = replace(self._core.new_operation(ctx, s.instance, action), host="", dispatched_at=None)
        if cure is Cure.DELETE:
            return replace(op, params={"recover": "true"}, state=OperationState.SUCCEEDED, finished_at=s.now)
        return replace(op, params={"recover": "true"}, state=OperationState.SCHEDULING)


def _effects(s: Situation, cure: Cure, op: Operation | None) -> list[Effect]:
    if op is None:
        return plan_reset(s)
    if cure is Cure.DELETE:
        return plan_delete(s, op, info(errors.Superseded(action=op.action.value, operation_id=op.id)))
    uuid = s.instance.uuid
    return [Anew(uuid), Vm(instance_uuid=uuid, vm_state=VmState.BUILDING, power_state=PowerState.UNKNOWN)]


def _check(s: Situation, cure: Cure | None) -> None:
    """:raises errors.CureRefused: the cure does not apply."""
    for option in options(s):
        if option.cure is cure and option.refused:
            raise errors.CureRefused(instance=s.instance.name, cure=cure.value, reason=option.refused)
