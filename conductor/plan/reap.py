"""What to do with an operation whose lease ran out: whoever owned it is late, dead, or only busy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from conductor.effect import Effect, Move, Release, Schedule
from conductor.plan.sync import Facts, build_failed, delete_done, failed, info
from drover import errors
from drover.clock import age_s
from drover.objects.operation import ErrorInfo, Operation
from drover.states import FINAL_STATES, VERBS, Action, OperationState, PlacementState

__all__ = ["HostView", "Reaped", "info", "plan_reap", "plan_release_undelivered"]

_UNDELIVERED = (PlacementState.RESERVED, PlacementState.HELD)


@dataclass(frozen=True, slots=True)
class HostView:
    """A host as this conductor sees it now."""

    silent: bool
    spoke_at: datetime | None  # last sync written
    fenced: bool = False  # an operator said that it is off: nothing of it runs


@dataclass(frozen=True, slots=True)
class Reaped:
    """``renew``: nothing is wrong, look again after another lease. ``schedule``/``execute``: say it again."""

    effects: tuple[Effect, ...] = ()
    renew: bool = False
    schedule: bool = False
    execute: bool = False


def plan_reap(op: Operation, hosts: Mapping[str, HostView], facts: Facts, now: datetime, *, braked: bool) -> Reaped:
    """Decide on one unfinished operation.

    :param braked: too many hosts fell silent at once: nothing that silence would justify is done.
    """
    if op.state in FINAL_STATES:
        return Reaped()
    if op.state in (OperationState.QUEUED, OperationState.SCHEDULING):
        return _unplaced(op, hosts, facts, now)
    view = hosts.get(op.host, HostView(silent=True, spoke_at=None))
    if view.silent:
        return Reaped(renew=True) if braked else _on_silent_host(op, facts, now)
    return _on_live_host(op, facts, now, view)


def _unplaced(op: Operation, hosts: Mapping[str, HostView], facts: Facts, now: datetime) -> Reaped:
    if op.waits:
        return Reaped(renew=True)  # for room: that is looked for by Upkeep, and its budget does not run
    waited_s = age_s(op.created_at, now)
    if waited_s > op.queue_budget_s * facts.build_attempts:
        error = info(errors.BudgetExceeded(action="scheduling", budget_s=op.queue_budget_s))
        return Reaped(effects=tuple(failed(op, error)))
    if op.state is OperationState.QUEUED:
        # It waits until no other host can run the instance.
        left = [
            p for p in facts.placements.get(op.instance_uuid, ()) if p.host not in hosts or not hosts[p.host].fenced
        ]
        return Reaped(effects=() if left else (Schedule(op.id, op.attempt),), renew=True)
    return Reaped(renew=True, schedule=True)


def _deadline_passed(op: Operation, now: datetime) -> bool:
    if op.state is OperationState.DISPATCHED:
        return age_s(op.dispatched_at or op.created_at, now) > op.queue_budget_s
    return age_s(op.started_at or op.created_at, now) > op.run_budget_s


def _on_silent_host(op: Operation, facts: Facts, now: datetime) -> Reaped:
    if VERBS[op.action].places and (undelivered := plan_release_undelivered(op, facts)):
        # Not permitted: the same row that gives it away refuses a late permit, so no clock is needed.
        error = info(errors.HostSilent(host=op.host, budget_s=op.queue_budget_s))
        retryable = ErrorInfo(code=error.code, message=error.message, retryable=True, params=error.params)
        rest = [e for e in build_failed(facts, op, op.host, retryable, clean=False) if not isinstance(e, Move)]
        return Reaped(effects=(*undelivered, *rest), schedule=True)
    if not _deadline_passed(op, now):
        return Reaped(renew=True)
    if op.action is Action.DELETE:
        return Reaped(effects=tuple(delete_done(op)))
    error = info(errors.HostSilent(host=op.host, budget_s=op.run_budget_s))
    return Reaped(effects=(*failed(op, error), *_leave(op, facts)))


def _on_live_host(op: Operation, facts: Facts, now: datetime, view: HostView) -> Reaped:
    began = op.started_at if op.state is OperationState.RUNNING else op.dispatched_at
    budget_s = op.run_budget_s if op.state is OperationState.RUNNING else op.queue_budget_s
    # Only a sync that began after the deadline proves that no result is on its way.
    over = view.spoke_at is not None and age_s(began or op.created_at, view.spoke_at) > budget_s
    if not (over and _deadline_passed(op, now)):
        return Reaped(renew=True, execute=op.state is OperationState.DISPATCHED)
    if op.action is Action.DELETE:
        return Reaped(effects=tuple(delete_done(op)))
    error = info(errors.BudgetExceeded(action=op.action.value, budget_s=budget_s))
    return Reaped(effects=(*failed(op, error), *_leave(op, facts)))


def _leave(op: Operation, facts: Facts) -> list[Effect]:
    """A build that ends badly without its host's word leaves something there that may run."""
    if not VERBS[op.action].places:
        return []
    not_leaving = tuple(s for s in PlacementState if s is not PlacementState.LEAVING)
    return [
        Move(p.instance_uuid, p.host, p.epoch, PlacementState.LEAVING, not_leaving)
        for p in facts.placements.get(op.instance_uuid, ())
        if p.operation_id == op.id
    ]


def plan_release_undelivered(op: Operation, facts: Facts) -> list[Effect]:
    """Take an unpermitted placement back: gone if its order was never handed out, else ``leaving``. [] if permitted."""
    mine = [p for p in facts.placements.get(op.instance_uuid, ()) if p.operation_id == op.id and p.host == op.host]
    effects: list[Effect] = []
    for p in mine:
        if p.state is PlacementState.RESERVED:
            effects.append(Release(p.instance_uuid, p.host, p.epoch))
        elif p.state is PlacementState.HELD:
            effects.append(Move(p.instance_uuid, p.host, p.epoch, PlacementState.LEAVING, _UNDELIVERED))
    return effects
