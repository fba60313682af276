"""``GET /healthz`` over a real socket, with parts that the test makes well, unwell and hang."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from drover import errors
from drover.clock import from_iso
from drover.conf.health import HealthSettings
from drover.health import Health, Probe, Told
from drover.runtime.threads import ThreadRuntime
from tests.machine import wait_until

SETTINGS = HealthSettings(listen="127.0.0.1", agent_port=0, interval_s=0.1)


class Switch:
    """A part."""

    def __init__(self) -> None:
        self.trouble = ""
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> None:
        self.gate.wait()
        if self.trouble:
            raise errors.BusUnavailable(detail=self.trouble)


@contextmanager
def served(probes: dict[str, Probe], settings: HealthSettings = SETTINGS) -> Iterator[Health]:
    health = Health(ThreadRuntime(), settings, "agent", "h1", probes, lambda: {"session": 7})
    health.start()
    yield health
    health.stop()


def ask(health: Health, path: str = "/healthz") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", health.port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, json.loads(body) if response.headers["Content-Type"] == "application/json" else {}


def until(health: Health, status: int) -> dict[str, Any]:
    wait_until(lambda: ask(health)[0] == status, f"status {status}")
    return ask(health)[1]


def test_a_part_that_is_unwell_is_named_with_its_reason_and_since_when() -> None:
    bus = Switch()
    with served({"bus": bus, "other": Switch()}) as health:
        well = until(health, 200)
        assert well["healthy"]
        assert (well["service"], well["name"], well["facts"]) == ("agent", "h1", {"session": 7})
        bus.trouble = "connection refused"
        report = until(health, 503)
        assert not report["healthy"]
        assert report["parts"]["bus"]["detail"] == "message bus unavailable: connection refused"
        assert report["parts"]["other"]["ok"]
        since = report["parts"]["bus"]["since"]
        assert from_iso(since) > from_iso(well["parts"]["bus"]["since"])
        bus.trouble = "still refused"
        wait_until(lambda: "still" in ask(health)[1]["parts"]["bus"]["detail"], "the next look")
        assert ask(health)[1]["parts"]["bus"]["since"] == since
        bus.trouble = ""
        assert until(health, 200)["parts"]["bus"]["since"] > since


def test_a_part_that_hangs_is_unwell_and_holds_up_nobody() -> None:
    database = Switch()
    with served({"bus": Switch(), "database": database}) as health:
        until(health, 200)
        database.gate.clear()
        report = until(health, 503)
        assert report["parts"]["database"]["detail"].startswith("no answer for ")
        assert report["parts"]["bus"]["ok"]
        database.gate.set()
        until(health, 200)


def test_what_was_never_looked_at_is_not_well() -> None:
    part = Switch()
    part.gate.clear()
    with served({"bus": part}) as health:
        status, report = ask(health)
        assert (status, report["parts"]["bus"]["detail"]) == (503, "not looked at yet")
        part.gate.set()


def test_other_paths_are_not_there() -> None:
    with served({}) as health:
        assert ask(health, "/")[0] == 404


def test_it_is_off_by_default() -> None:
    with served({"bus": Switch()}, HealthSettings()) as health:
        assert health.port == 0


def test_a_port_that_is_taken_is_an_error_of_the_configuration() -> None:
    with served({}) as health:
        taken = HealthSettings(listen="127.0.0.1", agent_port=health.port)
        with pytest.raises(errors.InvalidConfig), served({}, taken):
            pass


def test_it_tells_of_a_service_before_its_start_and_until_after_its_stop() -> None:
    health = Health(ThreadRuntime(), SETTINGS, "agent", "h1", {})
    seen: list[int] = []

    class Slow:
        def start(self) -> None:
            seen.append(ask(health)[0])

        def stop(self) -> None:
            seen.append(ask(health)[0])

    told = Told(Slow(), health)
    told.start()
    told.stop()
    assert seen == [200, 200]
    assert health.port == 0
