"""A seed replays exactly, also in another process, and what it found is made small."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from drover.states import Action
from tests.simulation.draw import draw
from tests.simulation.plan import Fate, Fault, Kind, Mishap, Plan, Request, Spell
from tests.simulation.shrink import minimal, shrink
from tests.simulation.store import Store
from tests.simulation.trial import pinned, run

#: has frozen processes, a machine that stands still, lost messages and transactions, kills
SEED = 51

_DIGEST = """
from tests.simulation.draw import draw
from tests.simulation.store import Store
from tests.simulation.trial import run
print(run(draw({seed}), Store()).digest)
"""


def test_a_seed_replays_exactly(store: Store) -> None:
    first, second = run(draw(SEED), store), run(draw(SEED), store)
    assert first.digest == second.digest
    assert first == second
    assert run(draw(SEED + 1), store).digest != first.digest


def test_a_seed_replays_in_another_process_with_other_hashes(store: Store) -> None:
    here = run(draw(SEED), store).digest
    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", _DIGEST.format(seed=SEED)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.split()[-1] == here


def test_a_plan_is_python_that_makes_it_again() -> None:
    plan = replace(draw(SEED), mishaps=(Mishap(channel="h1>conductor sync", nth=3, fate=Fate.DELAY, seconds=2.5),))
    names = {"Action": Action, "Fate": Fate, "Kind": Kind}
    classes = {cls.__name__: cls for cls in (Fault, Mishap, Plan, Request, Spell)}
    assert eval(repr(plan), {**names, **classes}) == plan


def test_mishaps_of_a_spell_can_be_pinned(store: Store) -> None:
    """The same messages meet the same fate when the plan names them one by one."""
    plan = replace(draw(SEED), faults=(), spells=(Spell(at_s=0.0, for_s=60.0, drop=0.1, delay=0.1, longest_s=3.0),))
    outcome = run(plan, store)
    assert len(outcome.met) > 10
    assert run(pinned(plan, outcome.met), store).digest == outcome.digest


@pytest.mark.parametrize("culprits", [{3}, {3, 17}, {0, 19}, set(range(20)), set()])
def test_minimal_finds_what_it_takes(culprits: set[int]) -> None:
    assert minimal(range(20), lambda rest: culprits <= set(rest)) == sorted(culprits)


def test_shrinking_keeps_what_breaks_the_promise_and_nothing_else() -> None:
    """With a fleet that breaks when a host crashes after a delete was asked for."""

    def failure(plan: Plan) -> str:
        crash = next((f for f in plan.faults if f.kind is Kind.CRASH), None)
        deletes = [r for r in plan.requests if r.action is Action.DELETE]
        return "promise 4: broken" if crash and deletes else ""

    requests = tuple(
        Request(at_s=float(n), name=f"vm{n}", action=(Action.BUILD, Action.DELETE)[n % 2]) for n in range(9)
    )
    faults = tuple(
        Fault(at_s=float(n), kind=kind, target="h2") for n, kind in enumerate((Kind.KILL, Kind.CRASH, Kind.CUT))
    )
    smallest = shrink(Plan(seed=1, hosts=5, requests=requests, faults=faults), failure)
    assert smallest == Plan(
        seed=1, hosts=2, conductors=1, schedulers=1, requests=smallest.requests, faults=(faults[1],)
    )
    assert [r.action for r in smallest.requests] == [Action.DELETE]
