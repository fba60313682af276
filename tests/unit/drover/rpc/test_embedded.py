"""What only the embedded bus can do: lose, double and delay on purpose, and die in part."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drover import errors
from drover.rpc.bus import Address
from drover.rpc.context import RequestContext
from drover.rpc.contract import Endpoint, client
from drover.rpc.embedded import EmbeddedBus
from drover.rpc.fault import DELIVER, DROP, DUPLICATE, Fault, Parcel, ParcelKind
from drover.runtime.runtime import QueueEmpty
from drover.runtime.threads import ThreadRuntime
from tests.contract.bus.probe import CONTRACT, Probe, ProbeAPI

CTX = RequestContext(request_id="req-1")


class Faults:
    """One fate for each kind of parcel; remembers what it was asked."""

    def __init__(self, **fates: Fault) -> None:
        self.fates = fates
        self.seen: list[Parcel] = []
        self.down = False

    def judge(self, parcel: Parcel) -> Fault:
        self.seen.append(parcel)
        if self.down:
            raise errors.BusUnavailable(detail="cut")
        return self.fates.get(parcel.kind.value, DELIVER)


@pytest.fixture
def runtime() -> ThreadRuntime:
    return ThreadRuntime()


def _ends(runtime: ThreadRuntime, faults: Faults) -> tuple[Probe, Callable[[float], ProbeAPI]]:
    bus = EmbeddedBus(runtime, faults, name="conductor")
    probe = Probe(runtime)
    bus.serve(Address("probe", "p1"), Endpoint(CONTRACT, probe), 2)
    caller = bus.attach("agent-1", runtime)
    return probe, lambda timeout_s: client(CONTRACT, caller, server="p1", timeout_s=timeout_s)


def test_the_policy_sees_who_sends_what_to_whom(runtime: ThreadRuntime) -> None:
    faults = Faults()
    probe, caller = _ends(runtime, faults)
    caller(30.0).echo(CTX, {})
    caller(30.0).note(CTX, "n")
    assert {probe.next_begun(), probe.next_begun()} == {"echo", "n"}
    assert faults.seen == [
        Parcel(kind=ParcelKind.REQUEST, sender="agent-1", receiver="probe.p1", method="echo"),
        Parcel(kind=ParcelKind.REPLY, sender="conductor", receiver="agent-1", method="echo"),
        Parcel(kind=ParcelKind.CAST, sender="agent-1", receiver="probe.p1", method="note"),
    ]


def test_a_lost_request_is_not_run(runtime: ThreadRuntime) -> None:
    probe, caller = _ends(runtime, Faults(request=DROP))
    with pytest.raises(errors.CallTimeout):
        caller(0.1).echo(CTX, {})
    assert probe.begun() == []


def test_a_lost_reply_is_a_timeout_though_it_was_done(runtime: ThreadRuntime) -> None:
    probe, caller = _ends(runtime, Faults(reply=DROP))
    with pytest.raises(errors.CallTimeout):
        caller(0.3).echo(CTX, {})
    assert probe.begun() == ["echo"]


def test_a_doubled_request_runs_twice_and_answers_once(runtime: ThreadRuntime) -> None:
    probe, caller = _ends(runtime, Faults(request=DUPLICATE, reply=DUPLICATE))
    assert caller(30.0).echo(CTX, {"a": 1})["value"] == {"a": 1}
    assert [probe.next_begun(), probe.next_begun()] == ["echo", "echo"]


def test_a_delayed_cast_comes_later(runtime: ThreadRuntime) -> None:
    probe, caller = _ends(runtime, Faults(cast=Fault(delay_s=0.2)))
    began = runtime.clock.monotonic()
    caller(30.0).note(CTX, "late")
    assert probe.begun() == []
    assert probe.next_begun() == "late"
    assert runtime.clock.monotonic() - began >= 0.2


def test_a_broker_that_is_down_refuses_senders_and_loses_replies(runtime: ThreadRuntime) -> None:
    faults = Faults()
    probe, caller = _ends(runtime, faults)
    outcome = runtime.queue()

    def ask() -> None:
        try:
            caller(1.0).hold(CTX, "h")
        except errors.DroverError as exc:
            outcome.put(exc.code)

    asking = runtime.spawn("ask", ask)
    assert probe.next_begun() == "h"
    faults.down = True
    with pytest.raises(errors.BusUnavailable):
        caller(1.0).note(CTX, "x")
    probe.gate.set()
    assert asking.join(30)
    assert outcome.drain() == ["CallTimeout"]


def test_a_call_is_not_begun_after_its_caller_gave_up(runtime: ThreadRuntime) -> None:
    bus = EmbeddedBus(runtime)
    probe = Probe(runtime)
    server = bus.serve(Address("probe", "p1"), Endpoint(CONTRACT, probe), 1)
    api = client(CONTRACT, bus, server="p1", timeout_s=0.2)
    api.held_note(CTX, "busy")
    assert probe.next_begun() == "busy"
    with pytest.raises(errors.CallTimeout):
        api.echo(CTX, {})
    api.note(CTX, "after")
    probe.gate.set()
    assert probe.next_begun() == "after"
    server.stop()
    assert probe.begun() == []


def test_severing_takes_no_more_and_waits_for_nothing(runtime: ThreadRuntime) -> None:
    bus = EmbeddedBus(runtime)
    dying = bus.attach("dying", runtime)
    doomed, heir = Probe(runtime), Probe(runtime)
    dying.serve(Address("probe", "p1"), Endpoint(CONTRACT, doomed), 1)
    api = client(CONTRACT, bus, server="p1")
    api.held_note(CTX, "running")
    assert doomed.next_begun() == "running"
    dying.sever()
    api.note(CTX, "kept")
    with pytest.raises(errors.BusUnavailable):
        client(CONTRACT, dying, server="p1").note(CTX, "x")
    bus.serve(Address("probe", "p1"), Endpoint(CONTRACT, heir), 1)
    assert heir.next_begun() == "kept"
    doomed.gate.set()


def test_a_cast_to_a_queue_never_declared_is_lost(runtime: ThreadRuntime) -> None:
    bus = EmbeddedBus(runtime)
    client(CONTRACT, bus, server="p1").note(CTX, "lost")
    probe = Probe(runtime)
    bus.serve(Address("probe", "p1"), Endpoint(CONTRACT, probe), 1)
    with pytest.raises(QueueEmpty):
        probe._begun.get(0.1)


def test_a_queue_drops_its_oldest_when_full(runtime: ThreadRuntime) -> None:
    bus = EmbeddedBus(runtime)
    probe = Probe(runtime)
    bus.serve(Address("probe", "p1"), Endpoint(CONTRACT, probe), 1).stop()
    api = client(CONTRACT, bus, server="p1")
    for number in range(10_002):
        api.note(CTX, str(number))
    bus.serve(Address("probe", "p1"), Endpoint(CONTRACT, probe), 1)
    assert probe.next_begun() == "2"


def test_idle_it_has_no_thread(runtime: ThreadRuntime) -> None:
    import threading

    before = threading.active_count()
    bus = EmbeddedBus(runtime)
    bus.serve(Address("probe", "p1"), Endpoint(CONTRACT, Probe(runtime)), 4)
    assert threading.active_count() == before
    bus.close()
