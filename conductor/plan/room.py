"""What becomes of operations that no host can take: they fail, or wait for room when their request says so.

One that waits stays in ``scheduling``; what it waits for stands in its row.  Its budgets do not run.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from conductor.effect import Effect, Wait
from conductor.plan.sync import failed, info
from drover import errors
from drover.clock import age_s
from drover.objects.group import Hints
from drover.objects.operation import Decision, ErrorInfo, Operation, refusal
from drover.states import OperationState

__all__ = ["plan_limit", "plan_unplaceable"]


def plan_unplaceable(op: Operation, hints: Hints, decision: Decision | None, now: datetime) -> list[Effect]:
    """What a scheduler's word that no host can take *op* comes to; nothing when the rows say otherwise.

    :param decision: the latest about it.
    """
    if op.state is not OperationState.SCHEDULING or decision is None:
        return []
    if decision.chosen or decision.attempt != op.attempt:
        return []
    words = refusal(decision.funnel, decision.short)
    if not hints.wait:
        return failed(op, _nowhere(op, words))
    if over := plan_limit(op, hints, words, now):
        return over
    return [Wait(op.id, op.attempt, words)] if words != op.waits else []


def plan_limit(op: Operation, hints: Hints, words: str, now: datetime) -> list[Effect]:
    """The end of one that has waited for as long as its request allows, else nothing.

    :param words: what it waits for.
    """
    if hints.wait_s <= 0 or age_s(op.created_at, now) < hints.wait_s:
        return []
    return failed(op, _nowhere(op, f"{words} for {hints.wait_s:g} s"))


def _nowhere(op: Operation, words: str) -> ErrorInfo:
    """The last failure that a host told of; where none did, that there is no host."""
    if op.error is not None:
        return replace(op.error, message=f"{op.error.message}; no other host: {words}")
    reason = f"{words}; see: drover why {op.instance_name}"
    return info(errors.NoValidHost(what=op.instance_name, reason=reason))
