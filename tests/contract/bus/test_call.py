"""Calls: values, context, errors and time."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from drover import errors
from drover.conf.bus import BusSettings
from drover.rpc.bus import MAX_MESSAGE_BYTES, Address, Message
from drover.rpc.contract import Endpoint
from drover.rpc.transport import RabbitBus
from tests.contract.bus.conftest import CTX, Wire
from tests.contract.bus.probe import CONTRACT, Probe


def test_a_value_comes_back_as_it_went(wire: Wire) -> None:
    wire.serve(Probe(wire.runtime))
    value = {"text": "naïve ☂ \u0000", "list": [1, 2.5, None, True], "nested": {"empty": {}}}
    assert wire.client().echo(CTX, value, times=3) == {"value": value, "times": 3}


def test_a_default_of_the_contract_fills_a_missing_argument(wire: Wire) -> None:
    wire.serve(Probe(wire.runtime))
    assert wire.client().echo(CTX, {}) == {"value": {}, "times": 1}


def test_the_context_crosses(wire: Wire) -> None:
    wire.serve(Probe(wire.runtime))
    assert wire.client().context(CTX) == CTX


def test_a_typed_error_crosses_without_the_far_traceback(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.serve(Probe(wire.runtime))
    with caplog.at_level(logging.INFO), pytest.raises(errors.InstanceBusy) as caught:
        wire.client().fail(CTX, "typed")
    assert type(caught.value) is errors.InstanceBusy
    assert caught.value.kwargs["operation_id"] == "o-1"
    assert str(caught.value) == "instance i-1 is busy with build (operation o-1, 3 s old, running)"
    refused = [record for record in caplog.records if "InstanceBusy" in record.getMessage()]
    assert [record.levelname for record in refused] == ["INFO"]
    assert not [record for record in caplog.records if record.exc_info]


def test_a_bug_of_the_server_is_internal_and_logged_once(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.serve(Probe(wire.runtime))
    with caplog.at_level(logging.INFO), pytest.raises(errors.DroverError) as caught:
        wire.client().fail(CTX, "bug")
    assert type(caught.value) is errors.DroverError
    assert caught.value.kwargs["detail"].startswith("ValueError: a bug")
    assert "Traceback" not in str(caught.value)
    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert wire.client().echo(CTX, {})["value"] == {}


@pytest.mark.parametrize(
    ("method", "args", "error"),
    [
        ("no_such_method", {}, errors.UnknownMethod),
        ("secret", {}, errors.UnknownMethod),
        ("__init__", {}, errors.UnknownMethod),
        ("echo", {}, errors.BadRequest),
        ("echo", {"value": "no dict"}, errors.BadRequest),
        ("echo", {"value": {}, "times": "3"}, errors.BadRequest),
        ("echo", {"value": {}, "surplus": 1}, errors.BadRequest),
    ],
)
def test_a_wrong_request_is_refused_and_runs_nothing(
    wire: Wire, method: str, args: dict[str, Any], error: type[errors.DroverError]
) -> None:
    probe = Probe(wire.runtime)
    wire.serve(probe)
    message = Message(method=method, args=args, context={"request_id": "r"}, version="1.0")
    with pytest.raises(error) as caught:
        wire.calling.call(wire.address, message, 30)
    assert type(caught.value) is error
    assert probe.begun() == []


def test_a_request_without_context_is_refused(wire: Wire) -> None:
    wire.serve(Probe(wire.runtime))
    with pytest.raises(errors.BadRequest):
        wire.calling.call(wire.address, Message(method="echo", args={"value": {}}, version="1.0"), 30)


@pytest.mark.parametrize("version", ["1.3", "2.0", "0.9"])
def test_a_version_the_server_does_not_speak_is_refused(wire: Wire, version: str) -> None:
    wire.serve(Probe(wire.runtime))
    message = Message(method="echo", args={"value": {}}, context={"request_id": "r"}, version=version)
    with pytest.raises(errors.UnsupportedVersion):
        wire.calling.call(wire.address, message, 30)


def test_what_is_no_json_is_refused_before_it_is_sent(wire: Wire) -> None:
    probe = Probe(wire.runtime)
    wire.serve(probe)
    for unsendable in (object(), "\ud800"):
        message = Message(method="echo", args={"value": {"x": unsendable}}, context={"request_id": "r"})
        with pytest.raises(errors.BadRequest):
            wire.calling.call(wire.address, message, 30)
    assert probe.begun() == []


def test_an_argument_of_16_mib_is_refused_before_it_is_sent(wire: Wire) -> None:
    probe = Probe(wire.runtime)
    wire.serve(probe)
    with pytest.raises(errors.MessageTooLarge) as caught:
        wire.client().echo(CTX, {"x": "x" * (16 << 20)})
    assert caught.value.kwargs["limit_bytes"] == MAX_MESSAGE_BYTES
    assert probe.begun() == []


def test_a_result_over_the_limit_is_an_error_at_once(wire: Wire) -> None:
    wire.serve(Probe(wire.runtime))
    with pytest.raises(errors.MessageTooLarge):
        wire.client().fill(CTX, MAX_MESSAGE_BYTES)
    assert len(wire.client().fill(CTX, MAX_MESSAGE_BYTES // 2)) == MAX_MESSAGE_BYTES // 2


def test_a_call_to_nobody_times_out(wire: Wire) -> None:
    began = wire.runtime.clock.monotonic()
    with pytest.raises(errors.CallTimeout) as caught:
        wire.calling.call(Address("probe", f"nobody-{wire.name}"), Message(method="echo"), 0.3)
    assert caught.value.kwargs["method"] == "echo"
    assert 0.3 <= wire.runtime.clock.monotonic() - began < 10


def test_a_call_the_server_is_slow_to_answer_times_out(wire: Wire) -> None:
    probe = Probe(wire.runtime)
    wire.serve(probe)
    with pytest.raises(errors.CallTimeout):
        wire.client(timeout_s=0.3).hold(CTX, "slow")
    assert probe.next_begun() == "slow"
    probe.gate.set()
    assert wire.client().echo(CTX, {})["value"] == {}


@pytest.mark.parametrize("wire", ["embedded", "rabbit"], indirect=True)  # unix holds nothing that could be closed
def test_a_closed_bus_refuses(wire: Wire, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if wire.kind == "rabbit":
        settings = BusSettings(transport_url=request.getfixturevalue("rabbitmq_url"))
        monkeypatch.setattr(wire, "calling", RabbitBus(wire.runtime, settings, name="closed"))
    wire.calling.close()
    with pytest.raises(errors.BusUnavailable):
        wire.client().echo(CTX, {})
    with pytest.raises(errors.BusUnavailable):
        wire.client().note(CTX, "x")
    with pytest.raises(errors.BusUnavailable):
        wire.calling.serve(wire.address, Endpoint(CONTRACT, Probe(wire.runtime)), 1)
