"""What the clients of a run share: who is at which instance, and what is counted."""

from __future__ import annotations

from collections.abc import Collection

from drover.burnin.ledger import Ledger, Turn
from drover.burnin.plan import Move, Seen, Verb
from drover.burnin.violation import Violation
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, OperationState, VmState
from tests.unit.drover.burnin.sample import instance, operation


def ledger_with(*uuids: str) -> Ledger:
    """Instances that nobody is at."""
    ledger = Ledger(ThreadRuntime(), "burnin-1")
    turn = ledger.take(lambda *_: Move(verb=Action.BUILD, count=len(uuids)))
    assert turn is not None
    ledger.built(turn, uuids, uuids)
    for uuid in uuids:
        leave(ledger, uuid)
    return ledger


def leave(ledger: Ledger, uuid: str, vm_state: VmState = VmState.ACTIVE) -> bool:
    mark = ledger.step_back(uuid)
    return mark is not None and ledger.leave(uuid, mark, instance(uuid, vm_state=vm_state))


def take(ledger: Ledger, uuid: str, action: Action = Action.STOP) -> Turn:
    def choose(seen: list[Seen], _: int, __: Collection[Verb]) -> Move:
        return Move(verb=action, target=next(one for one in seen if one.uuid == uuid))

    turn = ledger.take(choose)
    assert turn is not None
    return turn


def states(ledger: Ledger) -> dict[str, tuple[VmState, bool]]:
    found: dict[str, tuple[VmState, bool]] = {}

    def look(seen: list[Seen], _: int, __: Collection[Verb]) -> None:
        found.update((one.uuid, (one.vm_state, one.busy)) for one in seen)

    ledger.take(look)
    return found


def test_an_instance_is_busy_while_a_client_is_at_it_and_then_what_it_found() -> None:
    ledger = ledger_with("a")
    take(ledger, "a")
    assert states(ledger) == {"a": (VmState.ACTIVE, True)}
    assert leave(ledger, "a", VmState.STOPPED)
    assert states(ledger) == {"a": (VmState.STOPPED, False)}


def test_instances_that_are_being_built_count() -> None:
    ledger = Ledger(ThreadRuntime(), "burnin-1")
    counts: list[int] = []
    turn = ledger.take(lambda *_: Move(verb=Action.BUILD, count=3))
    assert turn is not None
    ledger.take(lambda _, building, __: counts.append(building))
    ledger.not_built(turn)
    ledger.take(lambda _, building, __: counts.append(building))
    assert counts == [3, 0]


def test_two_at_one_instance_race() -> None:
    ledger = ledger_with("a")
    first = take(ledger, "a")
    assert not ledger.raced(first)
    second = take(ledger, "a", Action.DELETE)
    assert ledger.raced(first)
    assert ledger.raced(second)


def test_the_last_to_leave_says_how_it_is() -> None:
    ledger = ledger_with("a")
    take(ledger, "a")
    take(ledger, "a")
    assert ledger.step_back("a") is None
    assert leave(ledger, "a", VmState.STOPPED)
    assert states(ledger) == {"a": (VmState.STOPPED, False)}


def test_who_looked_before_another_came_does_not_leave_with_what_it_saw() -> None:
    ledger = ledger_with("a")
    take(ledger, "a")
    mark = ledger.step_back("a")
    assert mark is not None
    take(ledger, "a")
    assert not ledger.leave("a", mark, instance("a", vm_state=VmState.PAUSED))
    assert states(ledger) == {"a": (VmState.ACTIVE, True)}


def test_a_deleted_instance_is_remembered_but_not_played_with() -> None:
    ledger = ledger_with("a", "b")
    take(ledger, "a", Action.DELETE)
    leave(ledger, "a", VmState.DELETED)
    assert states(ledger) == {"b": (VmState.ACTIVE, False)}
    assert ledger.uuids() == {"a", "b"}
    assert ledger.live() == ("b",)


def test_an_instance_of_which_a_request_was_never_answered_stays_busy() -> None:
    ledger = ledger_with("a")
    ledger.lose(take(ledger, "a"))
    assert states(ledger) == {"a": (VmState.ACTIVE, True)}
    assert ledger.live() == ()
    assert ledger.unknown() == {"a"}


def test_an_operation_counts_once_however_many_wait_for_it() -> None:
    ledger = ledger_with("a")
    turn = take(ledger, "a", Action.DELETE)
    ledger.accepted(["op1"])
    ledger.accepted(["op1"])
    for _ in range(2):
        ledger.ended("delete", operation(Action.DELETE, OperationState.SUCCEEDED), turn.began_s)
    counts, _, _ = ledger.tally()
    assert (ledger.operations(), counts["delete"].ends["succeeded"], len(counts["delete"].latencies_s)) == (1, 1, 1)


def test_failures_are_counted_by_code_and_superseded_ones_are_none() -> None:
    ledger = ledger_with("a")
    ledger.ended("stop", operation(Action.STOP, OperationState.FAILED, "HostSilent", id="op1"), 0.0)
    ledger.ended("stop", operation(Action.STOP, OperationState.CANCELLED, "Superseded", id="op2"), 0.0)
    assert ledger.tally()[2] == {"stop: HostSilent": 1}


def test_what_had_ended_before_a_move_is_known() -> None:
    ledger = ledger_with("a")
    before = take(ledger, "a")
    ledger.ended("stop", operation(Action.STOP, OperationState.SUCCEEDED), 0.0)
    after = take(ledger, "a")
    assert not ledger.had_ended("op1", before)
    assert ledger.had_ended("op1", after)
    assert not ledger.had_ended("op2", after)


def test_the_same_violation_is_told_once() -> None:
    ledger = ledger_with("a")
    twice = Violation(what="it runs more than once", subject="instance a", evidence="1")
    assert len(ledger.violated([twice])) == 1
    assert ledger.violated([Violation(what=twice.what, subject=twice.subject, evidence="2")]) == []
    assert [it.evidence for it in ledger.violations()] == ["1"]


def test_names_never_repeat() -> None:
    ledger = ledger_with("a")
    assert len({ledger.name() for _ in range(50)}) == 50
