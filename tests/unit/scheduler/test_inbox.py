from __future__ import annotations

from drover.runtime.threads import ThreadRuntime
from scheduler.inbox import Inbox


def test_ids_come_once_and_in_order() -> None:
    inbox = Inbox(ThreadRuntime())
    inbox.put(["b", "a"])
    inbox.put(["a", "c"])
    assert inbox.wait()
    assert inbox.take(2) == ["b", "a"]
    assert inbox.wait()
    assert inbox.take(2) == ["c"]
    assert inbox.take(2) == []


def test_a_closed_inbox_is_emptied_first() -> None:
    inbox = Inbox(ThreadRuntime())
    inbox.put(["a"])
    inbox.close()
    assert inbox.wait()
    assert inbox.take(5) == ["a"]
    assert not inbox.wait()


def test_who_waits_is_woken_by_the_first_id_and_by_the_end() -> None:
    runtime = ThreadRuntime()
    inbox = Inbox(runtime)
    seen: list[list[str]] = []

    def consume() -> None:
        while inbox.wait():
            seen.append(inbox.take(5))

    task = runtime.spawn("consume", consume)
    inbox.put(["a"])
    inbox.put(["b"])
    inbox.close()
    assert task.join(30.0)
    assert [each for batch in seen for each in batch] == ["a", "b"]


def test_nothing_put_wakes_nobody() -> None:
    inbox = Inbox(ThreadRuntime())
    inbox.put([])
    inbox.close()
    assert not inbox.wait()
