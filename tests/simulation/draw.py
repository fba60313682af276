"""A plan drawn by a seed: a fleet, what users ask, and a handful of kinds of trouble.

Each seed leaves most kinds out: few kinds, often, go deeper than all kinds, rarely.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from agent.operations import STEPS
from drover.states import VERBS, Action, VmState
from tests.simulation.admin import GROUPS
from tests.simulation.plan import Fault, Kind, Plan, Request, Spell

__all__ = ["draw", "verbs"]

#: verbs of the table that nobody asks for by their name
_NAMELESS = frozenset({Action.BUILD, Action.SOFT_DELETE})
#: seconds that deleted instances can be restored; 0: a delete is final
_RECLAIM_S = (0.0, 0.0, 30.0, 120.0)

_FLAVORS = ("small", "small", "small", "pinned")
_GROUPS = ("", "", "", "", *GROUPS)

_PARAMS = {
    Action.REBOOT: ("type", ("soft", "hard")),
    Action.SNAPSHOT: ("name", ("snap-1", "snap-2")),
    Action.DELETE: ("force", ("false", "false", "true")),
}

#: seconds that each kind lasts: one of these, give or take a half; 0 for what has no length
_LENGTHS: dict[Kind, tuple[float, ...]] = {
    Kind.KILL: (0.5, 4.0, 30.0),
    Kind.STOP: (0.5, 4.0, 30.0),
    Kind.FREEZE: (4.0, 30.0, 200.0),
    Kind.STALL: (4.0, 30.0, 200.0),
    Kind.CUT: (4.0, 30.0, 120.0),
    Kind.BROKER: (4.0, 30.0, 60.0),
    Kind.DATABASE: (4.0, 30.0, 60.0),
    Kind.HYPERVISOR: (4.0, 30.0, 60.0),
    Kind.CRASH: (4.0, 30.0, 120.0),
    Kind.GUEST: (0.0,),
    Kind.SKEW: (0.0,),
    Kind.WIPE: (10.0, 30.0),
    Kind.CLONE: (30.0, 90.0),
    Kind.TWIN: (30.0, 90.0),
    Kind.RESTORE: (10.0, 40.0),
}
_OF_HOSTS = frozenset({Kind.HYPERVISOR, Kind.CRASH, Kind.GUEST, Kind.WIPE, Kind.CLONE, Kind.TWIN})
_OF_FLEET = frozenset({Kind.BROKER, Kind.RESTORE})
#: at most one of these in a plan
_RARE = (Kind.WIPE, Kind.CLONE, Kind.TWIN, Kind.RESTORE)
#: a copy of a host is told from the host by that one's words alone: nothing silences a host that has a copy
_SILENCES = frozenset({Kind.KILL, Kind.STOP, Kind.FREEZE, Kind.STALL, Kind.CUT, Kind.CRASH})
_OFTEN = tuple(kind for kind in _LENGTHS if kind not in _RARE)
_CHANCES = ("drop", "duplicate", "delay", "kill", "refuse", "busy", "lose")


def verbs() -> list[Action]:
    """What users may ask for, besides a build: every verb of the table that the agent has steps for."""
    return [action for action in VERBS if action in STEPS and action not in _NAMELESS]


def draw(seed: int) -> Plan:
    """The plan of *seed*; every 50th has 20 hosts."""
    random = Random(f"plan {seed}")
    hosts = 20 if seed % 50 == 0 else random.choice((2, 2, 3, 3, 3, 5))
    storm_s = random.uniform(25.0, 60.0)
    masters = [f"c{n}" for n in (1, 2)] + [f"s{n}" for n in (1, 2)]
    reclaim_s = random.choice(_RECLAIM_S)
    gone = VmState.SOFT_DELETED if reclaim_s else VmState.DELETED
    requests = [r for n in range(hosts + random.randrange(1, 4)) for r in _life(random, f"vm{n}", storm_s, gone)]
    faults = _faults(random, hosts, masters, storm_s)
    plan = Plan(seed=seed, hosts=hosts, reclaim_s=reclaim_s, requests=tuple(requests), faults=tuple(faults))
    return plan if plan.has(Kind.CLONE) else replace(plan, spells=tuple(_spells(random, storm_s)))


def _life(random: Random, name: str, storm_s: float, gone: VmState) -> list[Request]:
    """One instance: built, used, and mostly deleted, which makes it *gone*."""
    at_s = random.uniform(0.0, storm_s * 0.6)
    count = random.choice((1, 1, 1, 1, 3))
    flavor, group = random.choice(_FLAVORS), random.choice(_GROUPS)
    requests = [Request(at_s=round(at_s, 3), name=name, action=Action.BUILD, count=count, flavor=flavor, group=group)]
    state = VmState.ACTIVE
    for _ in range(random.randrange(5) if count == 1 else 0):
        at_s += random.expovariate(1 / 12.0)
        action = _verb(random, state)
        params = tuple((key, random.choice(values)) for key, values in [_PARAMS[action]]) if action in _PARAMS else ()
        wait = random.random() < 0.7
        requests.append(Request(at_s=round(at_s, 3), name=name, action=action, params=params, wait=wait))
        state = gone if action is Action.DELETE else VERBS[action].end or state
    return requests


def _verb(random: Random, state: VmState) -> Action:
    """Mostly one that is legal by now."""
    known = verbs()
    legal = [action for action in known if state in VERBS[action].legal and action is not Action.DELETE]
    luck = random.random()
    if luck < 0.25:
        return Action.DELETE
    return random.choice(legal if legal and luck < 0.9 else known)


def _faults(random: Random, hosts: int, masters: list[str], storm_s: float) -> list[Fault]:
    kinds = random.sample(_OFTEN, random.randrange(0, 5))
    faults = [
        _fault(random, random.choice(kinds), hosts, masters, storm_s)
        for _ in range(random.randrange(1, 10) if kinds else 0)
    ]
    if random.random() < 0.25:
        rare = _fault(random, random.choice(_RARE), hosts, masters, storm_s)
        copied = rare.target if rare.kind is Kind.CLONE else ""
        faults = [fault for fault in faults if not (copied == fault.target and fault.kind in _SILENCES)]
        faults.append(rare)
    return sorted(faults, key=lambda fault: fault.at_s)


def _fault(random: Random, kind: Kind, hosts: int, masters: list[str], storm_s: float) -> Fault:
    at_hosts = [f"h{n + 1}" for n in range(hosts)]
    if kind in _OF_FLEET:
        target = ""
    elif kind is Kind.DATABASE:
        target = random.choice(("", *masters))
    else:
        target = random.choice(at_hosts if kind in _OF_HOSTS else random.choice((at_hosts, masters)))
    return Fault(
        at_s=round(random.uniform(1.0, storm_s), 3),
        kind=kind,
        target=target,
        for_s=round(random.choice(_LENGTHS[kind]) * random.uniform(0.5, 1.5), 3),
        amount=round(random.choice((-300.0, -20.0, 5.0, 60.0, 600.0)), 3) if kind is Kind.SKEW else 0.0,
    )


def _spells(random: Random, storm_s: float) -> list[Spell]:
    spells = []
    for _ in range(random.choice((0, 1, 1, 2))):
        chosen = random.sample(_CHANCES, random.randrange(1, 4))
        chances = {name: round(random.choice((0.01, 0.04, 0.12)), 3) for name in chosen}
        if "kill" in chances:
            chances["kill"] = min(chances["kill"], 0.02)
        spells.append(
            Spell(
                at_s=round(random.uniform(0.0, storm_s / 2), 3),
                for_s=round(random.uniform(10.0, storm_s / 2), 3),
                longest_s=random.choice((0.1, 3.0, 40.0)),
                **chances,
            )
        )
    return spells
