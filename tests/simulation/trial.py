"""Run a plan to its end, and say what was broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from drover.states import Action
from tests.simulation.admin import prepare
from tests.simulation.fates import strike
from tests.simulation.kernel import Stuck
from tests.simulation.plan import Mishap, Plan
from tests.simulation.promises import at_rest, under_way
from tests.simulation.store import Store
from tests.simulation.users import Users
from tests.simulation.world import World

__all__ = ["Outcome", "pinned", "run"]

#: after the last fault everything must have ended within so many seconds
CALM_S = 1500.0
#: and what is left behind is cleaned up, looked at and told within this; what no record names is looked at twice
_REST_S, _LONG_REST_S = 40.0, 100.0
#: the end is looked for at every so many switches
_LOOK_EVERY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``failure``: which promise was broken and how, "" when all held."""

    failure: str
    digest: str
    switches: int
    seconds: float
    answers: tuple[tuple[Action, str], ...]
    ended: tuple[str, ...]
    met: tuple[Mishap, ...]
    guests: tuple[tuple[str, str, str], ...]  # (machine, instance, power state)
    events: tuple[str, ...]


def run(plan: Plan, store: Store) -> Outcome:
    """One trial. The same plan gives the same outcome."""
    world = World(plan, store)
    users = Users(world)
    try:
        failure = _play(world, users)
        kernel = world.kernel
        return Outcome(
            failure=failure,
            digest=kernel.digest(),
            switches=kernel.switches,
            seconds=kernel.now_s,
            answers=tuple(users.answers),
            ended=tuple(f"{name}: {type(exc).__name__}" for name, exc in world.ended),
            met=tuple(world.weather.met),
            guests=tuple((machine.name, g.uuid, g.power_state.value) for machine, g in world.guests()),
            events=tuple(kernel.events),
        )
    finally:
        world.close()


def _play(world: World, users: Users) -> str:
    kernel = world.kernel
    try:
        prepare(world)
        world.start_all()
        users.begin(world.plan.requests)
        for fault in world.plan.faults:
            strike(world, fault)
        kernel.run_for(world.plan.ends_s())
        kernel.run_until(lambda: users.active == 0, CALM_S, "users are answered")
        kernel.run_until(lambda: kernel.switches % _LOOK_EVERY == 0 and not under_way(world), CALM_S, "all ends")
        kernel.run_for(_LONG_REST_S if world.watch.amnesia else _REST_S)
        at_rest(world, users.answers)
    except Stuck as exc:
        return f"promise 3: {exc}: {under_way(world)}"
    except AssertionError as exc:
        return str(exc) or repr(exc)
    return "\n".join(words for words, _ in kernel.failures)


def pinned(plan: Plan, met: Sequence[Mishap]) -> Plan:
    """*plan* with what its spells came to instead of the spells."""
    return replace(plan, spells=(), mishaps=(*plan.mishaps, *met))
