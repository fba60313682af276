"""The life of a process: start, wait for a signal or a fatal error, drain, leave with an exit code."""

from __future__ import annotations

import os
import signal
import socket
from queue import SimpleQueue
from typing import Protocol

from drover import errors, log
from drover.runtime.runtime import Runtime

__all__ = ["Fatal", "Service", "run"]

LOG = log.get(__name__)


class Service(Protocol):
    """What a process consists of."""

    def start(self) -> None:
        """Begin to work and return. May wait for the database or the broker as long as it takes."""

    def stop(self) -> None:
        """Drain and return. May come while :meth:`start` still waits, which must then give up."""


class Fatal:
    """Called by any task of a service: the process cannot go on, for *exc* (``StaleSession``, a lost lock).

    Made before the service and given to it; :func:`run` listens.  The first reason counts.
    """

    def __init__(self) -> None:
        self._reasons: SimpleQueue[BaseException | None] = SimpleQueue()

    def __call__(self, exc: Exception) -> None:
        self._reasons.put(exc)

    def ask_to_stop(self) -> None:
        """End the process in good order, exit code 0."""
        self._reasons.put(None)

    def wait(self) -> BaseException | None:
        """The reason to end; ``None`` when it was asked for."""
        return self._reasons.get()


def run(service: Service, runtime: Runtime, name: str, *, fatal: Fatal | None = None) -> int:
    """Run *service* until SIGTERM or SIGINT, or until it reports a fatal error; call from the main thread.

    The first signal drains; the second ends the process at once with status 128 + signal.

    :return: 0 after a signal, else the ``exit_code`` of the fatal error (1 for one without).
    """
    end = fatal or Fatal()
    _listen(end, runtime)

    def start() -> None:
        try:
            service.start()
        except Exception as exc:  # noqa: BLE001  goes to the main thread, which reports it
            end(exc)
        else:
            LOG.info("started", process=name, pid=os.getpid())

    runtime.spawn(f"{name}-start", start)
    reason = end.wait()
    LOG.info("stopping", process=name)
    began = runtime.clock.monotonic()
    _stop(service, name)
    LOG.info("stopped", process=name, drain_s=round(runtime.clock.monotonic() - began, 3))
    return _report(reason, name)


def _listen(end: Fatal, runtime: Runtime) -> None:
    """Have SIGTERM and SIGINT heard by a task of their own, whatever the main thread does.

    A Python handler runs only when the main thread next runs Python, and that may be never: one that begins to
    wait just after the signal, or whose signal the kernel gave to another thread, sleeps on.  What Python writes
    to the wakeup fd is there at once and stays until it is read.
    """
    numbers, wakeup = socket.socketpair()
    wakeup.setblocking(False)

    def listen() -> None:
        with numbers, wakeup:
            numbers.recv(1)
            end.ask_to_stop()
            os._exit(128 + numbers.recv(1)[0])

    runtime.spawn("signals", listen)
    signal.set_wakeup_fd(wakeup.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


def _stop(service: Service, name: str) -> None:
    try:
        service.stop()
    except Exception:  # the process ends all the same
        LOG.exception("stop failed", process=name)


def _report(reason: BaseException | None, name: str) -> int:
    if reason is None:
        return 0
    if isinstance(reason, errors.DroverError):
        LOG.error("fatal", process=name, code=reason.code, error=reason)
        return reason.exit_code
    LOG.error("fatal", cause=reason, process=name)
    return 1
