"""A conductor written by hand, and a network that loses what it is told to lose."""

from __future__ import annotations

import threading
from collections.abc import Callable

from drover import errors
from drover.objects.host import RegisterReply, Registration
from drover.objects.sync import Ack, Drop, Leaving, Order, Permit, Result, SyncReply, SyncRequest
from drover.rpc.context import RequestContext
from drover.rpc.fault import DELIVER, DROP, Fault, Parcel, ParcelKind
from drover.states import Verdict
from tests.contract.virt.spec import DEPLOYMENT
from tests.functional.agent.life import PATIENCE_S

__all__ = ["Conductor", "Network"]

#: an idle agent syncs so often: tests wait for syncs that bring nothing
NEXT_SYNC_S = 0.02


class Network:
    """A fault policy that loses what it is told to lose."""

    def __init__(self) -> None:
        self.lose_replies = 0
        self.cut = False
        self.tried = threading.Event()

    def judge(self, parcel: Parcel) -> Fault:
        self.tried.set()
        if self.cut and parcel.method == "sync":
            return DROP
        if parcel.kind is ParcelKind.REPLY and parcel.method == "sync" and self.lose_replies > 0:
            self.lose_replies -= 1
            return DROP
        return DELIVER


class Conductor:
    """Knows operations, permits and leaving records, and answers a sync as the contract says."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.session = 0
        self.taken_by = ""  # machine id of another machine that has the name
        self.lease_s = 5.0
        self.current: dict[str, Order] = {}
        self.leaving: set[tuple[str, int]] = set()
        self.requests: list[SyncRequest] = []
        self.registrations: list[Registration] = []
        self.results: dict[tuple[str, int], Result] = {}
        self.times_told: dict[tuple[str, int], int] = {}
        self.gone: set[tuple[str, int]] = set()
        self.permitted: set[tuple[str, int]] = set()
        self.refuses: set[str] = set()
        self.answers_permits = True
        self.acknowledges = True
        self.hands_out = True

    # the contract

    def register(self, ctx: RequestContext, registration: Registration) -> RegisterReply:
        with self._changed:
            if self.taken_by:
                raise errors.HostNameTaken(host=registration.identity.host, known=self.taken_by, claimed="me")
            self.session += 1
            self.registrations.append(registration)
            return RegisterReply(
                session=self.session, deployment_id=DEPLOYMENT, lease_s=self.lease_s, next_sync_s=NEXT_SYNC_S
            )

    def sync(self, ctx: RequestContext, request: SyncRequest) -> SyncReply:
        with self._changed:
            if request.session != self.session:
                raise errors.StaleSession(session=request.session, host=request.host, current=self.session)
            self.requests.append(request)
            for gone in request.gone:
                self.gone.add((gone.instance_uuid, gone.epoch))
                self.leaving.discard((gone.instance_uuid, gone.epoch))
            reply = SyncReply(
                acks=tuple(self._ack(result) for result in request.results) if self.acknowledges else (),
                permits=self._permits(request),
                drops=tuple(
                    Drop(operation_id=h.operation_id, attempt=h.attempt)
                    for h in request.held
                    if not self._is_current(h.operation_id, h.attempt)
                ),
                leaving=tuple(Leaving(instance_uuid=uuid, epoch=epoch) for uuid, epoch in sorted(self.leaving)),
                orders=self._orders(request) if self.hands_out else (),
                lease_s=self.lease_s,
                next_sync_s=NEXT_SYNC_S,
            )
            self._changed.notify_all()
            return reply

    def _ack(self, result: Result) -> Ack:
        key = (result.operation_id, result.attempt)
        self.times_told[key] = self.times_told.get(key, 0) + 1
        verdict = Verdict.SUPERSEDED
        if self._is_current(*key):
            verdict = Verdict.APPLIED
            self.results[key] = result
            del self.current[result.operation_id]
        return Ack(operation_id=result.operation_id, attempt=result.attempt, verdict=verdict)

    def _permits(self, request: SyncRequest) -> tuple[Permit, ...]:
        if not self.answers_permits:
            return ()
        permits = []
        for begun in request.begun:
            if begun.permit:
                granted = self._is_current(begun.operation_id, begun.attempt) and begun.operation_id not in self.refuses
                if granted:
                    self.permitted.add((begun.operation_id, begun.attempt))
                permits.append(Permit(operation_id=begun.operation_id, attempt=begun.attempt, granted=granted))
        return tuple(permits)

    def _orders(self, request: SyncRequest) -> tuple[Order, ...]:
        known = {(h.operation_id, h.attempt) for h in request.held}
        known |= {(r.operation_id, r.attempt) for r in request.results}
        return tuple(o for o in self.current.values() if (o.operation_id, o.attempt) not in known)

    def _is_current(self, operation_id: str, attempt: int) -> bool:
        order = self.current.get(operation_id)
        return order is not None and order.attempt == attempt

    # the test's side

    def order(self, order: Order) -> Order:
        """Make it current: the next sync brings it."""
        with self._changed:
            self.current[order.operation_id] = order
        return order

    def take_away(self, operation_id: str) -> None:
        with self._changed:
            del self.current[operation_id]

    def wait_for(self, condition: Callable[[], bool], what: str = "the conductor to hear it") -> None:
        """Wait until *condition* holds after some sync."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), f"waited {PATIENCE_S} s for {what}"

    def begun(self, order: Order, *, permit: bool = False, since: int = 0) -> None:
        """Wait until the agent tells that it began *order*, or (*permit*) asks leave to start its guest.

        :param since: index of the first request that counts.
        """

        def told() -> bool:
            begun = [b for request in self.requests[since:] for b in request.begun]
            return any(b.operation_id == order.operation_id and (b.permit or not permit) for b in begun)

        self.wait_for(told, f"the beginning of {order.operation_id}")

    def held(self, order: Order, *, since: int) -> None:
        """Wait until the agent says that it has *order*, in a request from index *since* on."""

        def told() -> bool:
            held = [h for request in self.requests[since:] for h in request.held]
            return any(h.operation_id == order.operation_id for h in held)

        self.wait_for(told, f"{order.operation_id} to be held")

    def holds_nothing(self) -> None:
        """Wait until the agent has no order left."""
        self.wait_for(lambda: not self.requests[-1].held, "the orders to be forgotten")

    def result_of(self, order: Order) -> Result:
        """Wait for the end of *order*."""
        key = (order.operation_id, order.attempt)
        self.wait_for(lambda: key in self.results, f"the result of {order.operation_id}")
        return self.results[key]

    def syncs(self, count: int) -> None:
        """Wait for so many more syncs."""
        target = len(self.requests) + count
        self.wait_for(lambda: len(self.requests) >= target, f"{count} syncs")
