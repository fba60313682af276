"""When an instance that should run and does not is started again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from conductor.effect import Effect, Vm
from conductor.plan.sync import info
from drover import errors
from drover.clock import age_s
from drover.objects.instance import Instance
from drover.states import VmState

__all__ = ["Restart", "backoff_s", "plan_restart"]

#: between a restart and the next, doubled each time
_FIRST_S, _LONGEST_S = 10.0, 300.0
#: running for so long begins a new row
_STEADY_S = 600.0


@dataclass(frozen=True, slots=True)
class Restart:
    """``start``: write a START operation with the effects."""

    effects: tuple[Effect, ...] = ()
    start: bool = False


def backoff_s(restarts: int) -> float:
    """How long to wait after *restarts* in a row: the first is at once, then 10 s, doubling to 5 min."""
    return min(_LONGEST_S, _FIRST_S * 2.0 ** min(restarts - 1, 10)) if restarts else 0.0


def plan_restart(target: Instance, now: datetime, *, limit: int) -> Restart:
    """Decide on an idle, active instance whose guest is off.

    The bound also holds after boots of its host: a guest that takes its host down with it must not do so for ever.

    :param limit: restarts in a row, after which it is stopped.
    """
    off_since = target.restart_at or now
    steady = target.restarted_at is not None and age_s(target.restarted_at, off_since) >= _STEADY_S
    restarts = 0 if steady else target.restarts
    if restarts >= limit:
        error = info(errors.RestartsExhausted(restarts=restarts))
        # Whoever starts it begins a new row.
        return Restart(effects=(Vm(instance_uuid=target.uuid, vm_state=VmState.STOPPED, fault=error, restarts=0),))
    if age_s(off_since, now) < backoff_s(restarts):
        return Restart()
    return Restart(effects=(Vm(instance_uuid=target.uuid, restarts=restarts + 1),), start=True)
