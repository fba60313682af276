"""Sessions and syncs: the conversation with the agents, many of them in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from conductor import effect
from conductor.core import Core
from conductor.dead_letter import DeadLetters
from conductor.effect import Applied
from conductor.past import seal, suspects, witnessed
from conductor.plan.sync import Facts, SyncPlan, choose_orders, plan_begun, plan_drops, plan_gone, plan_result
from conductor.points import Commit
from conductor.workflows.observe import observe
from drover import errors, log, retry
from drover.db import deployment, due, host, image, operation, orphan, placement
from drover.objects.event import Event, host_event
from drover.objects.host import RegisterReply, Registration
from drover.objects.operation import Operation
from drover.objects.sync import Ack, Begun, Gone, Leaving, Order, Permit, Result, SyncReply, SyncRequest
from drover.rpc.context import RequestContext
from drover.runtime.joiner import Joiner
from drover.states import Action, Verdict

__all__ = ["SyncWorkflow"]

LOG = log.get(__name__)

#: liveness is written at most so often for a busy host; silence is judged in tens of seconds
TOUCH_EVERY_S = 1.0

Item = Result | Gone | Begun


class SyncWorkflow:
    """``register`` and ``sync`` of the conductor's contract."""

    def __init__(self, core: Core, dead_letters: DeadLetters) -> None:
        self._core = core
        self._dead_letters = dead_letters
        self._joiner: Joiner[SyncRequest, SyncReply] = Joiner(
            core.runtime, self._batch, window_s=core.times.join_window_s
        )
        self._lock = core.runtime.lock()
        self._touched: dict[str, float] = {}  # when this conductor last wrote a host's liveness (monotonic)
        self._looked: dict[str, float] = {}  # when it last looked for everything the host has to do
        self._hosts = 0

    def register(self, ctx: RequestContext, registration: Registration) -> RegisterReply:
        """Open a session (see the contract)."""
        core = self._core
        now = core.runtime.clock.now()
        with core.write() as conn:
            booted = core.settings.resume_guests_state_on_host_boot and due.booted(conn, registration.identity)
            session = host.register(conn, registration, now)
            if booted:
                due.restart_on(conn, registration.identity.host, now)
            ours = deployment.get(conn)
        LOG.info(
            "host registered",
            host=registration.identity.host,
            session=session,
            request_id=ctx.request_id,
            vcpus=registration.inventory.vcpus,
            memory_mib=registration.inventory.memory_mib,
        )
        core.room.came()
        core.events.publish([host_event(registration.identity.host, "registered", f"session {session}")])
        return RegisterReply(
            session=session,
            deployment_id=ours.id,
            lease_s=self._interval_s() * core.times.lease_factor,
            next_sync_s=self._interval_s(),
            seal=seal(ours.depot_key, registration.identity.host, session),
        )

    def sync(self, ctx: RequestContext, request: SyncRequest) -> SyncReply:
        """One round with one agent (see the contract); joined with those of other agents."""
        del ctx
        return self._joiner.submit(request)

    def fleet_size(self, hosts: int) -> None:
        """How many hosts there are: the idle interval grows with them."""
        self._hosts = hosts

    def _interval_s(self) -> float:
        return max(self._core.times.sync_interval_s, self._hosts / 100)

    # --- a batch ---------------------------------------------------------------------------------------------

    def _batch(self, requests: Sequence[SyncRequest]) -> list[SyncReply | Exception]:
        try:
            return self._transaction(requests)
        except errors.Unavailable:
            raise
        except Exception:  # one of them is poison
            if len(requests) > 1:
                LOG.exception("joined syncs failed, each is redone alone", hosts=len(requests))
                raise  # the joiner tries each alone
            return [self._alone(requests[0])]

    def _alone(self, request: SyncRequest) -> SyncReply | Exception:
        try:
            return self._transaction([request])[0]
        except errors.Unavailable as exc:
            return exc
        except Exception as exc:
            LOG.exception("sync failed, its items are redone one by one", host=request.host, error=exc)
        try:
            sound, rejected = self._without_poison(request)
            reply = self._transaction([sound])[0]
        except Exception as exc:  # noqa: BLE001  it is the caller's answer
            return exc
        return reply if isinstance(reply, Exception) else replace(reply, acks=(*reply.acks, *rejected))

    def _without_poison(self, request: SyncRequest) -> tuple[SyncRequest, list[Ack]]:
        """The request without the items that can never be applied (those go to the dead letters), and their acks."""

        def good(item: Item) -> bool:
            single = SyncRequest(
                host=request.host,
                session=request.session,
                seq=request.seq,
                results=(item,) if isinstance(item, Result) else (),
                gone=(item,) if isinstance(item, Gone) else (),
                begun=(item,) if isinstance(item, Begun) else (),
            )
            try:
                with self._core.database.write() as conn:
                    facts = self._facts(conn, [single])
                    plan = _decide(single, facts)
                    with conn.begin_nested() as savepoint:
                        effect.apply(conn, plan.effects, self._core.owner())
                        savepoint.rollback()
            except errors.Unavailable:
                raise
            except Exception as exc:  # noqa: BLE001  whatever it is, this item can't be applied
                self._core.events.publish(self._dead_letters.put(request.host, item, exc))
                return False
            return True

        sound = SyncRequest(
            host=request.host,
            session=request.session,
            seq=request.seq,
            held=request.held,
            results=tuple(item for item in request.results if good(item)),
            gone=tuple(item for item in request.gone if good(item)),
            begun=tuple(item for item in request.begun if good(item)),
            want=request.want,
        )
        rejected = [
            Ack(operation_id=r.operation_id, attempt=r.attempt, verdict=Verdict.REJECTED)
            for r in request.results
            if r not in sound.results
        ]
        return sound, rejected

    def _transaction(self, requests: Sequence[SyncRequest]) -> list[SyncReply | Exception]:
        try:
            replies, applied = retry.while_busy(self._core.runtime, lambda: self._write(requests))
        except errors.OldDatabase as exc:
            self._core.halt(exc)
            raise
        self._core.after(applied)
        return replies

    def _write(self, requests: Sequence[SyncRequest]) -> tuple[list[SyncReply | Exception], Applied]:
        core = self._core
        with core.transaction(_weightiest(requests)) as conn:
            known = host.sessions(conn, (r.host for r in requests))
            if suspects(requests, known) and (proof := witnessed(requests, known, deployment.get(conn).depot_key)):
                raise errors.OldDatabase(detail=proof)
            live = [r for r in requests if known.get(r.host, (0, 0))[0] == r.session]
            facts = self._facts(conn, live)
            plans = {id(r): _decide(r, facts) for r in live}
            owner = core.owner()
            applied = effect.apply(conn, [e for p in plans.values() for e in p.effects], owner)
            orders = self._orders(conn, live)
            leaving = self._leaving(conn, [r.host for r in live if _is_calm(r) or r.gone])
            replies: list[SyncReply | Exception] = []
            for request in requests:
                plan = plans.get(id(request))
                if plan is None:
                    current = known.get(request.host, (0, 0))[0]
                    replies.append(errors.StaleSession(session=request.session, host=request.host, current=current))
                    continue
                applied.events += self._note(conn, request)
                applied.freed |= request.inventory is not None
                replies.append(
                    SyncReply(
                        orders=tuple(orders.get(request.host, ())),
                        permits=(*plan.permits, *_granted(plan, applied)),
                        drops=tuple(plan.drops),
                        acks=tuple(plan.acks),
                        leaving=tuple(leaving.get(request.host, ())),
                        lease_s=self._interval_s() * core.times.lease_factor,
                        next_sync_s=self._interval_s(),
                    )
                )
        return replies, applied

    def _facts(self, conn: Connection, requests: Sequence[SyncRequest]) -> Facts:
        written: set[str] = set()
        held: set[str] = set()
        gone: set[str] = set()
        for request in requests:
            written.update(item.operation_id for item in request.results)
            written.update(item.operation_id for item in request.begun)
            held.update(item.operation_id for item in request.held)
            gone.update(item.instance_uuid for item in request.gone)
        busy = operation.unfinished_of_instances(conn, gone, lock=True)
        operations = operation.find(conn, written, lock=True)
        touched = {op.instance_uuid for op in operations.values()} | gone
        shelved = [op.params["image_id"] for op in operations.values() if op.action is Action.SHELVE]
        return Facts(
            operations={**operation.find(conn, held - written), **operations},
            busy=busy,
            placements=placement.find_of_instances(conn, touched, lock=True),
            build_attempts=self._core.settings.build_attempts,
            images=image.statuses(conn, shelved, lock=True) if shelved else {},
        )

    def _due(self, memory: dict[str, float], name: str, every_s: float) -> bool:
        now = self._core.runtime.clock.monotonic()
        with self._lock:
            if now - memory.get(name, -every_s) < every_s:
                return False
            memory[name] = now
            return True

    def _note(self, conn: Connection, request: SyncRequest) -> list[Event]:
        news = request.usage or request.inventory or request.foreign is not None
        if self._due(self._touched, request.host, TOUCH_EVERY_S) or news:
            host.touch(conn, request, self._core.runtime.clock.now())
        now = self._core.runtime.clock.now()
        if request.remains:
            orphan.note(conn, request.host, request.remains, now)
        return observe(conn, request, now) if request.observations else []

    def _orders(self, conn: Connection, requests: Sequence[SyncRequest]) -> dict[str, list[Order]]:
        """Orders by host. A host in the middle of a burst gets its orders by casts; everything it
        has to do is looked up when it is calm, and once an interval in any case."""
        looked = [r for r in requests if _is_calm(r) or self._due(self._looked, r.host, self._interval_s())]
        waiting: dict[str, list[Operation]] = {}
        for op in operation.unfinished_of_hosts(conn, (r.host for r in looked)) if looked else ():
            waiting.setdefault(op.host, []).append(op)
        chosen = [op for r in looked for op in choose_orders(waiting.get(r.host, ()), r.held, r.results, r.want)]
        hosts = {op.id: op.host for op in chosen}
        found: dict[str, list[Order]] = {}
        for order in self._core.orders.hand_out(conn, chosen):
            found.setdefault(hosts[order.operation_id], []).append(order)
        return found

    def _leaving(self, conn: Connection, hosts: Sequence[str]) -> dict[str, list[Leaving]]:
        """What these hosts must clean up, without what a delete order already tells them to."""
        rows = placement.leaving_of_hosts(conn, hosts) if hosts else []
        busy = operation.unfinished_of_instances(conn, (p.instance_uuid for p in rows))
        found: dict[str, list[Leaving]] = {}
        for p in rows:
            if not _told_by_order(busy.get(p.instance_uuid), p.host):
                found.setdefault(p.host, []).append(Leaving(instance_uuid=p.instance_uuid, epoch=p.epoch))
        return found


