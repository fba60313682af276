from __future__ import annotations

from dataclasses import replace

import pytest

from agent.ledger import Ledger
from agent.operations.token import Reason
from agent.work import Work
from drover.objects.sync import (
    Ack,
    Drop,
    Gone,
    Leaving,
    Order,
    Outcome,
    Permit,
    Result,
    SyncReply,
    SyncRequest,
)
from drover.states import VERBS, Action, PoolKind, Verdict
from tests.contract.virt.spec import make_order, make_spec
from tests.unit.agent.manual import ManualClock, manual_runtime

SIZES = {PoolKind.BUILD: 2, PoolKind.LIFECYCLE: 1, PoolKind.DELETE: 1, PoolKind.SNAPSHOT: 1}
BUILD = make_order(Action.BUILD, make_spec())
DELETE = make_order(Action.DELETE, make_spec())
STOP = make_order(Action.STOP, make_spec())
UNSHELVE = make_order(Action.UNSHELVE, make_spec())
NOT_PLACING = [make_order(verb.action, make_spec()) for verb in VERBS.values() if not verb.places]


class Book:
    """A ledger with the syncs of its agent."""

    def __init__(self, *results: Result) -> None:
        runtime, self.clock = manual_runtime()
        self.ledger = Ledger(runtime, SIZES, results, removal_budget_s=300.0)

    def request(self) -> SyncRequest:
        ledger = self.ledger
        return SyncRequest(
            host="h1",
            session=1,
            seq=1,
            held=ledger.held(),
            begun=ledger.begun(),
            results=ledger.results(),
            gone=ledger.gone(),
            want=ledger.want(),
        )

    def sync(self, **reply: object) -> list[Work]:
        """A round trip; the works to run after it."""
        return self.ledger.answered(self.request(), SyncReply(**reply)).run  # type: ignore[arg-type]

    def cast(self, *orders: Order) -> list[Work]:
        return self.ledger.offer(orders).run

    def held(self) -> list[str]:
        return [held.operation_id for held in self.ledger.held()]


@pytest.fixture
def book() -> Book:
    return Book()


def result_of(order: Order, outcome: Outcome = Outcome.SUCCEEDED) -> Result:
    return Result(
        operation_id=order.operation_id,
        attempt=order.attempt,
        instance_uuid=order.instance_uuid,
        epoch=order.epoch,
        outcome=outcome,
    )


@pytest.mark.parametrize("order", [BUILD, UNSHELVE])
def test_cast_of_what_places_runs_at_once_and_only_once(book: Book, order: Order) -> None:
    [work] = book.cast(order, order)
    assert work.order == order
    assert book.cast(order) == []
    assert book.sync(orders=(order,)) == []
    assert book.held() == [order.operation_id]


@pytest.mark.parametrize("order", NOT_PLACING)
def test_other_verbs_of_a_cast_wait_for_a_sync_that_does_not_drop_them(book: Book, order: Order) -> None:
    assert book.cast(order) == []
    assert book.held() == [order.operation_id]
    [work] = book.sync()
    assert work.order == order


@pytest.mark.parametrize("order", NOT_PLACING)
def test_stale_cast_is_dropped_without_running(book: Book, order: Order) -> None:
    book.cast(order)
    assert book.sync(drops=(Drop(operation_id=order.operation_id, attempt=1),)) == []
    assert book.held() == []
    assert book.cast(order) == []  # remembered
    assert book.held() == []


def test_a_cast_that_came_after_the_request_is_not_confirmed_by_its_answer(book: Book) -> None:
    request = book.request()
    book.cast(STOP)
    assert book.ledger.answered(request, SyncReply()).run == []
    [work] = book.sync()
    assert work.order == STOP


def test_order_of_a_sync_runs_at_once(book: Book) -> None:
    [work] = book.sync(orders=(STOP,))
    assert work.order == STOP
    assert work.confirmed


def test_delete_cancels_before_it_queues(book: Book) -> None:
    [build] = book.cast(BUILD)
    assert book.sync(orders=(DELETE,)) == []  # behind the build, in its lane
    assert build.token.reason is Reason.SUPERSEDED
    assert build.answered.is_set()
    changes = book.ledger.finished(build, None, removed=False)
    assert [work.order for work in changes.run] == [DELETE]
    assert changes.forget == [build.key]


