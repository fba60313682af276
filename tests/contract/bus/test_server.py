"""Servers: casts, names, the bound on work, and how they stop."""

from __future__ import annotations

from drover.runtime import Task
from tests.contract.bus.conftest import CTX, Wire
from tests.contract.bus.probe import Probe


def test_a_cast_returns_before_it_is_done(wire: Wire) -> None:
    probe = Probe(wire.runtime)
    wire.serve(probe)
    wire.client().held_note(CTX, "one")
    assert probe.next_begun() == "one"
    probe.gate.set()


def test_a_cast_that_fails_hurts_nobody(wire: Wire) -> None:
    probe = Probe(wire.runtime)
    wire.serve(probe)
    probe.note = None  # type: ignore[assignment, method-assign]  # calling it raises TypeError
    wire.client().note(CTX, "one")
    assert wire.client().echo(CTX, {})["value"] == {}


def test_each_server_gets_what_is_addressed_to_it(wire: Wire) -> None:
    left, right = Probe(wire.runtime), Probe(wire.runtime)
    wire.serve(left, server=f"left-{wire.name}")
    wire.serve(right, server=f"right-{wire.name}")
    wire.client(server=f"right-{wire.name}").note(CTX, "r")
    wire.client(server=f"left-{wire.name}").note(CTX, "l")
    assert (left.next_begun(), right.next_begun()) == ("l", "r")
    assert left.begun() == right.begun() == []


def test_concurrent_callers_get_their_own_answers(wire: Wire) -> None:
    wire.serve(Probe(wire.runtime))
    caller = wire.client()
    answers: dict[int, int] = {}

    def ask(number: int) -> None:
        for _ in range(5):
            answers[number] = caller.echo(CTX, {"n": number})["value"]["n"]

    tasks = [wire.runtime.spawn("ask", lambda n=n: ask(n)) for n in range(8)]  # type: ignore[misc]
    assert all(task.join(60) for task in tasks)
    assert answers == {n: n for n in range(8)}


def test_a_server_runs_no_more_than_its_workers(wire: Wire) -> None:
    probe = Probe(wire.runtime)
    wire.serve(probe, workers=2)
    answers = wire.runtime.queue()
    callers = [_hold_beside(wire, f"h{n}", answers) for n in range(5)]
    assert {probe.next_begun(), probe.next_begun()} <= {f"h{n}" for n in range(5)}
    probe.gate.set()
    assert all(caller.join(60) for caller in callers)
    assert sorted(map(str, answers.drain())) == [f"h{n}" for n in range(5)]
    assert probe.most_at_once == 2


def test_what_a_full_server_cannot_begin_waits_for_another(wire: Wire) -> None:
    full, free = Probe(wire.runtime), Probe(wire.runtime)
    first = wire.serve(full, workers=1)
    for number in range(6):
        wire.client().held_note(CTX, f"n{number}")
    assert full.next_begun() == "n0"
    free.gate.set()
    wire.serve(free)  # the same name: a second process of one service
    # RabbitMQ's server holds one message it has no worker for and one it did not acknowledge; the others are free.
    seen = {free.next_begun() for _ in range(3)}
    full.gate.set()
    first.stop()
    seen |= set(full.begun())
    while len(seen) < 5:
        seen.add(free.next_begun())
    assert seen == {f"n{number}" for number in range(1, 6)}


def test_stopping_drains_what_runs(wire: Wire) -> None:
    probe = Probe(wire.runtime)
    server = wire.serve(probe)
    answers = wire.runtime.queue()
    caller = _hold_beside(wire, "running", answers)
    assert probe.next_begun() == "running"
    stopping = wire.runtime.spawn("stop", server.stop)
    assert not stopping.join(0.5)
    probe.gate.set()
    assert stopping.join(60)
    assert caller.join(60)
    assert answers.drain() == ["running"]


def test_a_cast_to_a_stopped_server_waits_for_the_next(wire: Wire) -> None:
    wire.serve(Probe(wire.runtime)).stop()
    wire.client().note(CTX, "late")
    probe = Probe(wire.runtime)
    wire.serve(probe)
    assert probe.next_begun() == "late"


def test_stopping_twice_is_fine(wire: Wire) -> None:
    server = wire.serve(Probe(wire.runtime))
    server.stop()
    server.stop()


def _hold_beside(wire: Wire, tag: str, answers: object) -> Task:
    def ask() -> None:
        answers.put(wire.client().hold(CTX, tag))  # type: ignore[attr-defined]

    return wire.runtime.spawn(tag, ask)
