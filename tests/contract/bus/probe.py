"""A contract with one method for each thing a bus can do to a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from drover import errors
from drover.rpc.context import RequestContext
from drover.rpc.contract import Contract, call, cast_
from drover.runtime import Event
from drover.runtime.threads import ThreadRuntime

__all__ = ["CONTRACT", "Probe", "ProbeAPI"]


class ProbeAPI(Protocol):
    @call
    def echo(self, ctx: RequestContext, value: dict[str, Any], times: int = 1) -> dict[str, Any]: ...

    @call
    def context(self, ctx: RequestContext) -> RequestContext: ...

    @call
    def fail(self, ctx: RequestContext, kind: str) -> None: ...

    @call
    def fill(self, ctx: RequestContext, size_bytes: int) -> str: ...

    @call
    def hold(self, ctx: RequestContext, tag: str) -> str: ...

    @cast_
    def note(self, ctx: RequestContext, tag: str) -> None: ...

    @cast_
    def held_note(self, ctx: RequestContext, tag: str) -> None: ...


CONTRACT = Contract("probe", "1.2", ProbeAPI)


@dataclass
class Probe:
    """Implements the contract; ``hold`` waits for :attr:`gate`, and everything begun is queued in order."""

    runtime: ThreadRuntime
    gate: Event = field(init=False)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.gate = self.runtime.event()
        self._begun = self.runtime.queue()
        self._lock = self.runtime.lock()
        self._running = 0

    def next_begun(self) -> str:
        return str(self._begun.get(30))

    def begun(self) -> list[str]:
        """All not yet taken."""
        return [str(tag) for tag in self._begun.drain()]

    def echo(self, ctx: RequestContext, value: dict[str, Any], times: int = 1) -> dict[str, Any]:
        self._begun.put("echo")
        return {"value": value, "times": times}

    def context(self, ctx: RequestContext) -> RequestContext:
        return ctx

    def fail(self, ctx: RequestContext, kind: str) -> None:
        if kind == "typed":
            raise errors.InstanceBusy(instance="i-1", action="build", operation_id="o-1", age_s=3, state="running")
        raise ValueError("a bug\nin two lines")

    def fill(self, ctx: RequestContext, size_bytes: int) -> str:
        return "x" * size_bytes

    def hold(self, ctx: RequestContext, tag: str) -> str:
        self._hold(tag)
        return tag

    def note(self, ctx: RequestContext, tag: str) -> None:
        self._begun.put(tag)

    def held_note(self, ctx: RequestContext, tag: str) -> None:
        self._hold(tag)

    def secret(self, ctx: RequestContext) -> str:
        """Not of the contract."""
        return "secret"

    def _hold(self, tag: str) -> None:
        with self._lock:
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        self._begun.put(tag)
        assert self.gate.wait(60)
        with self._lock:
            self._running -= 1
