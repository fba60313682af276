"""Every order in the agent's hands, and what it owes the conductor: pure state, no I/O.

What comes from casts and what comes from syncs differs in one thing: a cast may be stale.  So a cast build
begins at once (all it does before its permit is reversible), and any other verb waits until a sync that listed
it as held came back without dropping it.  Casts beyond the room of their pool wait in a backlog that is not
reported as held; it may be lost, since the conductor has the truth.

Orders of one instance run one after the other, in the order of their arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from agent.backoff import Backoff
from agent.journal import Key
from agent.operations.token import Reason
from agent.work import Work
from drover.objects.sync import Begun, Gone, Held, Leaving, Order, Outcome, Result, SyncReply, SyncRequest
from drover.runtime import Runtime
from drover.states import VERBS, Action, PoolKind

__all__ = ["Changes", "Ledger"]

K = TypeVar("K")
V = TypeVar("V")

#: orders in hand per worker of a pool; what waits behind a worker begins without a round trip
_DEPTH = {PoolKind.BUILD: 2, PoolKind.LIFECYCLE: 4, PoolKind.DELETE: 8, PoolKind.SNAPSHOT: 2}
#: memory of ended orders and removed guests, against late casts; what falls out is caught by the next sync
_REMEMBERED = 4096
_MOST_RESULTS = 100


@dataclass(slots=True)
class Changes:
    """What the caller does after a change of the ledger."""

    run: list[Work] = field(default_factory=list)  # to their pools
    forget: list[Key] = field(default_factory=list)  # in the journal
    news: bool = False  # something to tell the conductor


class Ledger:
    """Not thread-safe: its owner holds a lock around each call.

    :param sizes: workers of each pool.
    :param results: those of earlier incarnations that nobody acknowledged.
    :param removal_budget_s: for what ``leaving`` records ask.
    """

    def __init__(
        self,
        runtime: Runtime,
        sizes: Mapping[PoolKind, int],
        results: Iterable[Result],
        *,
        removal_budget_s: float,
    ) -> None:
        self._runtime = runtime
        self._capacity = {kind: size * _DEPTH[kind] for kind, size in sizes.items()}
        self._removal_budget_s = removal_budget_s
        self._works: dict[Key, Work] = {}
        self._removals: dict[tuple[str, int], Work] = {}
        self._lanes: dict[str, list[Work]] = {}  # by instance; the first one runs
        self._backlog: dict[Key, Order] = {}
        self._results = {(r.operation_id, r.attempt): r for r in results}
        self._gone: dict[tuple[str, int], None] = {}
        self._ended: dict[Key, None] = {}
        self._removed: dict[str, int] = {}  # instance → highest epoch of which nothing is left
        self._backoff = Backoff(first_s=1.0, most_s=60.0)  # of deletes that failed, by instance
        self._closed = False

    # what the conductor is told

    def held(self) -> tuple[Held, ...]:
        """Orders in memory, without those that have a result."""
        return tuple(Held(operation_id=op, attempt=attempt) for op, attempt in self._works)

    def begun(self) -> tuple[Begun, ...]:
        """Each beginning once, each wish for a permit until it is answered."""
        told: list[Begun] = []
        for (op, attempt), work in self._works.items():
            wants = work.permit_wanted and not work.answered.is_set()
            if wants or (work.begun and not work.told):
                told.append(Begun(operation_id=op, attempt=attempt, permit=wants))
        return tuple(told)

    def results(self) -> tuple[Result, ...]:
        return tuple(self._results.values())[:_MOST_RESULTS]

    def gone(self) -> tuple[Gone, ...]:
        return tuple(Gone(instance_uuid=uuid, epoch=epoch) for uuid, epoch in self._gone)

    def want(self) -> dict[str, int]:
        """Room per pool."""
        return {kind.value: max(0, self._room(kind)) for kind in self._capacity}

    def busy(self) -> frozenset[str]:
        """Instances with an order at work or waiting for its turn."""
        return frozenset(self._lanes)

    # what comes in

    def offer(self, orders: Sequence[Order]) -> Changes:
        """Orders from a cast: perhaps repeated, late or stale. None at all asks for a sync."""
        changes = Changes(news=not orders)
        for order in orders:
            if self._closed or self._stale(order):
                continue
            if self._room(VERBS[order.action].pool) > 0:
                self._take(order, changes, confirmed=VERBS[order.action].places)
            elif len(self._backlog) < _REMEMBERED:
                self._backlog[order.operation_id, order.attempt] = order
        return changes

    def answered(self, request: SyncRequest, reply: SyncReply) -> Changes:
        """The conductor's answer to *request*."""
        changes = Changes()
        for begun in request.begun:
            if work := self._works.get((begun.operation_id, begun.attempt)):
                work.told = True
        for ack in reply.acks:
            key = (ack.operation_id, ack.attempt)
            if self._results.pop(key, None) is not None:
                self._end(key, changes)
        self._drop(reply, changes)
        self._permit(reply)
        if self._closed:
            return changes
        self._confirm(request, changes)
        self._leave(request, reply.leaving, changes)
        for order in reply.orders:
            self._give(order, changes)
        self._promote(changes)
        return changes

    def finished(self, work: Work, result: Result | None, *, removed: bool) -> Changes:
        """A work came to its end.

        :param removed: nothing of (instance, epoch ≤ its own) is left.
        """
        changes = Changes(news=True)
        order = work.order
        uuid, epoch = order.instance_uuid, order.epoch
        lane = self._lanes[uuid]
        lane.remove(work)
        if removed:
            self._removed[uuid] = max(epoch, self._removed.pop(uuid, 0))
            _bound(self._removed)
        if work.is_removal:
            self._removals.pop((uuid, epoch), None)
            if removed:
                self._gone[uuid, epoch] = None
        else:
            self._works.pop(work.key, None)
            if result is not None:
                self._results[work.key] = result
            elif work.token.reason is not Reason.SHUTDOWN:
                self._end(work.key, changes)
        if order.action is Action.DELETE:
            self._note_delete(uuid, failed=not removed and (result is None or result.outcome is Outcome.FAILED))
        if not lane:
            del self._lanes[uuid]
        elif not self._closed:
            changes.run.append(lane[0])
        self._promote(changes)
        return changes

    def close(self) -> None:
        """Take no more work; what runs stops at its next boundary, for the next incarnation."""
        self._closed = True
        self._backlog.clear()
        for work in (*self._works.values(), *self._removals.values()):
            work.cancel(Reason.SHUTDOWN)

    # parts of an answer

    def _drop(self, reply: SyncReply, changes: Changes) -> None:
        doomed = {(leaving.instance_uuid, leaving.epoch) for leaving in reply.leaving}
        doomed |= {(o.instance_uuid, o.epoch) for o in reply.orders if VERBS[o.action].supersedes}
        for drop in reply.drops:
            key = (drop.operation_id, drop.attempt)
            self._backlog.pop(key, None)
            work = self._works.get(key)
            if work is None:
                continue
            # A guest that is deleted need not be brought back to what it was.
            deleted = (work.order.instance_uuid, work.order.epoch) in doomed
            work.cancel(Reason.SUPERSEDED if deleted else Reason.DROPPED)
            if not work.confirmed:
                del self._works[key]
                self._end(key, changes)

    def _permit(self, reply: SyncReply) -> None:
        for permit in reply.permits:
            work = self._works.get((permit.operation_id, permit.attempt))
            if work is None or work.answered.is_set():
                continue
            if permit.granted:
                work.permitted = True
                work.answered.set()
            else:
                work.cancel(Reason.REFUSED)

    def _confirm(self, request: SyncRequest, changes: Changes) -> None:
        for held in request.held:
            work = self._works.get((held.operation_id, held.attempt))
            if work is not None and not work.confirmed:
                self._enqueue(work, changes, current=True)

    def _leave(self, request: SyncRequest, leaving: Sequence[Leaving], changes: Changes) -> None:
        listed = {(item.instance_uuid, item.epoch) for item in leaving}
        for gone in request.gone:
            if (gone.instance_uuid, gone.epoch) not in listed:
                self._gone.pop((gone.instance_uuid, gone.epoch), None)
        for uuid, epoch in sorted(listed):
            lane = self._lanes.get(uuid, [])
            for work in lane:
                if work.order.epoch <= epoch and work.order.action is not Action.DELETE:
                    work.cancel(Reason.SUPERSEDED)
            removes = any(w.order.action is Action.DELETE and w.order.epoch >= epoch for w in lane)
            if not removes and (uuid, epoch) not in self._gone and self._backoff.ready(uuid, self._now()):
                order = Order(
                    operation_id="",
                    attempt=0,
                    action=Action.DELETE,
                    instance_uuid=uuid,
                    epoch=epoch,
                    budget_s=self._removal_budget_s,
                )
                work = Work(self._runtime, order)
                self._removals[uuid, epoch] = work
                self._enqueue(work, changes, current=True)

    def _give(self, order: Order, changes: Changes) -> None:
        """An order from a sync: it is current."""
        key = (order.operation_id, order.attempt)
        self._backlog.pop(key, None)
        if work := self._works.get(key):
            if not work.confirmed:
                self._enqueue(work, changes, current=True)
        elif key not in self._results and not self._newer_in_hand(order) and self._due(order):
            self._take(order, changes, confirmed=True, current=True)

    def _promote(self, changes: Changes) -> None:
        """Take from the backlog what there is room for now."""
        if not self._backlog:
            return
        room = {kind: self._room(kind, backlog=False) for kind in self._capacity}
        for key, order in list(self._backlog.items()):
            kind = VERBS[order.action].pool
            if room[kind] > 0:
                del self._backlog[key]
                if not self._stale(order):
                    room[kind] -= 1
                    self._take(order, changes, confirmed=VERBS[order.action].places)

    # single orders

    def _take(self, order: Order, changes: Changes, *, confirmed: bool, current: bool = False) -> None:
        work = Work(self._runtime, order)
        self._works[work.key] = work
        if confirmed:
            self._enqueue(work, changes, current=current)
        else:
            changes.news = True

    def _enqueue(self, work: Work, changes: Changes, *, current: bool) -> None:
        """To its instance's lane.

        :param current: the conductor says so, hence no other order of the instance is; else only those of an
            older epoch are out of date.
        """
        work.confirmed = True
        lane = self._lanes.setdefault(work.order.instance_uuid, [])
        for other in lane:
            older = other.order.epoch < work.order.epoch
            if other.order.action is not Action.DELETE and (older or (current and not work.is_removal)):
                other.cancel(Reason.SUPERSEDED)
        lane.append(work)
        if len(lane) == 1:
            changes.run.append(work)

    def _stale(self, order: Order) -> bool:
        """Whether a cast order is known, ended, or older than what is known."""
        key = (order.operation_id, order.attempt)
        if any(key in known for known in (self._works, self._results, self._ended, self._backlog)):
            return True
        if order.action is not Action.DELETE and order.epoch <= self._removed.get(order.instance_uuid, 0):
            return True
        lane = self._lanes.get(order.instance_uuid, ())
        least = order.epoch if VERBS[order.action].places else order.epoch + 1
        return self._newer_in_hand(order) or any(work.order.epoch >= least for work in lane)

    def _newer_in_hand(self, order: Order) -> bool:
        return any(op == order.operation_id and attempt > order.attempt for op, attempt in self._works)

    def _due(self, order: Order) -> bool:
        """A delete that failed is ordered again at once; it waits a little longer each time."""
        return order.action is not Action.DELETE or self._backoff.ready(order.instance_uuid, self._now())

    def _note_delete(self, uuid: str, *, failed: bool) -> None:
        if failed:
            self._backoff.failed(uuid, self._now())
        else:
            self._backoff.succeeded(uuid)

    def _room(self, kind: PoolKind, *, backlog: bool = True) -> int:
        """Of a pool, behind what is in hand and (*backlog*) what waits for a place."""
        taken = sum(1 for work in (*self._works.values(), *self._removals.values()) if work.pool is kind)
        waiting = sum(1 for order in self._backlog.values() if VERBS[order.action].pool is kind) if backlog else 0
        return self._capacity[kind] - taken - waiting

    def _end(self, key: Key, changes: Changes) -> None:
        self._ended[key] = None
        _bound(self._ended)
        changes.forget.append(key)

    def _now(self) -> float:
        return self._runtime.clock.monotonic()


def _bound(memory: dict[K, V]) -> None:
    """Forget the oldest."""
    while len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]
