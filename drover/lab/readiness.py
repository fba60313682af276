"""When a lab is up: its conductor answers and every host has registered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from drover import errors
from drover.lab.layout import Layout
from drover.lab.part import Parts, log_end, wait_until
from drover.objects.host import Host
from drover.runtime import Runtime

if TYPE_CHECKING:
    from drover.lab.service import Services
    from drover.rpc.conductor import ConductorAPI

__all__ = ["Goal", "ended", "missing", "wait"]

#: seconds that one question may take while its answerer is still starting
_ASK_S = 2.0
#: seconds between two questions
_PAUSE_S = 0.25
#: looks in a row that find nothing of a server, before it counts as ended
_MISSED = 3
#: seconds after which a part that was started can be seen, or has ended before anybody saw it
_APPEAR_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A conductor answers, and *hosts* are up; of *fresh* ones, whose agents were started after *since*, only
    syncs after it count. None of *parts* may end on the way.
    """

    parts: tuple[str, ...]
    since: datetime
    hosts: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()


def missing(goal: Goal, hosts: Collection[Host]) -> list[str]:
    """Names of the goal's hosts that are not up."""
    ready = {
        host.name
        for host in hosts
        if host.up
        and (host.name not in goal.fresh or (host.last_sync_at is not None and host.last_sync_at >= goal.since))
    }
    return [name for name in goal.hosts if name not in ready]


def ended(pids: Callable[[], Mapping[str, int]], log: Callable[[str], Path]) -> Callable[[], str]:
    """Asks for a broker or database that has ended, with its last words; "": both run.

    :param pids: by name; 0 of one that is not seen. :param log: of a name.

    One look that finds nothing is none: a process in the middle of a fork or exec shows no mark.
    """
    missed: Counter[str] = Counter()

    def ask() -> str:
        for name, pid in pids().items():
            missed[name] = 0 if pid else missed[name] + 1
            if missed[name] == _MISSED:
                return f"{name} ended: {log_end(log(name))}"
        return ""

    return ask


def wait(runtime: Runtime, layout: Layout, parts: Parts, services: Services, goal: Goal) -> None:
    """Wait until nothing is missing.

    :raises errors.LabFailed: a part, the broker or the database died on the way, or it takes too long.
    """
    from drover.conf import load
    from drover.conf.bus import BusSettings
    from drover.rpc import conductor as conductor_rpc
    from drover.rpc.connect import connect
    from drover.rpc.contract import client

    bus = connect(runtime, load([str(layout.client_config)]).get(BusSettings), "lab")
    seen: set[str] = set()
    began_s = runtime.clock.monotonic()
    server_ended = ended(services.server_pids, services.server_log)

    def complete() -> bool:
        if words := server_ended():
            raise errors.LabFailed(reason=words)
        running = parts.running().keys() & set(goal.parts)
        late = runtime.clock.monotonic() - began_s > _APPEAR_S
        known = set(goal.parts) if late else seen
        if died := sorted(known - running):
            raise errors.LabFailed(reason=f"{died[0]} ended: {log_end(layout.log(died[0]))}")
        seen.update(running)
        return _answers(runtime, client(conductor_rpc.CONTRACT, bus, timeout_s=_ASK_S), goal)

    try:
        wait_until(runtime, complete, "every host to register", layout.log("conductor"), look_s=_PAUSE_S)
    finally:
        bus.close()


def _answers(runtime: Runtime, api: ConductorAPI, goal: Goal) -> bool:
    from drover.rpc.context import RequestContext

    try:
        return not missing(goal, api.host_list(RequestContext(request_id=f"req-{runtime.uuid()}")))
    except errors.Unavailable:
        return False
