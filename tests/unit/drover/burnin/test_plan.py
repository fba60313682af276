"""The choice of the next move: only what the states table allows, everything that it allows, and the same by the same chance."""

from __future__ import annotations

import random
from collections import Counter

from drover.burnin.plan import WEIGHTS, Change, Move, Seen, choose, legal, pick
from drover.states import VERBS, Action, VmState, allowed


def seen(uuid: str, vm_state: VmState = VmState.ACTIVE, **given: bool) -> Seen:
    return Seen(uuid=uuid, name=f"n{uuid}", vm_state=vm_state, **given)


def moves(instances: list[Seen], count: int = 3000, *, wanted: int = 0, dropped: tuple[Action, ...] = ()) -> list[Move]:
    chance = random.Random(1)
    found = (choose(chance, instances, 0, wanted, dropped) for _ in range(count))
    return [move for move in found if move is not None]


def test_every_verb_that_a_user_may_ask_for_is_played() -> None:
    assert set(WEIGHTS) | {Action.BUILD, Action.SOFT_DELETE} == set(VERBS) | set(Change)


def test_only_legal_verbs_are_chosen_on_an_instance_that_nobody_is_at() -> None:
    for state in set(VmState) - {VmState.DELETED}:
        for move in moves([seen("a", state)], 300):
            assert isinstance(move.verb, Change) or allowed(move.verb, state)


def test_each_legal_verb_comes() -> None:
    for state in (VmState.ACTIVE, VmState.STOPPED, VmState.ERROR, VmState.SHELVED_OFFLOADED):
        assert {move.verb for move in moves([seen("a", state)])} == set(legal(seen("a", state)))


def test_a_soft_reboot_is_only_asked_of_a_guest_that_runs() -> None:
    stopped = {move.params.get("type") for move in moves([seen("a", VmState.STOPPED)]) if move.verb is Action.REBOOT}
    active = {move.params.get("type") for move in moves([seen("a")]) if move.verb is Action.REBOOT}
    assert (stopped, active) == ({"hard"}, {"hard", "soft"})


def test_a_locked_instance_is_mostly_unlocked_and_sometimes_asked_what_it_refuses() -> None:
    counts = Counter(move.verb is Change.UNLOCK for move in moves([seen("a", locked=True)]))
    assert counts[True] > counts[False] > 0


def test_missing_instances_are_built_and_not_more_than_are_missing() -> None:
    assert all(move.verb is Action.BUILD and move.count <= 2 for move in moves([], 100, wanted=2))
    assert choose(random.Random(1), [], 2, 2) is None


def test_an_instance_that_somebody_is_at_is_left_to_them_but_for_a_few_races() -> None:
    verbs = Counter(move.verb for move in moves([seen("a", busy=True), seen("b", VmState.STOPPED)]) if move.target)
    races = [move for move in moves([seen("a", busy=True), seen("b")]) if move.target and move.target.uuid == "a"]
    assert verbs[Action.DELETE] > 0
    assert 0.05 < len(races) / 3000 < 0.15
    assert Action.DELETE in {move.verb for move in races}


def test_verbs_that_the_fleet_does_not_know_are_not_chosen() -> None:
    assert Action.SHELVE not in {move.verb for move in moves([seen("a")], dropped=(Action.SHELVE,))}


def test_the_same_chance_chooses_the_same() -> None:
    assert moves([seen("a"), seen("b", VmState.PAUSED)]) == moves([seen("a"), seen("b", VmState.PAUSED)])


def test_weights_count() -> None:
    chance = random.Random(1)
    counts = Counter(pick(chance, ["rare", "often", "never"], [1, 9, 0]) for _ in range(1000))
    assert 50 < counts["rare"] < 200
    assert counts["never"] == 0
