"""Suspend: the guest's memory in libvirt's managed save, the guest off."""

from __future__ import annotations

from enum import Enum, auto

import libvirt

from agent.virt.driver import CancelToken
from agent.virt.libvirt.domain import Found
from agent.virt.libvirt.fault import is_code
from agent.virt.libvirt.guests import Guests
from drover import errors, log

__all__ = ["Suspension", "drop_saved", "end_save"]

LOG = log.get(__name__)

#: seconds between two looks at a save that an earlier incarnation began
_LOOK_S = 0.2
#: the cancel token ends a save long before; this is for a token that never does
_SAVE_TIMEOUT_S = 24 * 3600.0


class _Phase(Enum):
    OFF = auto()
    SAVED = auto()
    SAVING = auto()
    ON = auto()


class Suspension:
    """A save belongs to libvirtd: it goes on when the agent dies, and ends, the guest running, when libvirtd does."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests

    def suspend(self, instance_uuid: str, cancel: CancelToken) -> None:
        """Off and saved afterwards.

        :raises errors.GuestNotFound: not defined here. GuestConflict: off, with nothing saved.
        :raises errors.OperationCancelled: it runs on. A save that was done before it could be ended is done.
        :raises errors.DiskFull: it runs on.
        """
        while (phase := self._guests.with_own("suspend", instance_uuid, _look)) is not _Phase.SAVED:
            if phase is _Phase.OFF:
                raise errors.GuestConflict(instance=instance_uuid, reason="it is off, there is no memory to save")
            if phase is _Phase.ON:
                cancel.check()
                self._save(instance_uuid, cancel)
            elif cancel.wait(_LOOK_S):
                self._end(instance_uuid)

    def _save(self, instance_uuid: str, cancel: CancelToken) -> None:
        def meanwhile() -> None:
            if cancel.cancelled():
                self._end(instance_uuid)

        try:
            self._guests.with_own("suspend", instance_uuid, _save, timeout_s=_SAVE_TIMEOUT_S, meanwhile=meanwhile)
        except (errors.DriverUnavailable, errors.DiskFull):
            raise
        except errors.DriverError:
            if not cancel.cancelled():
                raise

    def _end(self, instance_uuid: str) -> None:
        try:
            self._guests.with_own("cancel suspend", instance_uuid, lambda own: end_save(own.domain))
        except errors.DriverError as exc:
            LOG.warning("save not ended", instance=instance_uuid, error=exc)  # the next look tries again


def drop_saved(domain: libvirt.virDomain) -> None:
    """Forget the saved memory of a domain that is off, or goes on without it; none there is fine."""
    if domain.hasManagedSaveImage():
        domain.managedSaveRemove()


def end_save(domain: libvirt.virDomain) -> None:
    """Cancel a save that is under way; libvirt lets the guest go on. None there is fine."""
    if not _saving(domain):
        return
    try:
        domain.abortJob()
    except libvirt.libvirtError as exc:
        if not is_code(exc, libvirt.VIR_ERR_OPERATION_INVALID):  # it ended meanwhile
            raise


def _look(own: Found) -> _Phase:
    domain = own.domain
    if not domain.isActive():
        return _Phase.SAVED if domain.hasManagedSaveImage() else _Phase.OFF
    if _saving(domain):
        return _Phase.SAVING
    # What is saved of a guest that runs is of the past, left by a libvirtd that died: to go on from there would set
    # its memory back, but not its disk.
    drop_saved(domain)
    return _Phase.ON


def _save(own: Found) -> None:
    own.domain.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)  # runs when it comes back, also if it is paused now


def _saving(domain: libvirt.virDomain) -> bool:
    """By the job, not by the pause: a guest that was paused before stays paused for its old reason."""
    try:
        job = domain.jobStats()
    except libvirt.libvirtError as exc:
        if is_code(exc, libvirt.VIR_ERR_OPERATION_INVALID):  # off
            return False
        raise
    return bool(job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE)
