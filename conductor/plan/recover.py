"""What is wrong with one instance, and which cures can neither double its guest nor lose its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from conductor.effect import DropImage, Effect, Finish, Vm
from conductor.plan.sync import delete_done, give_up, unfilled
from drover.clock import age_s
from drover.objects.instance import Instance
from drover.objects.operation import ErrorInfo, Operation
from drover.objects.placement import Placement
from drover.objects.preview import Consequence, Cure, Option
from drover.states import OperationState, PlacementState, PowerState, VmState

__all__ = ["Situation", "diagnose", "options", "plan_delete", "plan_reset"]

#: what an observed guest makes of its instance
_OBSERVED = {
    PowerState.RUNNING: VmState.ACTIVE,
    PowerState.PAUSED: VmState.PAUSED,
    PowerState.SHUTDOWN: VmState.STOPPED,
    PowerState.CRASHED: VmState.STOPPED,
}
#: states that only an operation leads out of, or nothing
_STUCK = (VmState.ERROR, VmState.BUILDING)
#: states of an instance that no host has
_NOWHERE = (VmState.BUILDING, VmState.ERROR, VmState.SHELVED_OFFLOADED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Rows as they are, held by the transaction when something is to be done."""

    instance: Instance
    busy: Operation | None
    placements: Sequence[Placement]
    up: frozenset[str]  # of the hosts in placements
    fenced: frozenset[str]
    elsewhere: Sequence[str] = ()  # hosts that may have a domain of it without a record
    image_there: bool
    now: datetime

    @property
    def current(self) -> list[Placement]:
        """Where it is, or may be, in the sense of the record."""
        return [p for p in self.placements if p.state is not PlacementState.LEAVING]

    @property
    def leaving(self) -> list[Placement]:
        return [p for p in self.placements if p.state is PlacementState.LEAVING]


def diagnose(s: Situation) -> tuple[str, ...]:
    """What is wrong, in sentences; nothing when all is well."""
    it, current = s.instance, s.current
    said: list[str] = []
    if s.busy is not None:
        said.append(_busy(s.busy, s.now))
    if it.vm_state is VmState.ERROR:
        because = f": {it.fault.code}: {it.fault.message}" if it.fault else "; no reason is recorded"
        said.append(f"It is in error{because}")
    if it.vm_state is VmState.BUILDING and s.busy is None:
        said.append("It is building, and no operation builds it.")
    if len(current) > 1:
        hosts = ", ".join(f"{p.host} (epoch {p.epoch}, {p.state})" for p in current)
        said.append(f"More than one host holds it: {hosts}.")
    if not current and it.vm_state not in _NOWHERE:
        said.append(f"It is {it.vm_state}, and no host holds it.")
    for p in current:
        said += _placed(s, p)
    said += [f"Clean-up is pending on {p.host} (epoch {p.epoch})." for p in s.leaving]
    return tuple(said)


def _busy(op: Operation, now: datetime) -> str:
    where = f" on {op.host}" if op.host else ""
    over = age_s(op.created_at, now) > op.queue_budget_s + op.run_budget_s
    late = "; that is past its budgets" if over else "; it ends within its budgets"
    return f"{op.action} is {op.state}{where} for {age_s(op.created_at, now):.0f} s{late} (operation {op.id})."


def _placed(s: Situation, p: Placement) -> list[str]:
    it = s.instance
    said: list[str] = []
    if p.host in s.fenced:
        said.append(f"Its host {p.host} is fenced.")
    elif p.host not in s.up:
        said.append(f"Its host {p.host} is silent.")
    elif it.power_state is PowerState.UNKNOWN and p.state is PlacementState.ACTIVE:
        said.append(f"Its host {p.host} has not reported it yet.")
    if p.epoch != it.epoch:
        said.append(f"{p.host} holds it as of epoch {p.epoch}, its record is at {it.epoch}.")
    elif it.host != p.host and s.busy is None:
        said.append(f"Its record names host {it.host or 'none'}, it is on {p.host}.")
    return said