def test_two_orders_of_one_instance_never_run_at_once(book: Book) -> None:
    [first] = book.sync(orders=(STOP,))
    start = make_order(Action.START, make_spec())
    assert book.sync(orders=(start,)) == []
    assert first.token.reason is Reason.SUPERSEDED  # the conductor has ended it
    assert [w.order for w in book.ledger.finished(first, result_of(STOP), removed=False).run] == [start]


def test_older_and_ended_casts_are_ignored(book: Book) -> None:
    second = replace(BUILD, attempt=2, epoch=2)
    [work] = book.cast(second)
    assert book.cast(BUILD, replace(BUILD, operation_id="other")) == []
    book.ledger.finished(work, result_of(second), removed=False)
    assert book.cast(second) == []
    book.sync(acks=(Ack(operation_id=second.operation_id, attempt=2, verdict=Verdict.APPLIED),))
    assert book.ledger.results() == ()
    assert book.cast(second) == []
    assert book.held() == []


def test_newer_epoch_cancels_the_older(book: Book) -> None:
    [old] = book.cast(BUILD)
    book.cast(replace(BUILD, operation_id="new", epoch=2))
    assert old.token.reason is Reason.SUPERSEDED


def test_begun_is_told_once_and_a_permit_until_it_is_answered(book: Book) -> None:
    [work] = book.cast(BUILD)
    assert book.ledger.begun() == ()
    work.begun = True
    assert [b.permit for b in book.ledger.begun()] == [False]
    book.sync()
    assert book.ledger.begun() == ()
    work.permit_wanted = True
    for _ in range(2):
        assert [b.permit for b in book.ledger.begun()] == [True]
        book.sync()
    book.sync(permits=(Permit(operation_id=BUILD.operation_id, attempt=1, granted=True),))
    assert work.permitted
    assert book.ledger.begun() == ()


def test_refused_permit_cancels(book: Book) -> None:
    [work] = book.cast(BUILD)
    book.sync(permits=(Permit(operation_id=BUILD.operation_id, attempt=1, granted=False),))
    assert work.token.reason is Reason.REFUSED
    assert work.answered.is_set()
    assert not work.permitted


def test_drop_counts_more_than_the_refused_permit_beside_it(book: Book) -> None:
    [work] = book.cast(BUILD)
    book.sync(
        drops=(Drop(operation_id=BUILD.operation_id, attempt=1),),
        permits=(Permit(operation_id=BUILD.operation_id, attempt=1, granted=False),),
    )
    assert work.token.reason is Reason.DROPPED


@pytest.mark.parametrize(("epoch", "reason"), [(0, Reason.DROPPED), (1, Reason.SUPERSEDED)])
def test_a_dropped_order_knows_whether_its_guest_leaves(book: Book, epoch: int, reason: Reason) -> None:
    shelve = make_order(Action.SHELVE, make_spec())
    [work] = book.sync(orders=(shelve,))
    book.sync(drops=(Drop(operation_id=shelve.operation_id, attempt=1),), leaving=leave(epoch))
    assert work.token.reason is reason


def test_result_is_told_until_acknowledged_and_not_held(book: Book) -> None:
    [work] = book.cast(BUILD)
    book.ledger.finished(work, result_of(BUILD), removed=False)
    for _ in range(2):
        assert [r.operation_id for r in book.ledger.results()] == [BUILD.operation_id]
        assert book.held() == []
        book.sync()
    changes = book.ledger.answered(
        book.request(), SyncReply(acks=(Ack(operation_id=BUILD.operation_id, attempt=1, verdict=Verdict.ALREADY),))
    )
    assert changes.forget == [(BUILD.operation_id, 1)]
    assert book.ledger.results() == ()


def test_results_of_an_earlier_incarnation() -> None:
    book = Book(result_of(STOP))
    assert [r.operation_id for r in book.ledger.results()] == [STOP.operation_id]
    assert book.sync(orders=(STOP,)) == []


def test_casts_beyond_the_room_wait_and_are_not_held(book: Book) -> None:
    orders = [make_order(Action.BUILD, make_spec(number)) for number in range(1, 7)]
    works = book.cast(*orders)
    assert len(works) == 4
    assert len(book.held()) == 4
    assert book.ledger.want()["build"] == 0
    run = book.ledger.finished(works[0], None, removed=False).run
    assert [work.order for work in run] == [orders[4]]
    assert book.held() == [order.operation_id for order in orders[1:5]]


