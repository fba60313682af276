"""The connection to libvirtd: opened, watched and opened again.

A call over it ends: with an answer, or with :class:`~drover.errors.DriverUnavailable` or ``DriverTimeout``
within its deadline.  "No answer" is never taken for an empty one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import libvirt

from agent.virt.libvirt.calls import Calls
from agent.virt.libvirt.event import Events
from agent.virt.libvirt.fault import is_code, translate
from drover import errors, log
from drover.runtime import Runtime, Task

__all__ = ["Connection"]

LOG = log.get(__name__)

T = TypeVar("T")

#: libvirtd is taken for dead after 5 s × 3 without an answer, which also ends every call that waits for it
_KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT = 5, 3
_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 2.0


class _Link:
    """One open connection; ``lost`` once it is known to be dead."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self.connection = connection
        self.lost = False
        self.registrations: list[int] = []


class Connection:
    """One at a time, shared by all calls: libvirt multiplexes them.

    :param timeout_s: deadline of a call that names none.
    """

    def __init__(self, runtime: Runtime, calls: Calls, events: Events, *, uri: str, timeout_s: float) -> None:
        self._runtime = runtime
        self._calls = calls
        self._events = events
        self._uri = uri
        self._timeout_s = timeout_s
        self._link: _Link | None = None
        self._reason = f"connecting to {uri}"
        self._tried = runtime.event()  # an attempt has ended since the last loss
        self._wake = runtime.event()  # the keeper has something to do
        self._closed = False
        self._tasks: list[Task] = []

    def start(self) -> None:
        """Begin to connect, in the background."""
        libvirt.registerErrorHandler(_silent, None)  # by default libvirt prints each error on stderr
        libvirt.virEventRegisterDefaultImpl()
        self._tasks = [
            self._runtime.spawn("libvirt-events", self._pump),
            self._runtime.spawn("libvirt-keeper", self._keep),
        ]

    def call(
        self,
        operation: str,
        work: Callable[[libvirt.virConnect], T],
        *,
        timeout_s: float | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> T:
        """Run *work* with the open connection, on a worker, under a deadline; *meanwhile* as in :meth:`Calls.run`.

        :raises errors.DriverUnavailable: no connection, or it broke: whether *work* took effect is unknown.
        :raises errors.DriverTimeout: no answer in time; it may still take effect.
        :raises errors.DriverError: libvirt refused.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        link = self._current(limit_s)
        try:
            return self._calls.run(operation, lambda: work(link.connection), limit_s, meanwhile=meanwhile)
        except libvirt.libvirtError as exc:
            connected = not link.lost and _is_alive(link)
            if not connected:
                self._lose(link)
            raise translate(exc, operation, connected=connected) from exc

    def close(self) -> None:
        """Disconnect and end the threads; guests stay as they are."""
        self._closed = True
        self._wake.set()
        # an iteration of libvirt's event loop waits for something to happen: this happens
        timer = libvirt.virEventAddTimeout(10, lambda *_: None, None)
        for task in self._tasks:
            task.join(2.0)
        libvirt.virEventRemoveTimeout(timer)

    def _current(self, timeout_s: float) -> _Link:
        link = self._link
        if link is None or link.lost:
            self._tried.wait(timeout_s)
            link = self._link
        if link is None or link.lost:
            raise errors.DriverUnavailable(detail=self._reason)
        return link

    def _lose(self, link: _Link) -> None:
        """May be called from any thread, the event thread too."""
        if not link.lost:
            link.lost = True
            self._reason = "the connection broke"
            self._tried.clear()
            self._wake.set()

    def _pump(self) -> None:
        while not self._closed:
            libvirt.virEventRunDefaultImpl()

    def _keep(self) -> None:
        delay_s = _FIRST_RETRY_S
        while not self._closed:
            self._wake.clear()
            if self._link is not None and self._link.lost:
                LOG.warning("libvirt connection lost", uri=self._uri)
                self._drop()
            if self._link is None and not self._open():
                self._wake.wait(delay_s)
                delay_s = min(delay_s * 2, _LAST_RETRY_S)
                continue
            delay_s = _FIRST_RETRY_S
            self._wake.wait()
        self._drop()

    def _open(self) -> bool:
        # A hung libvirtd holds this up; callers are told so at their own deadlines.
        try:
            self._link = link = _Link(libvirt.open(self._uri))
            _keep_alive(link.connection)
            link.connection.registerCloseCallback(lambda _, __, opened: self._lose(opened), link)
            link.registrations = self._events.attach(link.connection)
        except libvirt.libvirtError as exc:
            self._drop()
            reason = exc.get_error_message() or str(exc)
            if reason != self._reason:
                LOG.warning("no connection to libvirt", uri=self._uri, error=reason)
            self._reason = reason
        else:
            LOG.info("connected to libvirt", uri=self._uri)
        self._tried.set()
        return self._link is not None

    def _drop(self) -> None:
        """Undo what holds the connection. It closes when the last call over it has let go."""
        link, self._link = self._link, None
        if link is None:
            return
        for registration in link.registrations:
            _quietly(partial(link.connection.domainEventDeregisterAny, registration))
        _quietly(link.connection.unregisterCloseCallback)


def _is_alive(link: _Link) -> bool:
    try:
        return bool(link.connection.isAlive() == 1)
    except libvirt.libvirtError:
        return False


def _keep_alive(connection: libvirt.virConnect) -> None:
    try:
        connection.setKeepAlive(_KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT)
    except libvirt.libvirtError as exc:
        if not is_code(exc, libvirt.VIR_ERR_NO_SUPPORT):  # a driver without a daemon behind it
            raise


def _quietly(undo: Callable[[], Any]) -> None:
    try:
        undo()
    except libvirt.libvirtError as exc:
        LOG.debug("libvirt clean-up", error=exc)


def _silent(*_: Any) -> None:
    """libvirt's error handler: the errors are raised as well."""
