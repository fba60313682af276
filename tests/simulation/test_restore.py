"""An old copy of the database in its place: what holds then, precisely."""

from __future__ import annotations

from drover.states import Action
from tests.simulation.plan import Fault, Kind, Plan, Request
from tests.simulation.store import Store
from tests.simulation.trial import Outcome, run

#: copied at 20 s, put back at 50 s
RESTORE = Fault(at_s=20.0, kind=Kind.RESTORE, for_s=30.0)


def _after(store: Store, *requests: Request) -> Outcome:
    outcome = run(Plan(seed=3, requests=requests, faults=(RESTORE,)), store)
    assert not outcome.failure, outcome.failure
    return outcome


def test_what_was_built_after_the_copy_runs_on_as_an_orphan(store: Store) -> None:
    outcome = _after(
        store,
        Request(at_s=1.0, name="known", action=Action.BUILD),
        Request(at_s=30.0, name="unknown", action=Action.BUILD),
    )
    known = store.rows("SELECT uuid FROM instance")
    assert len(known) == 1
    unknown = [(host, uuid) for host, uuid, _ in outcome.guests if (uuid,) not in known]
    assert store.rows("SELECT host, instance_uuid FROM orphan") == unknown
    assert [state for _, _, state in outcome.guests] == ["running", "running"]


def test_what_was_deleted_after_the_copy_is_not_made_again(store: Store) -> None:
    outcome = _after(
        store,
        Request(at_s=1.0, name="vm", action=Action.BUILD),
        Request(at_s=30.0, name="vm", action=Action.DELETE),
    )
    assert outcome.guests == ()
    assert store.rows("SELECT vm_state FROM instance") == [("active",)], "nobody has told it yet"


def test_what_was_being_built_is_not_built_a_second_time(store: Store) -> None:
    outcome = _after(store, Request(at_s=19.9, name="vm", action=Action.BUILD))
    assert store.rows("SELECT state, attempt FROM operation") == [("failed", 1)]
    assert "OutcomeUnknown" in store.rows("SELECT error FROM operation")[0][0]
    assert store.rows("SELECT vm_state FROM instance") == [("error",)]
    assert [state for _, _, state in outcome.guests] == ["running"]


def test_what_was_being_built_on_a_host_that_is_cut_off_now_is_not_built_elsewhere(store: Store) -> None:
    """Unsettled, the copy would have it placed again, and moved on from the host that runs it and cannot say so."""
    build = Request(at_s=19.9, name="vm", action=Action.BUILD)
    cuts = [Fault(at_s=45.0, kind=Kind.CUT, target=name, for_s=120.0) for name in ("h1", "h2")]
    for cut in cuts:
        outcome = run(Plan(seed=1, hosts=2, requests=(build,), faults=(RESTORE, cut)), store)
        assert not outcome.failure, outcome.failure
        assert [state for _, _, state in outcome.guests] == ["running"]


def test_what_is_asked_for_afterwards_works_as_ever(store: Store) -> None:
    outcome = _after(
        store,
        Request(at_s=1.0, name="vm", action=Action.BUILD),
        Request(at_s=60.0, name="vm", action=Action.REBOOT),
        Request(at_s=70.0, name="new", action=Action.BUILD),
        Request(at_s=90.0, name="vm", action=Action.DELETE),
    )
    assert {answer for _, answer in outcome.answers} == {"accepted"}
    assert len(outcome.guests) == 1


def test_what_was_shelved_in_the_copy_and_runs_is_not_unshelved_again(store: Store) -> None:
    outcome = _after(
        store,
        Request(at_s=1.0, name="vm", action=Action.BUILD),
        Request(at_s=8.0, name="vm", action=Action.SHELVE),
        Request(at_s=25.0, name="vm", action=Action.UNSHELVE),
        Request(at_s=52.0, name="vm", action=Action.UNSHELVE, wait=False),
        Request(at_s=120.0, name="vm", action=Action.UNSHELVE, wait=False),
    )
    assert [answer for _, answer in outcome.answers[3:]] == ["InstanceElsewhere", "InstanceElsewhere"]
    assert [state for _, _, state in outcome.guests] == ["running"]


def test_a_copy_that_nobody_settled_is_noticed_by_the_first_agent_that_knows_more(store: Store) -> None:
    """The trial comes to its end only if the alarm is raised."""
    again = Fault(at_s=25.0, kind=Kind.KILL, target="h1", for_s=1.0)  # a session that the copy does not know
    raw = Fault(at_s=20.0, kind=Kind.UNSETTLED, for_s=30.0)
    outcome = run(
        Plan(seed=3, requests=(Request(at_s=1.0, name="vm", action=Action.BUILD),), faults=(again, raw)), store
    )
    assert not outcome.failure, outcome.failure
    assert [state for _, _, state in outcome.guests] == ["running"]
