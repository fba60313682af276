"""Operations: the journal's rows as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from drover.states import Action, OperationState
from drover.units import counted

__all__ = [
    "Decision",
    "ErrorInfo",
    "Operation",
    "OperationFilter",
    "OperationPage",
    "ServiceLog",
    "StepRecord",
    "Trace",
    "refusal",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """An error as data: code, words, parameters (see drover.errors)."""

    code: str
    message: str
    retryable: bool = False
    params: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    id: str
    instance_uuid: str
    instance_name: str = ""
    action: Action
    state: OperationState
    attempt: int
    params: dict[str, str] = field(default_factory=dict)
    host: str = ""
    excluded_hosts: tuple[str, ...] = ()
    queue_budget_s: float = 300.0
    run_budget_s: float = 600.0
    owner: str = ""
    request_id: str = ""
    project_id: str = "default"
    user_id: str = "admin"
    created_at: datetime
    dispatched_at: datetime | None = None  # a host was claimed or known
    started_at: datetime | None = None  # the agent began it
    finished_at: datetime | None = None
    error: ErrorInfo | None = None  # of one that goes on: why its last attempt failed
    waits: str = ""  # why it waits for room; "": it does not


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step as it went. ``at_s`` counts from the start of the attempt on that service."""

    name: str
    at_s: float
    duration_s: float
    outcome: str = "done"  # done | skipped | failed | undone | cancelled
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLog:
    """The steps of one service in one attempt; one JSON document, not a row a step."""

    service: str  # "conductor@name", "scheduler@name", "agent@host"
    attempt: int
    started_at: datetime
    steps: tuple[StepRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    operation: Operation
    logs: tuple[ServiceLog, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFilter:
    instance: str = ""
    state: str = ""
    unfinished: bool = False
    all_projects: bool = False
    limit: int = 100
    marker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPage:
    operations: tuple[Operation, ...]
    next_marker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One placement decision, kept: who was asked, what each filter left, who was best, who won.

    ``funnel`` is ``((filter, hosts left), …)`` in order, beginning with ``("all", n)``; ``refused`` says per
    host the first filter that refused it and its words (first 200 hosts); ``weights`` are
    ``((host, {weigher: normalised × multiplier}, total), …)`` of the best. ``refusals`` has a byte for every host of
    the fleet (:mod:`scheduler.refusal`), in order of their names, of which ``roster`` is the checksum.
    """

    operation_id: str
    attempt: int
    chosen: str = ""
    funnel: tuple[tuple[str, int], ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()
    weights: tuple[tuple[str, dict[str, float], float], ...] = ()
    lost: tuple[str, ...] = ()  # hosts whose last room another request took
    short: str = ""  # why none of a request's instances got a host though some could have one, in words
    refusals: bytes = b""
    roster: int = 0
    at: datetime


def refusal(funnel: Sequence[tuple[str, int]], short: str) -> str:
    """Why a decision chose nobody, in one line: how many hosts there were, and what each filter took.

    :param funnel: and short: of the :class:`Decision`.
    """
    total = left = funnel[0][1] if funnel else 0
    lost: list[str] = []
    for name, remaining in funnel[1:]:
        if remaining < left:
            lost.append(f"{name} refused {left - remaining}")
        left = remaining
    words = f"of {counted(total, 'host')} {', '.join(lost)}" if lost else "no hosts are registered"
    return f"{short}; {words}" if short else words
