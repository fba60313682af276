"""The fake driver: a hypervisor made of records, with latency, capacity and faults as options.

Developers test against it, and ``drover standalone`` runs on it where there is no libvirt.  It keeps the rules of
:mod:`agent.virt.driver` as strictly as libvirt does: identity, epochs, conflicts, half-done work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from agent.virt import fake_guest
from agent.virt.driver import Backend, CancelToken, Driver, PowerEvent, Snapshot, Stats
from agent.virt.fake_hardware import made_up
from agent.virt.fake_image import DISK_BYTES, FakeImages
from agent.virt.fake_store import FileGuestStore, GuestRecord, GuestStore
from drover import errors
from drover.conf import Configuration
from drover.conf.fake import FakeSettings
from drover.objects.guest import Diagnostics, GuestSpec, GuestState
from drover.objects.host import HostUsage, Inventory
from drover.runtime import Runtime
from drover.states import PowerState

__all__ = ["FakeDriver", "FakeImages", "backend", "create"]


def create(runtime: Runtime, conf: Configuration, state_dir: str, host: str) -> Backend:  # noqa: ARG001
    """The driver's factory: guests in files."""
    settings = conf.get(FakeSettings)
    store = FileGuestStore(runtime, Path(settings.store_dir or Path(state_dir) / "fake"))
    return backend(runtime, settings, store)


def backend(runtime: Runtime, settings: FakeSettings, store: GuestStore) -> Backend:
    """A fake backend over any store."""
    return Backend(driver=FakeDriver(runtime, settings, store), images=FakeImages(runtime, settings))


