"""What a virt driver does, and nothing it need not.

Every method is idempotent: called again after a crash in the middle, it ends in the same state.  Drivers know
guests by instance uuid (and epoch), never hold state that matters in memory, and raise
:class:`drover.errors.DriverError` kinds only.  Both shipped drivers pass ``tests/contract/virt``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from drover.objects.guest import Diagnostics, GuestSpec, GuestState, ImageSource, UploadTarget
from drover.objects.host import HostUsage, Inventory
from drover.objects.instance import InstanceUsage
from drover.states import PowerState

__all__ = ["Backend", "CancelToken", "Driver", "Images", "PowerEvent", "Snapshot", "Stats"]


class CancelToken(Protocol):
    """Checked between and inside steps; set by a drop, a delete or a shutdown."""

    def cancelled(self) -> bool: ...

    def check(self) -> None:
        """:raises drover.errors.OperationCancelled: it was set."""

    def wait(self, timeout_s: float) -> bool:
        """Wait up to *timeout_s*; true as soon as it is set."""


@dataclass(frozen=True, slots=True)
class PowerEvent:
    """The hypervisor says a guest changed by itself or by our order. A hint: the next observation is the truth."""

    instance_uuid: str
    power_state: PowerState


@dataclass(frozen=True, slots=True)
class Stats:
    """One bulk reading: the host and every guest of ours by uuid."""

    host: HostUsage
    guests: dict[str, InstanceUsage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A finished copy of a disk on the host: ``format`` is qcow2."""

    path: str
    format: str
    virtual_size_bytes: int
    quiesced: bool  # a guest agent froze the filesystems for it


