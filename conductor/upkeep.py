"""What is done for instances without anybody's request: restarts, the end of soft-deletes, another look for room.

Two conductors doing this at once are harmless: rows that one holds the other skips, and an instance has one
unfinished operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection

from conductor import effect
from conductor.alarm import AlarmKind, raise_alarm
from conductor.begin import begin
from conductor.breaker import Breaker
from conductor.core import Core
from conductor.effect import Applied, Effect
from conductor.plan.restart import plan_restart
from conductor.plan.room import plan_limit
from conductor.plan.verb import New, plan_verb
from conductor.points import Commit
from drover import errors, log, retry
from drover.db import due, instance, operation, placement
from drover.objects.instance import Instance
from drover.objects.operation import Operation
from drover.objects.sync import Order
from drover.rpc.context import RequestContext
from drover.states import Action, OperationState

__all__ = ["SYSTEM_USER", "Upkeep"]

LOG = log.get(__name__)

#: instances looked at in one transaction; the next round does the rest
BATCH = 200
#: the user of operations that nobody asked for
SYSTEM_USER = "drover"


class Upkeep:
    """One round at a time, called by the reaper."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._breaker = Breaker(core)
        self._looked_s = -math.inf  # monotonic: when everything that waits for room was last looked at

    def round(self) -> None:
        """:raises errors.Unavailable: the database is not there; the next round does it."""
        self._pass(self._restart)
        if self._core.times.reclaim_instance_interval_s > 0:
            self._pass(self._reclaim)
        self._breaker.round()
        self._look_for_room()

    def _look_for_room(self) -> None:
        """Those that wait for room go to the scheduler again, oldest first, when there may be some.

        This conductor knows of some, or it is a lease ago that it looked without knowing: what another conductor knew
        and died with, and what nobody tells (a host's load), is found then.
        """
        core = self._core
        noted, now_s = core.room.take(), core.runtime.clock.monotonic()
        with core.database.read() as conn:
            waiting = due.for_room(conn)
        now = core.runtime.clock.now()
        over = {id_ for id_, until in waiting.items() if until is not None and until <= now}
        if over:
            core.after(retry.while_busy(core.runtime, lambda: self._give_up(over)))
        if waiting and (noted or now_s - self._looked_s >= core.times.owner_lease_s):
            self._looked_s = now_s
            core.nudge_scheduler([id_ for id_ in waiting if id_ not in over])

    def _give_up(self, operation_ids: Iterable[str]) -> Applied:
        """End those of them that still wait and have waited for as long as they may."""
        core = self._core
        with core.transaction(Commit.UPKEEP) as conn:
            held = operation.find(conn, operation_ids, lock=True)
            instances = instance.find(conn, (op.instance_uuid for op in held.values()))
            owner = core.owner()
            effects: list[Effect] = []
            for op in held.values():
                if op.waits:
                    effects += plan_limit(op, instances[op.instance_uuid].hints, op.waits, owner.now)
            return effect.apply(conn, effects, owner)

    def _pass(self, work: Callable[[Connection], tuple[Applied, list[Operation]]]) -> None:
        core = self._core

        def write() -> tuple[Applied, list[Operation], list[Order]]:
            with core.transaction(Commit.UPKEEP) as conn:
                applied, operations = work(conn)
                ready = [op for op in operations if op.state is OperationState.DISPATCHED]
                return applied, ready, core.orders.hand_out(conn, ready)

        try:
            applied, ready, orders = retry.while_busy(core.runtime, write)
        except errors.StoreConflict as exc:
            LOG.info("somebody's verb came first, the next round looks again", error=exc)
            return
        core.after(applied)
        core.send(ready, orders)

    def _restart(self, conn: Connection) -> tuple[Applied, list[Operation]]:
        """Guests that ended by themselves, or with their host."""
        core = self._core
        new: list[New] = []
        applied = Applied()
        for target in due.to_restart(conn, BATCH):
            decided = plan_restart(target, core.runtime.clock.now(), limit=core.settings.restart_limit)
            if decided.start:
                new.append(New(core.new_operation(self._context(target), target, Action.START), decided.effects))
            elif decided.effects:
                LOG.warning("restarts exhausted", instance=target.uuid, restarts=target.restarts)
                applied.add(effect.apply(conn, decided.effects, core.owner()))
                words = f"it ended by itself {target.restarts} times in a row"
                applied.events += raise_alarm(
                    conn, AlarmKind.RESTARTS_EXHAUSTED, target.uuid, words, core.runtime.clock.now()
                )
        return self._begin(conn, new, applied)

    def _reclaim(self, conn: Connection) -> tuple[Applied, list[Operation]]:
        """Soft-deleted instances that were not restored in time."""
        core = self._core
        kept = timedelta(seconds=core.times.reclaim_instance_interval_s)
        targets = due.to_reclaim(conn, core.runtime.clock.now() - kept, BATCH)
        placements = placement.find_of_instances(conn, (i.uuid for i in targets), lock=True)
        new = [
            plan_verb(
                core.new_operation(self._context(target), target, Action.DELETE),
                target,
                None,
                placements.get(target.uuid, ()),
                None,
            )
            for target in targets
        ]
        return self._begin(conn, new, Applied())

    def _begin(self, conn: Connection, new: Sequence[New], applied: Applied) -> tuple[Applied, list[Operation]]:
        begun, operations = begin(self._core, conn, new)
        applied.add(begun)
        for op in operations:
            LOG.info("begun by itself", action=op.action, instance=op.instance_uuid, operation=op.id, host=op.host)
        return applied, operations

    def _context(self, target: Instance) -> RequestContext:
        return replace(self._core.context(), project_id=target.project_id, user_id=SYSTEM_USER)