class FakeDriver(Driver):
    """Guests are records in *store*; everything else here may be lost.

    ``faults`` (chance per method) and ``down`` (unreachable) may be changed while it works.
    """

    def __init__(self, runtime: Runtime, settings: FakeSettings, store: GuestStore) -> None:
        self.faults = _rates(settings.fail_rates)
        self.down = False
        self._runtime = runtime
        self._settings = settings
        self._hardware = made_up(settings)
        self._store = store
        self._deployment_id = ""
        self._lock = runtime.lock()  # makes read-change-write of a record one step
        self._listeners: list[Callable[[PowerEvent], None]] = []

    def set_deployment(self, deployment_id: str) -> None:
        self._deployment_id = deployment_id

    def inventory(self) -> Inventory:
        with self._call("inventory"):
            return Inventory(
                vcpus=self._settings.vcpus,
                memory_mib=self._settings.memory_mib,
                disk_gib=self._settings.disk_gib,
                virt_types=("qemu",),
                hypervisor="fake",
                driver="fake",
                hardware=self._hardware,
            )

    def list_guests(self) -> list[GuestState]:
        with self._call("list_guests"):
            return [self._state(record) for record in self._store.list() if record.defined]

    def list_remains(self, known: Collection[str]) -> list[tuple[str, int]]:
        with self._call("list_remains"):
            return sorted((r.uuid, r.disk_epoch) for r in self._store.list() if r.disk_epoch and r.uuid not in known)

    def get_guest(self, instance_uuid: str) -> GuestState | None:
        with self._call("get_guest"):
            record = self._own(instance_uuid)
            return None if record is None else self._state(record)

    def create_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        with self._call("create_disk"):
            cancel.check()
            self._prepare(spec, lambda r: r if r.disk_epoch == spec.epoch else _with_disk(r, spec, image_path))

    def replace_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        with self._call("replace_disk"):
            cancel.check()
            record = self._own(spec.uuid)
            if record is not None and (record.active or record.saved):
                raise errors.GuestConflict(instance=spec.uuid, reason="it is not off, or its memory is saved")
            self._prepare(spec, lambda r: _with_disk(r, spec, image_path))

    def create_rescue_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        with self._call("create_rescue_disk"):
            cancel.check()
            self._prepare(
                spec,
                lambda r: (
                    r if r.rescue_epoch == spec.epoch else replace(r, rescue_image=image_path, rescue_epoch=spec.epoch)
                ),
            )

    def discard_rescue_disk(self, instance_uuid: str) -> None:
        with self._call("discard_rescue_disk"):
            if self._own(instance_uuid) is not None:
                self._change(instance_uuid, fake_guest.without_rescue_disk)

    def create_network(self, spec: GuestSpec) -> None:
        with self._call("create_network"):
            self._prepare(spec, lambda r: replace(r, network_epoch=spec.epoch))

    def create_config(self, spec: GuestSpec) -> None:
        with self._call("create_config"):
            self._prepare(spec, lambda r: replace(r, config_epoch=spec.epoch))

    def define(self, spec: GuestSpec, operation_id: str, *, rescue: bool = False) -> None:
        name = fake_guest.domain_name(spec.uuid)
        with self._call("define"):
            if any(r.uuid != spec.uuid and r.defined and r.name == name for r in self._store.list()):
                raise errors.GuestConflict(instance=spec.uuid, reason=f"another domain is named {name}")
            self._prepare(spec, lambda r: fake_guest.define(r, spec, operation_id, rescue=rescue))

    def start(self, instance_uuid: str) -> None:
        with self._call("start"):
            with self._lock:
                record = self._defined(instance_uuid)
                if record.power_state is PowerState.RUNNING:
                    return
                if record.power_state is PowerState.PAUSED or record.saved:
                    self._store.put(replace(record, power_state=PowerState.RUNNING, saved=False))
                else:
                    self._store.put(self._booted(record))
            self._tell(instance_uuid, PowerState.RUNNING)

    def stop(self, instance_uuid: str, timeout_s: float, cancel: CancelToken) -> None:
        with self._call("stop"):
            record = self._own(instance_uuid)
            if record is None or not (record.active or record.saved):
                return
            if record.power_state is PowerState.RUNNING and timeout_s > 0 and self._settings.shutdown_s > 0:
                cancel.wait(min(timeout_s, self._settings.shutdown_s))
                cancel.check()
            self._power_off(instance_uuid)

    def pause(self, instance_uuid: str) -> None:
        with self._call("pause"):
            self._set_active(instance_uuid, PowerState.PAUSED)

    def unpause(self, instance_uuid: str) -> None:
        with self._call("unpause"):
            self._set_active(instance_uuid, PowerState.RUNNING)

    def suspend(self, instance_uuid: str, cancel: CancelToken) -> None:
        with self._call("suspend"):
            record = self._defined(instance_uuid)
            if record.saved:
                return
            if not record.active:
                raise errors.GuestConflict(instance=instance_uuid, reason="it is off, there is no memory to save")
            self._copy(cancel)
            self._power_off(instance_uuid, saved=True)

    def snapshot(self, instance_uuid: str, snapshot_id: str, cancel: CancelToken) -> Snapshot:
        with self._call("snapshot"):
            self._change(instance_uuid, lambda r: replace(_without(r, snapshot_id), copying=(*r.copying, snapshot_id)))
            try:
                self._copy(cancel)
            except errors.OperationCancelled:
                self._change(instance_uuid, lambda r: _without(r, snapshot_id))
                raise
            self._change(
                instance_uuid, lambda r: replace(_without(r, snapshot_id), snapshots=(*r.snapshots, snapshot_id))
            )
            return Snapshot(
                path=f"/fake/snapshots/{instance_uuid}/{snapshot_id}",
                format="qcow2",
                virtual_size_bytes=DISK_BYTES,
                quiesced=False,
            )

    def discard_snapshot(self, instance_uuid: str, snapshot_id: str) -> None:
        with self._call("discard_snapshot"):
            if self._own(instance_uuid) is not None:
                self._change(instance_uuid, lambda r: _without(r, snapshot_id))

    def diagnostics(self, instance_uuid: str) -> Diagnostics:
        with self._call("diagnostics"):
            return fake_guest.diagnostics_of(self._defined(instance_uuid), self._runtime.clock.now())

    def reboot(self, instance_uuid: str, operation_id: str, *, hard: bool) -> None:
        with self._call("reboot"):
            record = self._change(instance_uuid, lambda r: fake_guest.stamp(r, operation_id))
            if hard or record.power_state is not PowerState.RUNNING:
                self._power_off(instance_uuid)
                self._pause()
            self._change(instance_uuid, self._booted)
            self._tell(instance_uuid, PowerState.RUNNING)

    def remove(self, instance_uuid: str, epoch: int) -> None:
        with self._call("remove"):
            with self._lock:
                record = self._store.get(instance_uuid)
                if record is None:
                    return
                if record.defined and not self._ours(record):
                    raise errors.GuestConflict(instance=instance_uuid, reason=f"domain {record.name} is not ours")
                if record.defined and record.epoch > epoch:
                    raise errors.GuestConflict(instance=instance_uuid, reason=f"its epoch is {record.epoch}")
                if fake_guest.latest_part(record) > epoch:
                    return  # parts of a later epoch, no domain yet
                self._store.delete(instance_uuid)
            if record.active:
                self._tell(instance_uuid, PowerState.SHUTDOWN)

    def stats(self) -> Stats:
        with self._call("stats"):
            now = self._runtime.clock.now()
            running = [r for r in self._store.list() if r.active]
            host = HostUsage(
                memory_used_mib=sum(r.memory_mib for r in running),
                memory_total_mib=self._settings.memory_mib,
                disk_total_gib=float(self._settings.disk_gib),
                guests=len(running),
                at=now,
            )
            return Stats(host=host, guests={r.uuid: fake_guest.usage_of(r, now) for r in running if self._ours(r)})

    def console_log(self, instance_uuid: str, max_bytes: int) -> bytes:
        with self._call("console_log"):
            return self._defined(instance_uuid).console.encode()[-max_bytes:]

    def subscribe(self, listener: Callable[[PowerEvent], None]) -> None:
        self._listeners.append(listener)

    def close(self) -> None:
        self._listeners.clear()

    # records

    def _ours(self, record: GuestRecord) -> bool:
        return record.defined and bool(self._deployment_id) and record.deployment_id == self._deployment_id

    def _state(self, record: GuestRecord) -> GuestState:
        return fake_guest.state_of(fake_guest.at_rest(record), ours=self._ours(record))

    def _own(self, uuid: str) -> GuestRecord | None:
        record = self._store.get(uuid)
        return fake_guest.at_rest(record) if record is not None and self._ours(record) else None

    def _defined(self, uuid: str) -> GuestRecord:
        record = self._own(uuid)
        if record is None:
            raise errors.GuestNotFound(instance=uuid)
        return record

    def _change(self, uuid: str, change: Callable[[GuestRecord], GuestRecord]) -> GuestRecord:
        """Change a guest of ours; returns it as it then is."""
        with self._lock:
            record = change(self._defined(uuid))
            self._store.put(record)
            return record

    def _prepare(self, spec: GuestSpec, change: Callable[[GuestRecord], GuestRecord]) -> None:
        """Change what is there for *spec*, unless a domain stands in the way."""
        with self._lock:
            record = self._store.get(spec.uuid) or GuestRecord(uuid=spec.uuid)
            if record.defined and not self._ours(record):
                raise errors.GuestConflict(instance=spec.uuid, reason=f"domain {record.name} is not ours")
            if record.active and record.epoch != spec.epoch:
                raise errors.GuestConflict(instance=spec.uuid, reason=f"active with epoch {record.epoch}")
            self._store.put(change(fake_guest.at_rest(record)))

    def _booted(self, record: GuestRecord) -> GuestRecord:
        if record.disk_epoch != record.epoch or (record.rescue and record.rescue_epoch != record.epoch):
            raise errors.DriverError(operation="start", detail=f"guest {record.uuid} has no disk")
        return fake_guest.booted(record, self._runtime.clock.now(), self._settings.boot_marker)

    def _set_active(self, uuid: str, power_state: PowerState) -> None:
        def change(record: GuestRecord) -> GuestRecord:
            if not record.active:
                raise errors.GuestConflict(instance=uuid, reason="it is off")
            return replace(record, power_state=power_state)

        if self._defined(uuid).power_state is not power_state:
            self._change(uuid, change)
            self._tell(uuid, power_state)

    def _power_off(self, uuid: str, *, saved: bool = False) -> None:
        self._change(uuid, lambda r: fake_guest.off(r, saved=saved))
        self._tell(uuid, PowerState.SHUTDOWN)

    def _tell(self, uuid: str, state: PowerState) -> None:
        for listener in self._listeners:
            listener(PowerEvent(uuid, state))

    # latency and faults

    def _copy(self, cancel: CancelToken) -> None:
        """Bytes take their time."""
        cancel.check()
        if self._settings.copy_s > 0:
            cancel.wait(self._settings.copy_s)
            cancel.check()

    @contextmanager
    def _call(self, method: str) -> Iterator[None]:
        """Around each call: latency, and failures before or after the effect, as real hypervisors have them."""
        if self.down:
            raise errors.DriverUnavailable(detail="the fake hypervisor is down")
        self._pause()
        chance = self.faults.get(method, 0.0)
        luck = self._runtime.random.random() if chance > 0 else 1.0
        if luck < chance / 2:
            raise errors.DriverError(operation=method, detail="failed before its effect, as asked")
        yield
        if luck < chance:
            raise errors.DriverError(operation=method, detail="failed after its effect, as asked")

    def _pause(self) -> None:
        longest = self._settings.latency_max_s
        if longest > 0:
            shortest = min(self._settings.latency_min_s, longest)
            self._runtime.sleep(self._runtime.random.uniform(shortest, longest))


def _with_disk(record: GuestRecord, spec: GuestSpec, image_path: str) -> GuestRecord:
    return replace(record, disk_epoch=spec.epoch, disk_gib=spec.disk_gib, disk_image=image_path)


def _without(record: GuestRecord, snapshot_id: str) -> GuestRecord:
    """Nothing of this snapshot is left."""
    return replace(
        record,
        snapshots=tuple(other for other in record.snapshots if other != snapshot_id),
        copying=tuple(other for other in record.copying if other != snapshot_id),
    )


def _rates(pairs: tuple[str, ...]) -> dict[str, float]:
    """``("define=0.1",)`` as a mapping.

    :raises errors.InvalidConfig: no such method, or no chance from 0 to 1.
    """
    rates: dict[str, float] = {}
    for pair in pairs:
        method, _, text = pair.partition("=")
        if method not in Driver.__abstractmethods__:
            raise errors.InvalidConfig(reason=f"[fake] fail_rates: no driver method {method!r}")
        try:
            rates[method] = float(text)
        except ValueError:
            rates[method] = -1.0
        if not 0.0 <= rates[method] <= 1.0:
            raise errors.InvalidConfig(reason=f"[fake] fail_rates: {pair!r} is not method=chance from 0 to 1")
    return rates
