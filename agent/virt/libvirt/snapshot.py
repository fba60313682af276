"""Snapshots: a flat copy of the root disk as it is at one moment.

Of a guest that runs, by libvirt's backup job: QEMU copies, and keeps aside what the guest overwrites meanwhile.
The job lives in QEMU: it outlives the agent and libvirtd, and ends with the guest.  Of a guest that is off, by
qemu-img, which ends with the agent.
"""

from __future__ import annotations

from pathlib import Path

import libvirt

from agent.virt import driver
from agent.virt.driver import CancelToken
from agent.virt.libvirt import quiesce
from agent.virt.libvirt.disk import Disks, virtual_size
from agent.virt.libvirt.domain import Found
from agent.virt.libvirt.fault import DISK_FULL, is_code
from agent.virt.libvirt.folder import Folder, Folders, partial_of, publish, unlink
from agent.virt.libvirt.guests import Guests
from agent.virt.libvirt.xml.backup import backup_target, backup_xml, disk_of
from drover import errors
from drover.objects.catalog import ImageFormat
from drover.runtime import Runtime

__all__ = ["Snapshots"]

#: seconds between two looks at a job: at first, at most, and altogether at one that is to end
_FIRST_LOOK_S, _LAST_LOOK_S, _END_S = 0.05, 0.5, 60.0
#: seconds for freezing, starting the job and thawing
_BEGIN_S = 120.0
_AWAY = (errors.DriverUnavailable, errors.DriverTimeout)


class Snapshots:
    """One at a time of a guest: libvirt has one backup job a domain."""

    def __init__(self, runtime: Runtime, guests: Guests, folders: Folders) -> None:
        self._runtime = runtime
        self._guests = guests
        self._folders = folders
        self._disks = Disks(runtime)

    def take(self, instance_uuid: str, snapshot_id: str, cancel: CancelToken) -> driver.Snapshot:
        """Copy, having removed what an earlier call left.

        :raises errors.GuestNotFound: not defined here.
        :raises errors.DiskFull, errors.OperationCancelled: nothing is left, and the guest goes on.
        :raises errors.DriverUnavailable: the copy may go on; :meth:`discard` ends it.
        """
        cancel.check()
        folder = self._folder(instance_uuid)
        path = folder.snapshot(snapshot_id)
        self._clear(instance_uuid, folder, path)
        try:
            quiesced = self._copy(instance_uuid, folder, partial_of(path), cancel)
            publish(partial_of(path), path)
        except _AWAY:
            raise
        except errors.DroverError:
            self._clear(instance_uuid, folder, path)
            raise
        size = virtual_size(path, ImageFormat.QCOW2)
        return driver.Snapshot(path=str(path), format=ImageFormat.QCOW2, virtual_size_bytes=size, quiesced=quiesced)

    def discard(self, instance_uuid: str, snapshot_id: str) -> None:
        """Nothing of the snapshot is left, and no job or freeze for it. None there is fine."""
        try:
            folder = self._folder(instance_uuid)
        except errors.GuestNotFound:
            return
        self._clear(instance_uuid, folder, folder.snapshot(snapshot_id))

    def _folder(self, instance_uuid: str) -> Folder:
        epoch = self._guests.with_own("find domain", instance_uuid, lambda own: own.epoch)
        return self._folders.of(instance_uuid, epoch)

    def _copy(self, instance_uuid: str, folder: Folder, partial: Path, cancel: CancelToken) -> bool:
        """Whether the filesystems were frozen for it."""
        if not self._guests.with_own("snapshot", instance_uuid, lambda own: bool(own.domain.isActive())):
            self._disks.copy(folder.disk, partial, cancel)
            return False

        def begin(own: Found) -> bool:
            return _begin(own.domain, folder, partial)

        quiesced = self._guests.with_own("snapshot", instance_uuid, begin, timeout_s=_BEGIN_S)
        self._await(instance_uuid, partial, cancel)
        return quiesced

    def _await(self, instance_uuid: str, partial: Path, cancel: CancelToken) -> None:
        """Until the job has done its work. A libvirtd that restarts finds the job again: it is waited for."""
        pause_s = _FIRST_LOOK_S
        while True:
            if cancel.wait(pause_s):
                cancel.check()
            pause_s = min(2 * pause_s, _LAST_LOOK_S)
            try:
                failure = self._guests.with_own("snapshot", instance_uuid, lambda own: _look(own.domain, partial))
            except _AWAY:
                continue
            if failure is None:
                continue
            if DISK_FULL in failure:
                raise errors.DiskFull(what="snapshot", path=str(partial.parent))
            if failure:
                raise errors.DriverError(operation="snapshot", detail=failure)
            return

    def _clear(self, instance_uuid: str, folder: Folder, path: Path) -> None:
        deadline = self._runtime.clock.monotonic() + _END_S
        while self._guests.with_own(
            "end snapshot", instance_uuid, lambda own: _end(own.domain, folder, partial_of(path)), timeout_s=_BEGIN_S
        ):
            if self._runtime.clock.monotonic() > deadline:
                raise errors.DriverTimeout(operation="end snapshot", timeout_s=_END_S)
            self._runtime.sleep(_FIRST_LOOK_S)
        unlink(partial_of(path), path)


def _begin(domain: libvirt.virDomain, folder: Folder, partial: Path) -> bool:
    """Start the job at a moment when the filesystems are frozen; true if they were."""
    device = disk_of(domain.XMLDesc(0), str(folder.disk))
    domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)  # reads away how an earlier job ended
    with quiesce.frozen(domain, folder.frozen) as quiesced:
        domain.backupBegin(backup_xml(device, str(partial)), None)
    return quiesced


def _look(domain: libvirt.virDomain, partial: Path) -> str | None:
    """None while the job goes on; then how it failed, or nothing."""
    if _copying(domain, partial):
        return None
    job = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED)
    if job.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:
        return "how the copy ended is not known"
    if job["type"] == libvirt.VIR_DOMAIN_JOB_COMPLETED:
        return ""
    return str(job.get("errmsg") or "the copy was ended")


def _end(domain: libvirt.virDomain, folder: Folder, partial: Path) -> bool:
    """End what a snapshot into *partial* may have left; true while its job still goes on."""
    quiesce.thaw(domain, folder.frozen)
    if _copying(domain, partial):
        try:
            domain.abortJob()
        except libvirt.libvirtError as exc:
            if not is_code(exc, libvirt.VIR_ERR_OPERATION_INVALID):  # it ended meanwhile
                raise
        return True
    # For want of space for what it overwrites a guest's write may have failed, and QEMU paused it. Without the job
    # there is no want; a disk that is full itself pauses it again.
    if tuple(domain.state()) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR):
        domain.resume()
    return False


def _copying(domain: libvirt.virDomain, partial: Path) -> bool:
    """Whether a job that writes *partial*, and no other, goes on."""
    try:
        return backup_target(domain.backupGetXMLDesc()) == str(partial)
    except libvirt.libvirtError as exc:
        if is_code(exc, libvirt.VIR_ERR_NO_DOMAIN_BACKUP, libvirt.VIR_ERR_OPERATION_INVALID):
            return False
        raise
