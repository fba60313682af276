"""What once failed, each as the smallest plan that shows it."""

from __future__ import annotations

from drover.states import Action
from tests.simulation.plan import Fate, Fault, Kind, Mishap, Plan, Request
from tests.simulation.store import Store
from tests.simulation.trial import Outcome, run


def _holds(plan: Plan, store: Store) -> Outcome:
    outcome = run(plan, store)
    assert not outcome.failure, outcome.failure
    return outcome


def test_a_register_delivered_twice_ends_no_session(store: Store) -> None:
    """The second delivery opened a session of its own, and the living agent ended with StaleSession."""
    twice = tuple(Mishap(channel=f"h{n}>conductor register", nth=1, fate=Fate.DUPLICATE) for n in range(1, 9))
    outcome = _holds(Plan(seed=1, hosts=8, mishaps=twice), store)
    assert outcome.ended == ()


def test_a_late_register_of_a_dead_agent_ends_no_session(store: Store) -> None:
    """It arrived when the next agent was at work, and took its session away."""
    late = Mishap(channel="h1>conductor register", nth=1, fate=Fate.DELAY, seconds=8.0)
    dies = Fault(at_s=1.0, kind=Kind.KILL, target="h1", for_s=1.0)
    outcome = _holds(Plan(seed=1, hosts=1, mishaps=(late,), faults=(dies,)), store)
    assert outcome.ended == ()


def test_a_broker_outage_is_no_silence_of_hosts(store: Store) -> None:
    """Hosts fell silent one by one, under the brake's threshold, before the conductor missed its own echo: builds
    were taken away from hosts that were at work on them. And after it, while hosts waited for calls to run out."""
    builds = tuple(Request(at_s=9.0 + n / 10, name=f"vm{n}", action=Action.BUILD) for n in range(12))
    outage = Fault(at_s=10.0, kind=Kind.BROKER, for_s=30.0)
    for seed in (1, 4, 8, 13):
        _holds(Plan(seed=seed, hosts=6, sync_interval_s=1.0, requests=builds, faults=(outage,)), store)
        assert store.rows("SELECT id, attempt FROM operation WHERE attempt > 1") == []


def test_a_database_outage_is_no_silence_of_hosts(store: Store) -> None:
    """No sync can be written meanwhile: when the database was back, every host had been silent for too long."""
    builds = tuple(Request(at_s=70.0 + n, name=f"vm{n}", action=Action.BUILD) for n in range(8))
    outage = Fault(at_s=13.0, kind=Kind.DATABASE, for_s=58.9)
    for seed in range(1, 9):
        _holds(Plan(seed=seed, hosts=2, requests=builds, faults=(outage,)), store)
        assert store.rows("SELECT id FROM operation WHERE attempt > 1 OR state <> 'succeeded'") == []


def test_a_machine_that_stood_still_is_heard_again(store: Store) -> None:
    """The age of its calls was counted by its own clock, so that each of them arrived too old to be answered."""
    build = Request(at_s=1.0, name="vm", action=Action.BUILD)
    delete = Request(at_s=60.0, name="vm", action=Action.DELETE)
    still = Fault(at_s=10.0, kind=Kind.STALL, target="h1", for_s=30.0)
    _holds(Plan(seed=1, hosts=1, requests=(build, delete), faults=(still,)), store)


def test_a_copy_of_a_host_does_not_take_its_place(store: Store) -> None:
    """A cloned machine says what the host says after a boot: it got the session, and was told to start the guests
    that should run there, which still ran on the host."""
    builds = tuple(Request(at_s=1.0, name=f"vm{n}", action=Action.BUILD) for n in range(2))
    copy = Fault(at_s=20.0, kind=Kind.CLONE, target="h1", for_s=60.0)
    outcome = _holds(Plan(seed=1, hosts=1, requests=builds, faults=(copy,)), store)
    assert outcome.ended == ()
    assert [state for _, _, state in outcome.guests] == ["running", "running"]


def test_a_copy_of_a_host_does_not_take_its_place_in_an_outage_of_the_broker(store: Store) -> None:
    """The outage counted as silence of the host, so that the copy, which asked before and after it, was let in first."""
    builds = tuple(Request(at_s=1.0, name=f"vm{n}", action=Action.BUILD) for n in range(2))
    for seed in range(1, 9):
        copy = Fault(at_s=9.0, kind=Kind.CLONE, target="h1", for_s=90.0)
        outage = Fault(at_s=17.5, kind=Kind.BROKER, for_s=30.0)
        outcome = _holds(Plan(seed=seed, hosts=1, requests=builds, faults=(copy, outage)), store)
        assert outcome.ended == ()


def test_agents_with_copies_of_a_state_directory_never_share_a_session(store: Store) -> None:
    """Both came to the same incarnation number, so the second was taken for a repeat of the first: two machines
    worked under one session, and each was given what the other one had begun."""
    builds = tuple(Request(at_s=float(at_s), name=f"vm{at_s}", action=Action.BUILD) for at_s in range(2, 40, 4))
    copy = Fault(at_s=10.0, kind=Kind.TWIN, target="h1", for_s=40.0)
    outcome = _holds(Plan(seed=1, hosts=1, requests=builds, faults=(copy,)), store)
    assert {who for who, _, _ in (end.partition(":") for end in outcome.ended)} == {"h1", "h1+"}


def test_a_clock_that_jumps_hides_no_orphan(store: Store) -> None:
    """One conductor noted the orphan, and the other, ten minutes ahead, held it for long gone."""
    requests = (
        Request(at_s=20.601, name="vm4", action=Action.BUILD, flavor="pinned"),
        Request(at_s=21.633, name="vm4", action=Action.RESCUE),
        Request(at_s=40.29, name="vm4", action=Action.UNRESCUE, wait=False),
    )
    faults = (
        Fault(at_s=2.312, kind=Kind.FREEZE, target="c2", for_s=2.936),
        Fault(at_s=6.753, kind=Kind.RESTORE, for_s=43.083),
        Fault(at_s=48.25, kind=Kind.SKEW, target="c2", amount=600.0),
    )
    _holds(Plan(seed=270, schedulers=1, reclaim_s=120.0, requests=requests, faults=faults), store)