class Driver(ABC):
    """One hypervisor. Thread-safe."""

    @abstractmethod
    def set_deployment(self, deployment_id: str) -> None:
        """Told once the agent is registered: guests stamped with this deployment are ours. Before that, every one is foreign."""

    @abstractmethod
    def inventory(self) -> Inventory:
        """What the host offers (without reservations and ratios, which are configuration)."""

    @abstractmethod
    def list_guests(self) -> list[GuestState]:
        """Every domain, ours and foreign.

        :raises drover.errors.DriverUnavailable: the answer is unknown, which is never "none".
        """

    @abstractmethod
    def list_remains(self, known: Collection[str]) -> list[tuple[str, int]]:
        """(instance uuid, epoch) of which this host has files, without those of the instances *known*."""

    @abstractmethod
    def get_guest(self, instance_uuid: str) -> GuestState | None:
        """One guest of ours, or None when the hypervisor answered and has none."""

    @abstractmethod
    def create_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        """The root disk: an overlay on the cached image, grown to ``spec.disk_gib`` (0 = the image's size)."""

    @abstractmethod
    def create_network(self, spec: GuestSpec) -> None:
        """Networks, addresses and anti-spoof rules for the guest's interfaces."""

    @abstractmethod
    def create_config(self, spec: GuestSpec) -> None:
        """The config drive (cloud-init NoCloud)."""

    @abstractmethod
    def replace_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        """A fresh root disk in the place of the old one, whole or not at all. The guest is off and has no saved state.

        :raises drover.errors.GuestConflict: it is not off.
        """

    @abstractmethod
    def create_rescue_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        """The disk of the rescue system, an overlay on the cached image, beside the root disk. One that is there stays."""

    @abstractmethod
    def discard_rescue_disk(self, instance_uuid: str) -> None:
        """Remove the rescue disk of a guest that does not boot from it, now or at its next start; none there is fine."""

    @abstractmethod
    def define(self, spec: GuestSpec, operation_id: str, *, rescue: bool = False) -> None:
        """Make the definition persistent, stamped with deployment, uuid, epoch, digest and *operation_id*.

        With *rescue* the guest boots from its rescue disk and has its root disk as the second one; without, a rescue
        disk goes. What the definition says of a running guest counts from its next start on.

        :raises drover.errors.GuestConflict: an active domain of another epoch, or one that is not ours, has the uuid or name.
        """

    @abstractmethod
    def start(self, instance_uuid: str) -> None:
        """Running afterwards, from its saved state if it has one; already running is fine, and so is paused (it goes on).

        :raises drover.errors.GuestNotFound: not defined.
        """

    @abstractmethod
    def stop(self, instance_uuid: str, timeout_s: float, cancel: CancelToken) -> None:
        """Ask the guest by ACPI, and after *timeout_s* (0: at once) cut the power.

        Off afterwards, and without saved state; none there is fine. A paused guest cannot answer, so its power is cut.
        """

    @abstractmethod
    def pause(self, instance_uuid: str) -> None:
        """Its processors stand still afterwards; already paused is fine.

        :raises drover.errors.GuestNotFound: not defined. GuestConflict: it is off.
        """

    @abstractmethod
    def unpause(self, instance_uuid: str) -> None:
        """Running afterwards; already running is fine.

        :raises drover.errors.GuestNotFound: not defined. GuestConflict: it is off.
        """

    @abstractmethod
    def suspend(self, instance_uuid: str, cancel: CancelToken) -> None:
        """Its memory on the host's disk and its power off afterwards; already so is fine. Cancelled: it runs on.

        :raises drover.errors.GuestNotFound: not defined. GuestConflict: it is off and has no saved state.
            DiskFull: it runs on.
        """

    @abstractmethod
    def snapshot(self, instance_uuid: str, snapshot_id: str, cancel: CancelToken) -> Snapshot:
        """The root disk as it is at one moment, as a file of its own that depends on nothing.

        Live when the guest runs: it goes on meanwhile, its filesystems frozen for the moment when a guest agent
        answers. Called again with the same *snapshot_id*, what an earlier call left is removed first.

        :raises drover.errors.GuestNotFound: not defined. DiskFull, OperationCancelled: nothing is left.
        """

    @abstractmethod
    def discard_snapshot(self, instance_uuid: str, snapshot_id: str) -> None:
        """Remove the file of :meth:`snapshot`, end its job when one still runs; none there is fine."""

    @abstractmethod
    def diagnostics(self, instance_uuid: str) -> Diagnostics:
        """What the hypervisor tells of one guest now.

        :raises drover.errors.GuestNotFound: not defined.
        """

    @abstractmethod
    def reboot(self, instance_uuid: str, operation_id: str, *, hard: bool) -> None:
        """Stamp *operation_id*, then reboot: soft asks the guest and falls back to hard; hard is power off and on.

        :raises drover.errors.GuestNotFound: not defined.
        """

    @abstractmethod
    def remove(self, instance_uuid: str, epoch: int) -> None:
        """Leave nothing of (instance, epoch ≤ *epoch*): domain, disks, config, ports, logs. None there is fine.

        :raises drover.errors.GuestConflict: the domain is not ours or of a later epoch; nothing was touched.
        """

    @abstractmethod
    def stats(self) -> Stats:
        """The host's and all our guests' usage, from one bulk call."""

    @abstractmethod
    def console_log(self, instance_uuid: str, max_bytes: int) -> bytes:
        """The end of the serial console's log."""

    @abstractmethod
    def subscribe(self, listener: Callable[[PowerEvent], None]) -> None:
        """Call *listener* from the driver's event thread; it only enqueues."""

    @abstractmethod
    def close(self) -> None:
        """Let connections and threads go; guests stay as they are."""


class Images(Protocol):
    """The host's image cache."""

    def ensure(self, source: ImageSource, cancel: CancelToken) -> str:
        """The path of the cached, checked image; one download however many builds wait.

        :raises drover.errors.ImageFetchFailed: (retryable), ImageChecksumMismatch, ImageUnsafe, DiskFull.
        """

    def upload(self, path: str, target: UploadTarget, cancel: CancelToken) -> None:
        """Send the file to the depot and have it checked there; again after a crash is fine, also when it was done.

        :raises drover.errors.ImageUploadFailed: (retryable) the depot is away or refuses.
        """


@dataclass(frozen=True, slots=True)
class Backend:
    """What a driver's factory in :mod:`agent.virt.registry` returns."""

    driver: Driver
    images: Images