def _is_calm(request: SyncRequest) -> bool:
    """Nothing was begun or has ended there."""
    return not (request.results or request.begun)


def _weightiest(requests: Sequence[SyncRequest]) -> Commit:
    """What a transaction of these is mainly for."""
    if any(request.results for request in requests):
        return Commit.FINISH
    if any(begun.permit for request in requests for begun in request.begun):
        return Commit.PERMIT
    return Commit.BEGIN if any(request.begun for request in requests) else Commit.SYNC


def _told_by_order(op: Operation | None, name: str) -> bool:
    return op is not None and op.action is Action.DELETE and op.host == name


def _decide(request: SyncRequest, facts: Facts) -> SyncPlan:
    plan = SyncPlan()
    each: Iterable[tuple[Sequence[Item], Callable[..., None]]] = (
        (request.results, plan_result),
        (request.gone, plan_gone),
        (request.begun, plan_begun),
    )
    for items, decide in each:
        for item in items:
            decide(plan, facts, request.host, item)
    plan_drops(plan, facts, request.host, request.held)
    return plan


def _granted(plan: SyncPlan, applied: Applied) -> list[Permit]:
    return [
        Permit(
            operation_id=e.operation_id,
            attempt=e.attempt,
            granted=(e.instance_uuid, e.host, e.epoch) in applied.granted,
        )
        for e in plan.effects
        if isinstance(e, effect.Grant)
    ]
