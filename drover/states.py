"""The states of an instance and of its operations: one table that code, tests and docs read.

Nova's three axes are kept apart: ``vm_state`` (stable, ours), ``task_state`` (derived from the unfinished
operation) and ``power_state`` (observed; ``unknown`` is a value).  docs/states.md is generated from
:data:`VERBS`; a test walks every pair of verb and state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

__all__ = [
    "FINAL_STATES",
    "STARTING",
    "UNFINISHED_STATES",
    "VERBS",
    "Action",
    "Evidence",
    "OperationState",
    "PlacementState",
    "PoolKind",
    "PowerState",
    "RestartPolicy",
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
    PAUSED = "paused"
    SUSPENDED = "suspended"
    RESCUED = "rescued"
    SHELVED_OFFLOADED = "shelved_offloaded"  # its disk is an image in the depot, and no host has anything of it
    SOFT_DELETED = "soft-delete"
    ERROR = "error"
    DELETED = "deleted"


class PowerState(StrEnum):
    UNKNOWN = "unknown"
    RUNNING = "running"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"


class RestartPolicy(StrEnum):
    """What becomes of an instance that should run and whose guest ended by itself."""

    NEVER = "never"
    ON_FAILURE = "on-failure"  # it crashed; a guest that shut itself down stays off
    ALWAYS = "always"


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
    PAUSE = "pause"
    UNPAUSE = "unpause"
    SUSPEND = "suspend"
    RESUME = "resume"
    REBUILD = "rebuild"
    RESCUE = "rescue"
    UNRESCUE = "unrescue"
    SNAPSHOT = "snapshot"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    SOFT_DELETE = "soft-delete"
    RESTORE = "restore"


class PoolKind(StrEnum):
    """Bounded pools of an agent, one per kind of work, so that one slow kind starves no other."""

    BUILD = "build"
    LIFECYCLE = "lifecycle"
    DELETE = "delete"
    SNAPSHOT = "snapshot"


class Evidence(StrEnum):
    """How an agent that lost its memory answers "did it happen?"."""

    LEVEL = "level"  # the hypervisor's own state tells; repeating is harmless
    STAMP = "stamp"  # the operation id stamped in the guest's metadata tells; else OutcomeUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One row of the table. Budgets are seconds and defaults: configuration may change them."""

    action: Action
    legal: frozenset[VmState]
    end: VmState | None  # None = vm_state stays what it was
    task_state: str
    pool: PoolKind
    queue_budget_s: int
    run_budget_s: int
    places: bool = False  # the scheduler chooses a host; the domain may start there only with a permit
    uploads: bool = False  # it fills an image that is made with it and goes with it unless it succeeds
    supersedes: bool = False  # it ends whatever runs, and nobody cancels it
    evidence: Evidence = Evidence.LEVEL
    on_failure: VmState | None = None  # None = vm_state stays what it was


def _lifecycle(action: Action, legal: set[VmState], end: VmState, task_state: str) -> Verb:
    """A verb on a guest that is there, over in a minute."""
    return Verb(
        action=action,
        legal=frozenset(legal),
        end=end,
        task_state=task_state,
        pool=PoolKind.LIFECYCLE,
        queue_budget_s=120,
        run_budget_s=120,
    )


#: states of a guest that is on a host and may be asked for something
_ON_HOST = frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED})

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
            places=True,
            on_failure=VmState.ERROR,
        ),
        Verb(
            action=Action.DELETE,
            legal=frozenset(VmState) - {VmState.DELETED},
            end=VmState.DELETED,
            task_state="deleting",
            pool=PoolKind.DELETE,
            queue_budget_s=300,
            run_budget_s=300,
            supersedes=True,
        ),
        _lifecycle(Action.START, {VmState.STOPPED}, VmState.ACTIVE, "powering-on"),
        _lifecycle(Action.STOP, {VmState.ACTIVE}, VmState.STOPPED, "powering-off"),
        replace(
            _lifecycle(Action.REBOOT, set(_ON_HOST), VmState.ACTIVE, "rebooting"),
            evidence=Evidence.STAMP,
        ),
        _lifecycle(Action.PAUSE, {VmState.ACTIVE}, VmState.PAUSED, "pausing"),
        _lifecycle(Action.UNPAUSE, {VmState.PAUSED}, VmState.ACTIVE, "unpausing"),
        _lifecycle(Action.SUSPEND, {VmState.ACTIVE}, VmState.SUSPENDED, "suspending"),
        _lifecycle(Action.RESUME, {VmState.SUSPENDED}, VmState.ACTIVE, "resuming"),
        Verb(
            action=Action.REBUILD,
            legal=frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.ERROR}),
            end=VmState.ACTIVE,  # STOPPED when it was: the host tells its power state
            task_state="rebuilding",
            pool=PoolKind.BUILD,
            queue_budget_s=300,
            run_budget_s=600,
            evidence=Evidence.STAMP,
            on_failure=VmState.ERROR,
        ),
        _lifecycle(Action.RESCUE, {VmState.ACTIVE, VmState.STOPPED}, VmState.RESCUED, "rescuing"),
        _lifecycle(Action.UNRESCUE, {VmState.RESCUED}, VmState.ACTIVE, "unrescuing"),
        Verb(
            action=Action.SNAPSHOT,
            legal=_ON_HOST,
            end=None,
            task_state="image_snapshot",
            pool=PoolKind.SNAPSHOT,
            queue_budget_s=300,
            run_budget_s=900,
            uploads=True,
        ),
        Verb(
            action=Action.SHELVE,
            legal=_ON_HOST,
            end=VmState.SHELVED_OFFLOADED,
            task_state="shelving",
            pool=PoolKind.SNAPSHOT,
            queue_budget_s=300,
            run_budget_s=900,
            uploads=True,
        ),
        Verb(
            action=Action.UNSHELVE,
            legal=frozenset({VmState.SHELVED_OFFLOADED}),
            end=VmState.ACTIVE,
            task_state="unshelving",
            pool=PoolKind.BUILD,
            queue_budget_s=300,
            run_budget_s=600,
            places=True,
        ),
        replace(
            _lifecycle(Action.SOFT_DELETE, {*_ON_HOST, VmState.RESCUED}, VmState.SOFT_DELETED, "soft-deleting"),
            supersedes=True,
        ),
        _lifecycle(Action.RESTORE, {VmState.SOFT_DELETED}, VmState.ACTIVE, "restoring"),
    )
}


#: verbs on an instance that exists after which its guest runs
STARTING = frozenset(
    verb.action
    for verb in VERBS.values()
    if verb.end in (VmState.ACTIVE, VmState.RESCUED) and verb.action is not Action.BUILD
)


def allowed(action: Action, vm_state: VmState) -> bool:
    """Whether *action* may begin on an instance in *vm_state* (an unfinished operation is another matter)."""
    return vm_state in VERBS[action].legal
