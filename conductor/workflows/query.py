"""Reading: instances, operations, traces, decisions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from conductor.core import Core
from conductor.rule.page import check_limit
from drover import errors
from drover.clock import age_s
from drover.db import address, decision, instance, operation, placement
from drover.objects.instance import Instance, InstanceFilter, InstancePage
from drover.objects.operation import Operation, OperationFilter, OperationPage, ServiceLog, StepRecord, Trace
from drover.rpc.conductor import Why
from drover.rpc.context import RequestContext
from drover.states import VERBS, Action, OperationState, PlacementState

__all__ = ["QueryWorkflow"]

#: verbs with a decision of the scheduler
_PLACING = tuple(verb.action for verb in VERBS.values() if verb.places)


def task_state(op: Operation | None) -> str:
    """Nova's task_state, derived from the unfinished operation."""
    if op is None:
        return ""
    if op.state in (OperationState.QUEUED, OperationState.SCHEDULING):
        return "scheduling"
    return VERBS[op.action].task_state


class QueryWorkflow:
    """The reading half of the contract."""

    def __init__(self, core: Core) -> None:
        self._core = core

    # --- instances -------------------------------------------------------------------------------------------

    def instance_list(self, ctx: RequestContext, query: InstanceFilter) -> InstancePage:
        check_limit(query.limit, least=1)
        with self._core.database.read() as conn:
            found = instance.page(conn, query, project_id=ctx.project_id)
            more = len(found) > query.limit
            shown = found[: query.limit]
            full = self._complete(conn, shown)
        return InstancePage(instances=tuple(full), next_marker=shown[-1].uuid if more else "")

    def instance_show(self, ctx: RequestContext, ref: str) -> Instance:
        with self._core.database.read() as conn:
            found = instance.resolve(conn, ref, project_id=ctx.project_id, deleted=True)
            return self._complete(conn, [found])[0]

    def _complete(self, conn: Connection, instances: Sequence[Instance]) -> list[Instance]:
        """With ports, task state and the hosts that still hold something."""
        uuids = [i.uuid for i in instances]
        if not uuids:
            return []
        ports = address.ports_of(conn, uuids)
        busy = operation.unfinished_of_instances(conn, uuids)
        placements = placement.find_of_instances(conn, uuids)
        return [
            replace(
                i,
                ports=ports.get(i.uuid, ()),
                task_state=task_state(busy.get(i.uuid)),
                cleanup_hosts=tuple(p.host for p in placements.get(i.uuid, ()) if p.state is PlacementState.LEAVING),
            )
            for i in instances
        ]

    # --- operations ------------------------------------------------------------------------------------------

    def operation_list(self, ctx: RequestContext, query: OperationFilter) -> OperationPage:
        check_limit(query.limit, least=1)
        if query.state and query.state not in set(OperationState):
            raise errors.BadInput(reason=f"no operation state {query.state!r}; one of {', '.join(OperationState)}")
        with self._core.database.read() as conn:
            uuid = ""
            if query.instance:
                uuid = instance.resolve(conn, query.instance, project_id=ctx.project_id, deleted=True).uuid
            found = operation.page(conn, query, instance_uuid=uuid, project_id=ctx.project_id)
        shown = found[: query.limit]
        marker = shown[-1].id if len(found) > query.limit else ""
        return OperationPage(operations=tuple(shown), next_marker=marker)

    def operation_show(self, ref: str) -> Operation:
        with self._core.database.read() as conn:
            found = operation.get(conn, ref)
        if found is None:
            raise errors.OperationNotFound(ref=ref)
        return found

    def trace(self, ctx: RequestContext, ref: str) -> Trace:
        with self._core.database.read() as conn:
            op = self._operation(conn, ctx, ref, tuple(Action))
            logs = operation.logs(conn, op.id)
        return Trace(operation=op, logs=(_conductor_log(op), *logs))

    def why(self, ctx: RequestContext, ref: str) -> Why:
        with self._core.database.read() as conn:
            op = self._operation(conn, ctx, ref, _PLACING)
            return Why(operation=op, decisions=decision.of_operation(conn, op.id))

    def _operation(self, conn: Connection, ctx: RequestContext, ref: str, actions: Collection[Action]) -> Operation:
        """By operation id, or the newest (of these kinds) of an instance, deleted ones by uuid too."""
        found = operation.get(conn, ref)
        if found is None:
            target = instance.resolve(conn, ref, project_id=ctx.project_id, deleted=True)
            found = operation.latest(conn, target.uuid, actions)
        if found is None:
            raise errors.OperationNotFound(ref=ref)
        return found


def _conductor_log(op: Operation) -> ServiceLog:
    """The conductor's own steps, from the times it wrote in the operation's row."""
    moments = (("accepted", op.created_at), ("dispatched", op.dispatched_at), ("begun", op.started_at))
    steps = [
        StepRecord(name=name, at_s=age_s(op.created_at, at), duration_s=0.0)
        for name, at in (*moments, (op.state.value, op.finished_at))
        if at is not None
    ]
    return ServiceLog(service="conductor", attempt=op.attempt, started_at=op.created_at, steps=tuple(steps))
