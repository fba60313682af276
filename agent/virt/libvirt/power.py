"""Power: on, off, and round again; and a stand-still between."""

from __future__ import annotations

from collections.abc import Callable

import libvirt

from agent.virt.driver import CancelToken
from agent.virt.libvirt import domain
from agent.virt.libvirt.domain import Found
from agent.virt.libvirt.event import Events
from agent.virt.libvirt.fault import is_code
from agent.virt.libvirt.guests import Guests
from agent.virt.libvirt.suspension import drop_saved, end_save
from drover import errors, log
from drover.conf.libvirt import LibvirtSettings
from drover.runtime import Runtime
from drover.states import PowerState

__all__ = ["Power"]

LOG = log.get(__name__)

#: a guest that still boots misses the power button, so it is pressed again
_PRESS_AGAIN_S = 10.0
#: longest wait between two looks at the cancel token
_LOOK_S = 0.5


class Power:
    """Each verb ends in the state it names, wherever it began."""

    def __init__(self, runtime: Runtime, guests: Guests, events: Events, settings: LibvirtSettings) -> None:
        self._clock = runtime.clock
        self._guests = guests
        self._events = events
        self._start_s = settings.start_timeout_s
        self._soft_s = settings.soft_reboot_timeout_s

    def start(self, instance_uuid: str) -> None:
        """:raises errors.GuestNotFound: not defined here."""
        self._guests.with_own("start", instance_uuid, _run, timeout_s=self._start_s)

    def stop(self, instance_uuid: str, timeout_s: float, cancel: CancelToken) -> None:
        """Off afterwards, with nothing saved; a guest that is not here is off.

        :raises errors.OperationCancelled: the guest may still obey the button pressed before.
        """
        try:
            obeyed = timeout_s > 0 and self._shut_down(instance_uuid, timeout_s, cancel)
            self._guests.with_own("stop", instance_uuid, _forget if obeyed else _cut, timeout_s=self._start_s)
        except errors.GuestNotFound:
            return

    def pause(self, instance_uuid: str) -> None:
        """:raises errors.GuestNotFound: not defined here. GuestConflict: off."""
        self._guests.with_own("pause", instance_uuid, _stand_still)

    def unpause(self, instance_uuid: str) -> None:
        """:raises errors.GuestNotFound: not defined here. GuestConflict: off."""
        self._guests.with_own("unpause", instance_uuid, _unpause)

    def reboot(self, instance_uuid: str, operation_id: str, *, hard: bool) -> None:
        """Stamp first, so that the stamp is there whenever something was done.

        A guest that is off is started, one that is paused or suspended boots afresh.
        """
        self._guests.with_own("stamp", instance_uuid, lambda own: domain.restamp(own.domain, operation_id))
        if hard or not self._reset_by_guest(instance_uuid):
            self._guests.with_own("reboot", instance_uuid, _cycle, timeout_s=self._start_s * 2)

    def _shut_down(self, instance_uuid: str, timeout_s: float, cancel: CancelToken) -> bool:
        """Whether the guest went off by itself. A restart of libvirtd meanwhile changes nothing."""
        began = self._clock.monotonic()
        press_at = began
        with self._events.changes_of(instance_uuid) as changed:
            while True:
                cancel.check()
                changed.clear()
                now = self._clock.monotonic()
                power_state = self._press(instance_uuid, button=now >= press_at)
                if now >= press_at:
                    press_at = now + _PRESS_AGAIN_S
                if power_state not in {PowerState.RUNNING, PowerState.UNKNOWN}:
                    return power_state is not PowerState.PAUSED  # who is paused cannot obey
                left_s = began + timeout_s - self._clock.monotonic()
                if left_s <= 0:
                    LOG.warning("guest ignores the power button", instance=instance_uuid, after_s=timeout_s)
                    return False
                changed.wait(min(_LOOK_S, left_s))

    def _press(self, instance_uuid: str, *, button: bool) -> PowerState:
        """Look, and press the power button of a running guest when *button*; unknown while libvirtd is away."""

        def do(own: Found) -> PowerState:
            power_state = domain.power_of_domain(own.domain)
            if button and power_state is PowerState.RUNNING:
                _ask(own.domain.shutdownFlags, libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
            return power_state

        try:
            return self._guests.with_own("shut down", instance_uuid, do)
        except (errors.DriverUnavailable, errors.DriverTimeout):
            return PowerState.UNKNOWN

    def _reset_by_guest(self, instance_uuid: str) -> bool:
        """Ask a running guest to reboot; whether it did within the time allowed."""
        if self._soft_s <= 0:
            return False
        with self._events.reboots_of(instance_uuid) as rebooted:
            if not self._guests.with_own("reboot", instance_uuid, _ask_to_reboot):
                return False
            if rebooted.wait(self._soft_s):
                return True
        LOG.warning("guest ignores the soft reboot", instance=instance_uuid, after_s=self._soft_s)
        return False


def _run(own: Found) -> None:
    if not own.domain.isActive():
        try:
            own.domain.create()
        except libvirt.libvirtError:
            if not own.domain.isActive():  # else somebody was faster
                raise
    _go_on(own)


def _go_on(own: Found) -> None:
    end_save(own.domain)
    if domain.power_of_domain(own.domain) is PowerState.RUNNING:
        return
    try:
        own.domain.resume()  # waits for a save that was ended
    except libvirt.libvirtError:
        if domain.power_of_domain(own.domain) is not PowerState.RUNNING:
            raise


def _unpause(own: Found) -> None:
    _must_be_on(own)
    _go_on(own)


def _stand_still(own: Found) -> None:
    """Whatever paused it before, it stands still; what libvirt itself is at with it has to end first."""
    _must_be_on(own)
    end_save(own.domain)
    try:
        own.domain.suspend()
    except libvirt.libvirtError:
        if domain.power_of_domain(own.domain) is not PowerState.PAUSED:
            raise


def _must_be_on(own: Found) -> None:
    if not own.domain.isActive():
        raise errors.GuestConflict(instance=own.domain.UUIDString(), reason="it is off")


def _cut(own: Found) -> None:
    """Off, and nothing is left to go on from."""
    try:
        own.domain.destroy()
    except libvirt.libvirtError as exc:
        if not is_code(exc, libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):  # already off
            raise
    _forget(own)


def _forget(own: Found) -> None:
    drop_saved(own.domain)


def _cycle(own: Found) -> None:
    _cut(own)
    _run(own)


def _ask(press: Callable[[int], object], flags: int) -> None:
    try:
        press(flags)
    except libvirt.libvirtError as exc:
        if not is_code(exc, libvirt.VIR_ERR_OPERATION_INVALID):  # it stopped running since we looked
            raise


def _ask_to_reboot(own: Found) -> bool:
    if domain.power_of_domain(own.domain) is not PowerState.RUNNING:
        return False
    _ask(own.domain.reboot, libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)
    return True
