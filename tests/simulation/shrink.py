"""``python -m tests.simulation.shrink SEED``: the smallest plan that still breaks a promise.

Delta debugging: requests, faults and single mishaps of messages are left out, in halves and then one by one, as long
as the trial still fails in the same way.  What is printed is Python for tests/simulation/test_regression.py.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tests.simulation.draw import draw
from tests.simulation.plan import Plan
from tests.simulation.store import Store
from tests.simulation.trial import pinned, run

__all__ = ["minimal", "shrink"]

T = TypeVar("T")

#: of a failure's words, what must stay the same: the promise, not its numbers
_SAME = 12


def minimal(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of *items* that still fails, and from which no single item can be left out (Zeller's ddmin)."""
    kept, pieces = list(items), 2
    while kept:
        size = max(1, len(kept) // pieces)
        for first in range(0, len(kept), size):
            rest = kept[:first] + kept[first + size :]
            if fails(rest):
                kept, pieces = rest, max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(kept), pieces * 2)
    return kept


def shrink(plan: Plan, failure: Callable[[Plan], str], say: Callable[[str], None] = lambda line: None) -> Plan:
    """The smallest plan that fails as *plan* does, which must fail.

    :param failure: runs a plan; "" when nothing is broken.
    """
    kind = failure(plan)[:_SAME]

    def fails(candidate: Plan) -> bool:
        return failure(candidate)[:_SAME] == kind

    before: Plan | None = None
    while plan != before:
        before = plan
        for part in ("mishaps", "faults", "spells", "requests"):
            plan = _smaller(plan, part, fails)
            say(f"{part}: {len(getattr(plan, part))} left")
        plan = _fewer_machines(plan, fails)
    return plan


def _smaller(plan: Plan, part: str, fails: Callable[[Plan], bool]) -> Plan:
    def with_only(items: Sequence[object]) -> Plan:
        changed: dict[str, Any] = {part: tuple(items)}
        return replace(plan, **changed)

    items: tuple[object, ...] = getattr(plan, part)
    return with_only(minimal(items, lambda rest: fails(with_only(rest))))


def _fewer_machines(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    for part in ("hosts", "conductors", "schedulers"):
        while getattr(plan, part) > 1:
            changed: dict[str, Any] = {part: getattr(plan, part) - 1}
            fewer = replace(plan, **changed)
            if not _names_all(fewer) or not fails(fewer):
                break
            plan = fewer
    return plan


def _names_all(plan: Plan) -> bool:
    """Whether every target is still there."""
    counts = {"h": plan.hosts, "c": plan.conductors, "s": plan.schedulers}
    return all(int(f.target[1:]) <= counts[f.target[0]] for f in plan.faults if f.target)


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.simulation.shrink", description=__doc__)
    parser.add_argument("seed", type=int)
    seed = parser.parse_args(arguments).seed
    logging.disable(logging.CRITICAL)
    store = Store()
    outcome = run(draw(seed), store)
    if not outcome.failure:
        print(f"seed {seed} breaks nothing")
        return 1
    print(outcome.failure, file=sys.stderr)
    plan = pinned(draw(seed), outcome.met)
    if not run(plan, store).failure:
        plan = draw(seed)  # a spell's mishaps alone do not do it

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    smallest = shrink(plan, lambda candidate: run(candidate, store).failure, say)
    print(f"# {run(smallest, store).failure}\n{smallest}")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