def options(s: Situation) -> tuple[Option, ...]:
    """Each cure with what it would do, or why not."""
    it = s.instance
    found: list[Option] = []
    if refused := _no_reset(s):
        found.append(Option(cure=Cure.RESET, refused=refused))
    else:
        to = _OBSERVED[it.power_state]
        effect = f"{it.vm_state} becomes {to}, as {s.current[0].host} shows it"
        found.append(Option(cure=Cure.RESET, consequences=(_of(it, effect),)))
    found.append(Option(cure=Cure.DELETE, consequences=tuple(_deleted(s))))
    if refused := _no_retry(s):
        found.append(Option(cure=Cure.RETRY, refused=refused))
    else:
        lost = "; what its disk held is gone" if it.launched_at else ""
        words = f"is built anew from image {it.image_name or it.image_id}, at epoch {it.epoch + 1}{lost}"
        found.append(Option(cure=Cure.RETRY, consequences=(_of(it, words),)))
    return tuple(found)


def _of(it: Instance, effect: str) -> Consequence:
    return Consequence(subject=f"instance {it.name}", effect=effect)


def _no_reset(s: Situation) -> str:
    """Why its record cannot follow what its host shows; "" when it can."""
    it, current = s.instance, s.current
    if s.busy is not None:
        return f"{s.busy.action} is under way: wait, or drover operation cancel {s.busy.id}"
    if len(current) != 1 or current[0].state is not PlacementState.ACTIVE or current[0].epoch != it.epoch:
        return "no host has it, or not for certain"
    host = current[0].host
    if host in s.fenced:
        return f"host {host} is fenced: first drover host adopt {host}"
    if host not in s.up:
        return f"host {host} is silent: nobody knows how it is"
    if it.power_state not in _OBSERVED:
        return f"host {host} has not reported it yet"
    if it.vm_state not in _STUCK and it.host == host:
        return f"it is {it.vm_state}, which needs no reset"
    return ""


def _no_retry(s: Situation) -> str:
    """Why it cannot be built anew: a guest of it might be somewhere already."""
    it = s.instance
    if s.busy is not None:
        return f"{s.busy.action} is under way: wait, or drover operation cancel {s.busy.id}"
    if it.vm_state not in _STUCK:
        return f"it is {it.vm_state}, and no build of it failed"
    if s.current:
        return f"{s.current[0].host} holds it"
    if left := [p.host for p in s.leaving if p.host not in s.fenced]:
        return f"it may still run on {', '.join(left)}, which has not cleaned up: wait for that, or fence the host"
    if s.elsewhere:
        return f"{', '.join(s.elsewhere)} may run it without a record: see drover doctor"
    if not s.image_there:
        return f"image {it.image_name or it.image_id} was deleted"
    return ""


def _deleted(s: Situation) -> list[Consequence]:
    found = [_of(s.instance, "is deleted for good, at once")]
    if s.busy is not None:
        found.append(Consequence(subject=f"operation {s.busy.id}", effect=f"{s.busy.action} is cancelled"))
    for p in s.current:
        if p.state is PlacementState.RESERVED:
            found.append(Consequence(subject=f"placement on {p.host}", effect="goes: its order was never handed out"))
        else:
            words = "leaving: the host removes everything of it when it next can; addresses are kept until then"
            found.append(Consequence(subject=f"placement on {p.host}", effect=words))
    return found


def plan_reset(s: Situation) -> list[Effect]:
    """Follow the one host that has it. Only when :func:`options` does not refuse it."""
    it = s.instance
    return [Vm(instance_uuid=it.uuid, vm_state=_OBSERVED[it.power_state], host=s.current[0].host)]


def plan_delete(s: Situation, op: Operation, superseded: ErrorInfo) -> list[Effect]:
    """Delete it without its host's word; what may be there is left to its ``leaving`` records.

    :param op: the delete, whose row is written with these effects.
    """
    effects: list[Effect] = []
    if s.busy is not None:
        effects += [Finish(s.busy.id, s.busy.attempt, OperationState.CANCELLED, superseded), *unfilled(s.busy)]
    if s.instance.shelved_image_id:
        effects.append(DropImage(s.instance.shelved_image_id))
    effects += [give_up(p) for p in s.current]
    return [*effects, *(e for e in delete_done(op) if not isinstance(e, Finish))]
