"""Calls that may never return, each under a deadline.

A call into libvirt cannot be interrupted.  So it runs on a worker, and its caller waits no longer than the
deadline; a worker whose call is overdue is set aside and replaced, up to a bound.  At the bound new calls are
refused at once: the hypervisor is stuck, and more threads would only wait with the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from drover import errors, log
from drover.runtime import Event, Runtime

__all__ = ["Calls"]

LOG = log.get(__name__)

T = TypeVar("T")

#: seconds between two looks of a caller that has something to do meanwhile
_LOOK_S = 0.2


class _Call:
    __slots__ = ("abandoned", "done", "error", "operation", "result", "running", "work")

    def __init__(self, operation: str, work: Callable[[], Any], done: Event) -> None:
        self.operation = operation
        self.work = work
        self.done = done
        self.running = False
        self.abandoned = False
        self.result: Any = None
        self.error: BaseException | None = None

    def perform(self) -> None:
        try:
            self.result = self.work()
        except BaseException as exc:  # noqa: BLE001  handed to the caller
            self.error = exc


class Calls:
    """A pool of workers that survives calls which hang.

    :param workers: calls at once; more wait in order, and their wait counts against their deadline.
    :param spare: workers that may hang at once before new calls are refused.
    """

    def __init__(self, runtime: Runtime, *, workers: int, spare: int) -> None:
        self._runtime = runtime
        self._workers = workers
        self._spare = spare
        self._queue = runtime.queue()
        self._gate = runtime.lock()  # protects everything below and the flags of each call
        self._pending = 0  # calls neither finished nor abandoned
        self._alive = 0  # workers that are not set aside
        self._stuck = 0
        self._closed = False

    @property
    def stuck(self) -> int:
        """Workers set aside whose call has not returned yet."""
        return self._stuck

    def run(
        self, operation: str, work: Callable[[], T], timeout_s: float, *, meanwhile: Callable[[], None] | None = None
    ) -> T:
        """Do *work* on a worker and return what it returns.

        :param meanwhile: called again and again while *work* goes on; must not raise.

        :raises errors.DriverTimeout: it is not done after *timeout_s*; it may still take effect later.
        :raises errors.DriverUnavailable: too many earlier calls hang, or the pool is closed.
        :raises Exception: what *work* raised.
        """
        call = _Call(operation, work, self._runtime.event())
        with self._gate:
            self._admit()
        self._queue.put(call)
        if not self._wait(call, timeout_s, meanwhile) and self._abandon(call):
            raise errors.DriverTimeout(operation=operation, timeout_s=timeout_s)
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    def close(self) -> None:
        """Let the workers go as they fall idle; never waits."""
        with self._gate:
            self._closed = True
            leaving = self._alive
        for _ in range(leaving):
            self._queue.put(None)

    def _wait(self, call: _Call, timeout_s: float, meanwhile: Callable[[], None] | None) -> bool:
        """Whether *call* ended in time."""
        if meanwhile is None:
            return call.done.wait(timeout_s)
        deadline = self._runtime.clock.monotonic() + timeout_s
        while not call.done.wait(_LOOK_S):
            if self._runtime.clock.monotonic() >= deadline:
                return False
            meanwhile()
        return True

    def _admit(self) -> None:
        if self._closed:
            raise errors.DriverUnavailable(detail="the driver is closed")
        if self._stuck >= self._spare:
            raise errors.DriverUnavailable(detail=f"{self._stuck} earlier calls have not returned")
        self._pending += 1
        if self._alive < min(self._pending, self._workers):
            self._hire()

    def _hire(self) -> None:
        self._alive += 1
        self._runtime.spawn("libvirt-call", self._serve)

    def _abandon(self, call: _Call) -> bool:
        """Give *call* up; false when it has just finished."""
        with self._gate:
            if call.done.is_set():
                return False
            call.abandoned = True
            self._pending -= 1
            if call.running:
                self._stuck += 1
                self._alive -= 1
                if not self._closed and self._alive < min(self._pending, self._workers):
                    self._hire()
        LOG.warning("hypervisor call overdue", call=call.operation, stuck=self._stuck)
        return True

    def _serve(self) -> None:
        while True:
            call = self._queue.get()
            if not isinstance(call, _Call):
                return
            if self._begin(call):
                call.perform()
                if not self._finish(call):
                    return  # this worker was replaced meanwhile
            del call  # an idle worker must not keep alive what its last call held

    def _begin(self, call: _Call) -> bool:
        with self._gate:
            call.running = not call.abandoned
            return call.running

    def _finish(self, call: _Call) -> bool:
        with self._gate:
            if call.abandoned:
                self._stuck -= 1
                return False
            self._pending -= 1
            call.done.set()
            return True
