"""The command line against :class:`Scripted`, in this process."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from drover import errors
from drover.cli import main
from drover.cli.session import Session
from drover.rpc import agent, conductor
from drover.rpc.bus import Address, Dispatcher, Message, Server
from drover.rpc.contract import Endpoint
from drover.rpc.embedded import EmbeddedBus
from drover.runtime.threads import ThreadRuntime
from tests.functional.cli.scripted import Scripted, ScriptedAgent


class Flaky:
    """A bus that fails on demand: before a request gets through, or after, when only the answer is lost."""

    def __init__(self, bus: EmbeddedBus) -> None:
        self._bus = bus
        self.unsent: list[str] = []  # methods; each entry fails once
        self.unanswered: list[str] = []

    def call(self, address: Address, message: Message, timeout_s: float = 10.0) -> Any:
        if message.method in self.unsent:
            self.unsent.remove(message.method)
            raise errors.BusUnavailable(detail="connection refused")
        answer = self._bus.call(address, message, timeout_s)
        # A preview that is lost proves nothing: the entry is for what changes something.
        if message.method in self.unanswered and not message.args.get("dry_run"):
            self.unanswered.remove(message.method)
            raise errors.CallTimeout(topic=str(address), method=message.method, timeout_s=timeout_s)
        return answer

    def cast(self, address: Address, message: Message) -> None:
        self._bus.cast(address, message)

    def serve(self, address: Address, dispatcher: Dispatcher, workers: int) -> Server:
        return self._bus.serve(address, dispatcher, workers)

    def close(self) -> None:
        self._bus.close()


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def console() -> ScriptedAgent:
    return ScriptedAgent()


@pytest.fixture
def bus(scripted: Scripted, console: ScriptedAgent) -> Iterator[Flaky]:
    embedded = EmbeddedBus(ThreadRuntime())
    embedded.serve(Address("conductor"), Endpoint(conductor.CONTRACT, cast("Any", scripted)), 2)
    embedded.serve(Address("conductor_wait"), Endpoint(conductor.WAIT_CONTRACT, cast("Any", scripted)), 2)
    embedded.serve(Address("agent", "host-1"), Endpoint(agent.CONTRACT, cast("Any", console)), 1)
    yield Flaky(embedded)
    embedded.close()


Drover = Callable[..., Result]


@pytest.fixture
def drover(bus: Flaky, capsys: pytest.CaptureFixture[str]) -> Drover:
    """Run one command as in a script: no terminal anywhere."""

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        status = main.run(arguments, Session(bus=bus, runtime=ThreadRuntime()))
        out, err = capsys.readouterr()
        return Result(status, out, err)

    return run


@pytest.fixture
def terminal(bus: Flaky, monkeypatch: pytest.MonkeyPatch) -> Drover:
    """Run one command as a person does: standard output and error are one terminal, *columns* wide."""

    def run(*arguments: str, columns: int = 100) -> Result:
        reader, writer = pty.openpty()
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm-256color")
        screen = os.fdopen(writer, "w", encoding="utf-8")
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "stderr", screen)
        seen: list[bytes] = []

        def read() -> None:
            while True:
                try:
                    part = os.read(reader, 65536)
                except OSError:  # the other end was closed
                    return
                if not part:
                    return
                seen.append(part)

        reading = ThreadRuntime().spawn("terminal", read)
        status = main.run(arguments, Session(bus=bus, runtime=ThreadRuntime()))
        monkeypatch.undo()
        screen.close()
        assert reading.join(10)
        os.close(reader)
        return Result(status, b"".join(seen).decode(), "")

    return run
