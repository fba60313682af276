"""The states of an instance and of its operations: one table that code, tests and docs read.

Nova's three axes are kept apart: ``vm_state`` (stable, ours), ``task_state`` (derived from the unfinished
operation) and ``power_state`` (observed; ``unknown`` is a value).  docs/states.md is generated from
:data:`VERBS`; a test walks every pair of verb and state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "FINAL_STATES",
    "UNFINISHED_STATES",
    "VERBS",
    "Action",
    "Evidence",
    "OperationState",
    "PlacementState",
    "PoolKind",
    "PowerState",
    "Verb",
    "Verdict",
    "VmState",
    "allowed",
]


class VmState(StrEnum):
    """Nova's vm_states, as far as the verbs of this release reach."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    ERROR = "error"
    DELETED = "deleted"


class PowerState(StrEnum):
    UNKNOWN = "unknown"
    RUNNING = "running"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"


class OperationState(StrEnum):
    QUEUED = "queued"
    SCHEDULING = "scheduling"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATES = frozenset({OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED})
UNFINISHED_STATES = frozenset(OperationState) - FINAL_STATES


class PlacementState(StrEnum):
    """``reserved → held → permitted → active → leaving → row gone`` (DESIGN §3)."""

    RESERVED = "reserved"  # claimed, order not handed out
    HELD = "held"  # order handed out
    PERMITTED = "permitted"  # may start a domain
    ACTIVE = "active"
    LEAVING = "leaving"  # entitles a destroy; survives deletion of the instance


class Verdict(StrEnum):
    """The conductor's word on each item of a sync."""

    APPLIED = "applied"
    ALREADY = "already"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"


class Action(StrEnum):
    BUILD = "build"
    DELETE = "delete"
    START = "start"
    STOP = "stop"
    REBOOT = "reboot"


class PoolKind(StrEnum):
    """Bounded pools of an agent, one per kind of work, so that one slow kind starves no other."""

    BUILD = "build"
    LIFECYCLE = "lifecycle"
    DELETE = "delete"


class Evidence(StrEnum):
    """How an agent that lost its memory answers "did it happen?"."""

    LEVEL = "level"  # the hypervisor's own state tells; repeating is harmless
    STAMP = "stamp"  # the operation id stamped in the guest's metadata tells; else OutcomeUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One row of the table. Budgets are seconds and defaults: configuration may change them."""

    action: Action
    legal: frozenset[VmState]
    end: VmState
    task_state: str
    pool: PoolKind
    queue_budget_s: int
    run_budget_s: int
    needs_permit: bool  # may start a domain on a host that is not yet active for it
    evidence: Evidence
    on_failure: VmState | None  # None = vm_state stays what it was


VERBS: dict[Action, Verb] = {
    verb.action: verb
    for verb in (
        Verb(
            action=Action.BUILD,
            legal=frozenset({VmState.BUILDING}),
            end=VmState.ACTIVE,
            task_state="spawning",
            pool=PoolKind.BUILD,
            queue_budget_s=300,
            run_budget_s=600,
            needs_permit=True,
            evidence=Evidence.LEVEL,
            on_failure=VmState.ERROR,
        ),
        Verb(
            action=Action.DELETE,
            legal=frozenset({VmState.BUILDING, VmState.ACTIVE, VmState.STOPPED, VmState.ERROR}),
            end=VmState.DELETED,
            task_state="deleting",
            pool=PoolKind.DELETE,
            queue_budget_s=300,
            run_budget_s=300,
            needs_permit=False,
            evidence=Evidence.LEVEL,
            on_failure=None,
        ),
        Verb(
            action=Action.START,
            legal=frozenset({VmState.STOPPED}),
            end=VmState.ACTIVE,
            task_state="powering-on",
            pool=PoolKind.LIFECYCLE,
            queue_budget_s=120,
            run_budget_s=120,
            needs_permit=False,
            evidence=Evidence.LEVEL,
            on_failure=None,
        ),
        Verb(
            action=Action.STOP,
            legal=frozenset({VmState.ACTIVE}),
            end=VmState.STOPPED,
            task_state="powering-off",
            pool=PoolKind.LIFECYCLE,
            queue_budget_s=120,
            run_budget_s=120,
            needs_permit=False,
            evidence=Evidence.LEVEL,
            on_failure=None,
        ),
        Verb(
            action=Action.REBOOT,
            legal=frozenset({VmState.ACTIVE, VmState.STOPPED}),
            end=VmState.ACTIVE,
            task_state="rebooting",
            pool=PoolKind.LIFECYCLE,
            queue_budget_s=120,
            run_budget_s=120,
            needs_permit=False,
            evidence=Evidence.STAMP,
            on_failure=None,
        ),
    )
}


def allowed(action: Action, vm_state: VmState) -> bool:
    """Whether *action* may begin on an instance in *vm_state* (an unfinished operation is another matter)."""
    return vm_state in VERBS[action].legal
