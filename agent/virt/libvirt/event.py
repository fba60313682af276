"""What libvirt says by itself: guests that start and stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import libvirt

from agent.virt.driver import PowerEvent
from agent.virt.libvirt.identity import domain_name
from drover.runtime import Event, Runtime
from drover.states import PowerState

__all__ = ["Events", "power_of_event"]

_BY_EVENT = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: PowerState.CRASHED,
}
_CRASHES = frozenset({libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED})


def power_of_event(event: int, detail: int) -> PowerState | None:
    """The power state a lifecycle event tells of; None when it tells of none."""
    if event == libvirt.VIR_DOMAIN_EVENT_STOPPED and detail in _CRASHES:
        return PowerState.CRASHED
    return _BY_EVENT.get(event)


class Events:
    """Hands lifecycle events on. Everything here runs in the event thread and only enqueues or sets a flag.

    While the connection is down events are lost: whoever needs the truth lists the guests after a reconnect.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._gate = runtime.lock()
        self._listeners: list[Callable[[PowerEvent], None]] = []
        self._changes: dict[str, list[Event]] = {}
        self._reboots: dict[str, list[Event]] = {}

    def attach(self, connection: libvirt.virConnect) -> list[int]:
        """Register with a fresh connection; returns libvirt's ids of the registrations.

        :raises libvirt.libvirtError: the connection is gone again.
        """
        lifecycle = (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle)
        reboot = (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot)
        return [connection.domainEventRegisterAny(None, kind, handler, None) for kind, handler in (lifecycle, reboot)]

    def subscribe(self, listener: Callable[[PowerEvent], None]) -> None:
        with self._gate:
            self._listeners = [*self._listeners, listener]

    def changes_of(self, instance_uuid: str) -> AbstractContextManager[Event]:
        """A flag that is set whenever the guest starts, stops or pauses: a hint to look again."""
        return self._flag(self._changes, instance_uuid)

    def reboots_of(self, instance_uuid: str) -> AbstractContextManager[Event]:
        """A flag that is set when the guest's machine is reset."""
        return self._flag(self._reboots, instance_uuid)

    @contextmanager
    def _flag(self, waiting: dict[str, list[Event]], instance_uuid: str) -> Iterator[Event]:
        flag = self._runtime.event()
        with self._gate:
            waiting.setdefault(instance_uuid, []).append(flag)
        try:
            yield flag
        finally:
            with self._gate:
                waiting[instance_uuid].remove(flag)
                if not waiting[instance_uuid]:
                    del waiting[instance_uuid]

    def _on_lifecycle(self, _: Any, domain: libvirt.virDomain, event: int, detail: int, __: Any) -> None:
        instance_uuid = domain.UUIDString()
        if domain.name() != domain_name(instance_uuid):
            return  # not a guest of Drover's
        self._wake(self._changes, instance_uuid)
        power_state = power_of_event(event, detail)
        if power_state is None:
            return
        for listener in self._listeners:
            listener(PowerEvent(instance_uuid, power_state))

    def _on_reboot(self, _: Any, domain: libvirt.virDomain, __: Any) -> None:
        self._wake(self._reboots, domain.UUIDString())

    def _wake(self, waiting: dict[str, list[Event]], instance_uuid: str) -> None:
        with self._gate:
            flags = list(waiting.get(instance_uuid, ()))
        for flag in flags:
            flag.set()
