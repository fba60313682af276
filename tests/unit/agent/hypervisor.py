"""A hypervisor of one guest that can fail or see its agent die at any call, and that knows what must never happen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from agent.virt.driver import CancelToken, Driver, PowerEvent, Snapshot, Stats
from drover import errors
from drover.objects.guest import Diagnostics, GuestClass, GuestSpec, GuestState, ImageSource, UploadTarget
from drover.objects.host import Inventory
from drover.states import PowerState, VmState
from tests.contract.virt.spec import make_spec

__all__ = ["FakeImages", "Hypervisor", "Killed", "Machine"]

ON = (PowerState.RUNNING, PowerState.PAUSED)


class Killed(BaseException):
    """The agent died here."""


@dataclass(slots=True)
class Disk:
    image: str
    used: bool = False  # a guest ran on it: what is in it is its user's


@dataclass(slots=True)
class Machine:
    """What outlives the agent: the guest, its disks, and the depot behind the network."""

    guest: GuestState | None = None
    disk: Disk | None = None
    rescue_disk: bool = False
    config: bool = False
    network: bool = False
    snapshots: set[str] = field(default_factory=set)
    sent: bool = False  # the depot has checked the image
    boots: int = 0
    leased: bool = False  # the host asked whether it is alive since it last started something

    def arrange(self, vm_state: VmState) -> None:
        """Make what a host has of an instance in *vm_state*."""
        if vm_state in (VmState.BUILDING, VmState.SHELVED_OFFLOADED, VmState.DELETED):
            return
        spec = make_spec()
        self.disk, self.config, self.network = Disk(spec.image.id, used=True), True, True
        power = {
            VmState.ACTIVE: PowerState.RUNNING,
            VmState.PAUSED: PowerState.PAUSED,
            VmState.RESCUED: PowerState.RUNNING,
        }.get(vm_state, PowerState.SHUTDOWN)
        self.rescue_disk = vm_state is VmState.RESCUED
        self.guest = GuestState(
            uuid=spec.uuid,
            name=spec.name,
            kind=GuestClass.OURS,
            epoch=spec.epoch,
            power_state=power,
            operation_id="earlier",
            saved=vm_state is VmState.SUSPENDED,
            rescue=self.rescue_disk,
        )

    @property
    def on(self) -> bool:
        return self.guest is not None and self.guest.power_state in ON


class Hypervisor(Driver):
    """The driver of one incarnation of the agent.

    :param watch: called before and after each call's effect, with the call's number and ``before`` or ``after``; may
        raise a :class:`Killed` or an error.
    """

    def __init__(self, machine: Machine, watch: Callable[[int, str], None]) -> None:
        self.machine = machine
        self.calls = 0
        self.patience_s: list[float] = []  # of each stop
        self._watch = watch

    @contextmanager
    def _call(self) -> Iterator[None]:
        number = self.calls
        self.calls += 1
        self._watch(number, "before")
        yield
        self._watch(number, "after")

    def _guest(self) -> GuestState:
        if self.machine.guest is None:
            raise errors.GuestNotFound(instance="?")
        return self.machine.guest

    def _off(self) -> None:
        if self.machine.on:
            raise errors.GuestConflict(instance="?", reason="it is on")

    def _boot(self) -> None:
        machine, guest = self.machine, self._guest()
        assert machine.leased, "started without a look at the lease"
        machine.leased = False
        assert machine.disk is not None
        assert machine.network
        assert machine.config
        assert machine.rescue_disk or not guest.rescue
        if guest.power_state is not PowerState.RUNNING:
            machine.boots += not guest.saved and guest.power_state is not PowerState.PAUSED
            machine.disk.used = True
        machine.guest = replace(guest, power_state=PowerState.RUNNING, saved=False)

    def list_remains(self, known: Collection[str]) -> list[tuple[str, int]]:
        return []

    def get_guest(self, instance_uuid: str) -> GuestState | None:
        with self._call():
            return self.machine.guest

    def create_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        with self._call():
            cancel.check()
            assert self.machine.disk is None or not self.machine.disk.used, "a disk in use was made anew"
            self.machine.disk = Disk(spec.image.id)

    def replace_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        with self._call():
            cancel.check()
            self._off()
            assert image_path
            assert not self._guest().saved
            assert self.machine.disk is not None
            # The old disk has the old image: it may go. A new one that was used never may.
            assert self.machine.disk.image != spec.image.id or not self.machine.disk.used, "a rebuilt disk was wiped"
            self.machine.disk = Disk(spec.image.id)

    def create_rescue_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        with self._call():
            cancel.check()
            assert image_path
            self.machine.rescue_disk = True

    def discard_rescue_disk(self, instance_uuid: str) -> None:
        with self._call():
            if self.machine.guest is not None:
                self.machine.rescue_disk &= self.machine.guest.rescue

    def create_network(self, spec: GuestSpec) -> None:
        with self._call():
            self.machine.network = True

    def create_config(self, spec: GuestSpec) -> None:
        with self._call():
            self.machine.config = True

    def define(self, spec: GuestSpec, operation_id: str, *, rescue: bool = False) -> None:
        with self._call():
            self.machine.guest = GuestState(
                uuid=spec.uuid,
                name=spec.name,
                kind=GuestClass.OURS,
                epoch=spec.epoch,
                power_state=self.machine.guest.power_state if self.machine.guest else PowerState.SHUTDOWN,
                operation_id=operation_id,
                rescue=rescue,
            )
            self.machine.rescue_disk &= rescue

    def start(self, instance_uuid: str) -> None:
        with self._call():
            self._boot()

    def stop(self, instance_uuid: str, timeout_s: float, cancel: CancelToken) -> None:
        self.patience_s.append(timeout_s)
        with self._call():
            if timeout_s > 0 and self.machine.on:
                cancel.wait(min(timeout_s, 1.0))
                cancel.check()
            if self.machine.guest is not None:
                self.machine.guest = replace(self.machine.guest, power_state=PowerState.SHUTDOWN, saved=False)

    def pause(self, instance_uuid: str) -> None:
        with self._call():
            assert self.machine.on
            self.machine.guest = replace(self._guest(), power_state=PowerState.PAUSED)

    def unpause(self, instance_uuid: str) -> None:
        with self._call():
            assert self.machine.on
            assert self.machine.leased
            self.machine.guest = replace(self._guest(), power_state=PowerState.RUNNING)

    def suspend(self, instance_uuid: str, cancel: CancelToken) -> None:
        with self._call():
            cancel.check()
            assert self.machine.on or self._guest().saved
            self.machine.guest = replace(self._guest(), power_state=PowerState.SHUTDOWN, saved=True)

    def snapshot(self, instance_uuid: str, snapshot_id: str, cancel: CancelToken) -> Snapshot:
        self.machine.snapshots.discard(snapshot_id)
        with self._call():
            cancel.check()
            self._guest()
            self.machine.snapshots.add(snapshot_id)
        return Snapshot(path=snapshot_id, format="qcow2", virtual_size_bytes=1, quiesced=False)

    def discard_snapshot(self, instance_uuid: str, snapshot_id: str) -> None:
        with self._call():
            self.machine.snapshots.discard(snapshot_id)

    def reboot(self, instance_uuid: str, operation_id: str, *, hard: bool) -> None:
        with self._call():
            assert hard or self._guest().power_state is PowerState.RUNNING
            self.machine.guest = replace(self._guest(), operation_id=operation_id, power_state=PowerState.SHUTDOWN)
            self._boot()

    def remove(self, instance_uuid: str, epoch: int) -> None:
        with self._call():
            guest = self.machine.guest
            if guest is not None and guest.epoch > epoch:
                raise errors.GuestConflict(instance=instance_uuid, reason="of a later epoch")
            boots, sent, leased = self.machine.boots, self.machine.sent, self.machine.leased
            empty = Machine(boots=boots, sent=sent, leased=leased)
            for name in Machine.__slots__:
                setattr(self.machine, name, getattr(empty, name))

    def set_deployment(self, deployment_id: str) -> None: ...
    def inventory(self) -> Inventory:
        raise NotImplementedError

    def list_guests(self) -> list[GuestState]:
        raise NotImplementedError

    def diagnostics(self, instance_uuid: str) -> Diagnostics:
        guest = self._guest()
        return Diagnostics(instance_uuid=instance_uuid, hypervisor="fake", power_state=guest.power_state)

    def stats(self) -> Stats:
        raise NotImplementedError

    def console_log(self, instance_uuid: str, max_bytes: int) -> bytes:
        return b""

    def subscribe(self, listener: Callable[[PowerEvent], None]) -> None: ...
    def close(self) -> None: ...


class FakeImages:
    """Part of the same count of calls, so that everything can go wrong at it too."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor

    def ensure(self, source: ImageSource, cancel: CancelToken) -> str:
        with self._hypervisor._call():
            cancel.check()
            return source.id

    def upload(self, path: str, target: UploadTarget, cancel: CancelToken) -> None:
        with self._hypervisor._call():
            cancel.check()
            assert path in self._hypervisor.machine.snapshots
            self._hypervisor.machine.sent = True