def test_want_is_the_room(book: Book) -> None:
    assert book.ledger.want() == {"build": 4, "lifecycle": 4, "delete": 8, "snapshot": 2}
    book.cast(BUILD)
    assert book.ledger.want()["build"] == 3


def leave(epoch: int = 1) -> tuple[Leaving, ...]:
    return (Leaving(instance_uuid=BUILD.instance_uuid, epoch=epoch),)


def test_leaving_is_removed_once_and_told_until_it_is_not_listed(book: Book) -> None:
    [removal] = book.sync(leaving=leave())
    assert removal.is_removal
    assert book.held() == []
    assert book.sync(leaving=leave()) == []
    book.ledger.finished(removal, None, removed=True)
    gone = (Gone(instance_uuid=BUILD.instance_uuid, epoch=1),)
    assert book.ledger.gone() == gone
    assert book.sync(leaving=leave()) == []
    assert book.ledger.gone() == gone
    book.sync()
    assert book.ledger.gone() == ()


def test_an_answer_to_a_request_without_it_does_not_end_gone(book: Book) -> None:
    [removal] = book.sync(leaving=leave())
    request = book.request()
    book.ledger.finished(removal, None, removed=True)
    book.ledger.answered(request, SyncReply())
    assert book.ledger.gone()


def test_leaving_cancels_what_builds_there_and_comes_after_it(book: Book) -> None:
    [build] = book.cast(BUILD)
    assert book.sync(leaving=leave()) == []
    assert build.token.reason is Reason.SUPERSEDED
    [removal] = book.ledger.finished(build, None, removed=False).run
    assert removal.is_removal


def test_leaving_leaves_a_later_epoch_alone(book: Book) -> None:
    [build] = book.cast(replace(BUILD, epoch=2))
    book.sync(leaving=leave(epoch=1))
    assert not build.token.cancelled()


def test_delete_in_hand_does_what_leaving_asks(book: Book) -> None:
    [delete] = book.sync(orders=(DELETE,), leaving=leave())[:1]
    assert delete.is_removal  # the list comes before the order: both end in nothing left
    assert book.sync(leaving=leave()) == []


def failing_removal(book: Book, clock: ManualClock) -> list[float]:
    """Seconds between tries."""
    waits: list[float] = []
    for _ in range(3):
        [removal] = book.sync(leaving=leave())
        book.ledger.finished(removal, None, removed=False)
        waited = 0.0
        while not book.ledger._backoff.ready(BUILD.instance_uuid, clock.monotonic()):
            assert book.sync(leaving=leave()) == []
            clock.pass_by(1.0)
            waited += 1.0
        waits.append(waited)
    return waits


def test_failed_removal_is_tried_again_later(book: Book) -> None:
    assert failing_removal(book, book.clock) == [1.0, 2.0, 4.0]


def test_failed_delete_is_taken_again_later(book: Book) -> None:
    [delete] = book.sync(orders=(DELETE,))
    book.ledger.finished(delete, result_of(DELETE, Outcome.FAILED), removed=False)
    ack = Ack(operation_id=DELETE.operation_id, attempt=1, verdict=Verdict.APPLIED)
    assert book.sync(acks=(ack,), orders=(DELETE,)) == []
    book.clock.pass_by(1.0)
    assert [work.order for work in book.sync(orders=(DELETE,))] == [DELETE]


def test_casts_of_what_was_removed_are_stale(book: Book) -> None:
    [removal] = book.sync(leaving=leave(epoch=3))
    book.ledger.finished(removal, None, removed=True)
    assert book.cast(replace(BUILD, epoch=3)) == []
    assert [w.order.epoch for w in book.cast(replace(BUILD, epoch=4))] == [4]


def test_closed_ledger_takes_nothing_and_leaves_what_runs(book: Book) -> None:
    [build] = book.cast(BUILD)
    book.sync(orders=(DELETE,))
    book.ledger.close()
    assert book.cast(make_order(Action.BUILD, make_spec(2))) == []
    assert book.sync(orders=(make_order(Action.BUILD, make_spec(3)),), leaving=leave(9)) == []
    changes = book.ledger.finished(build, None, removed=False)
    assert changes.run == []


def test_interrupted_order_is_not_forgotten(book: Book) -> None:
    [build] = book.cast(BUILD)
    book.ledger.close()
    assert build.token.reason is Reason.SHUTDOWN
    assert book.ledger.finished(build, None, removed=False).forget == []
