"""The fake driver: a hypervisor made of records, with latency, capacity and faults as options.

Developers test against it, and ``drover standalone`` runs on it where there is no libvirt.  It keeps the rules of
:mod:`agent.virt.driver` as strictly as libvirt does: identity, epochs, conflicts, half-done work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from agent.virt.driver import Backend, CancelToken, Driver, PowerEvent, Stats
from agent.virt.fake_store import FileGuestStore, GuestRecord, GuestStore
from drover import errors
from drover.conf import Configuration
from drover.conf.fake import FakeSettings
from drover.objects import codec
from drover.objects.guest import GuestClass, GuestSpec, GuestState, ImageSource
from drover.objects.host import HostUsage, Inventory
from drover.objects.instance import InstanceUsage
from drover.runtime import Lock, Runtime
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
            )

    def list_guests(self) -> list[GuestState]:
        with self._call("list_guests"):
            return [self._state(record) for record in self._store.list() if record.defined]

    def get_guest(self, instance_uuid: str) -> GuestState | None:
        with self._call("get_guest"):
            record = self._store.get(instance_uuid)
            return self._state(record) if record is not None and self._ours(record) else None

    def create_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:  # noqa: ARG002
        with self._call("create_disk"):
            cancel.check()
            self._prepare(spec, lambda r: replace(r, disk_epoch=spec.epoch, disk_gib=spec.disk_gib))

    def create_network(self, spec: GuestSpec) -> None:
        with self._call("create_network"):
            self._prepare(spec, lambda r: replace(r, network_epoch=spec.epoch))

    def create_config(self, spec: GuestSpec) -> None:
        with self._call("create_config"):
            self._prepare(spec, lambda r: replace(r, config_epoch=spec.epoch))

    def define(self, spec: GuestSpec, operation_id: str) -> None:
        name = f"drover-{spec.uuid}"
        with self._call("define"):
            if any(r.uuid != spec.uuid and r.defined and r.name == name for r in self._store.list()):
                raise errors.GuestConflict(instance=spec.uuid, reason=f"another domain is named {name}")
            self._prepare(
                spec,
                lambda r: replace(
                    r,
                    name=name,
                    deployment_id=spec.deployment_id,
                    epoch=spec.epoch,
                    defined=True,
                    operation_id=operation_id,
                    spec_digest=_digest(spec),
                    vcpus=spec.vcpus,
                    memory_mib=spec.memory_mib,
                ),
            )

    def start(self, instance_uuid: str) -> None:
        with self._call("start"):
            with self._lock:
                record = self._defined(instance_uuid)
                if record.power_state is PowerState.RUNNING:
                    return
                if record.disk_epoch != record.epoch:
                    raise errors.DriverError(operation="start", detail=f"guest {instance_uuid} has no disk")
                self._store.put(self._booted(record))
            self._tell(instance_uuid, PowerState.RUNNING)

    def stop(self, instance_uuid: str, timeout_s: float, cancel: CancelToken) -> None:
        with self._call("stop"):
            record = self._store.get(instance_uuid)
            if record is None or not self._ours(record) or not record.active:
                return
            if timeout_s > 0 and self._settings.shutdown_s > 0:
                cancel.wait(min(timeout_s, self._settings.shutdown_s))
                cancel.check()
            self._power_off(instance_uuid)

    def reboot(self, instance_uuid: str, operation_id: str, *, hard: bool) -> None:
        with self._call("reboot"):
            with self._lock:
                self._store.put(replace(self._defined(instance_uuid), operation_id=operation_id))
            if hard:
                self._power_off(instance_uuid)
                self._pause()
            with self._lock:
                self._store.put(self._booted(self._defined(instance_uuid)))
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
                if max(record.disk_epoch, record.network_epoch, record.config_epoch) > epoch:
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
            return Stats(host=host, guests={r.uuid: _usage(r, now) for r in running if self._ours(r)})

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
        if not self._ours(record):
            return GuestState(
                uuid=record.uuid, name=record.name, kind=GuestClass.FOREIGN, power_state=record.power_state
            )
        return GuestState(
            uuid=record.uuid,
            name=record.name,
            kind=GuestClass.OURS,
            epoch=record.epoch,
            power_state=record.power_state,
            operation_id=record.operation_id,
            spec_digest=record.spec_digest,
        )

    def _defined(self, uuid: str) -> GuestRecord:
        record = self._store.get(uuid)
        if record is None or not self._ours(record):
            raise errors.GuestNotFound(instance=uuid)
        return record

    def _prepare(self, spec: GuestSpec, change: Callable[[GuestRecord], GuestRecord]) -> None:
        """Change what is there for *spec*, unless a domain stands in the way."""
        with self._lock:
            record = self._store.get(spec.uuid) or GuestRecord(uuid=spec.uuid)
            if record.defined and not self._ours(record):
                raise errors.GuestConflict(instance=spec.uuid, reason=f"domain {record.name} is not ours")
            if record.active and record.epoch != spec.epoch:
                raise errors.GuestConflict(instance=spec.uuid, reason=f"active with epoch {record.epoch}")
            self._store.put(change(record))

    def _booted(self, record: GuestRecord) -> GuestRecord:
        boots = record.boots + 1
        return replace(
            record,
            power_state=PowerState.RUNNING,
            boots=boots,
            booted_at=self._runtime.clock.now(),
            console=f"{record.console}{self._settings.boot_marker} boots={boots}\n",
        )

    def _power_off(self, uuid: str) -> None:
        with self._lock:
            record = self._store.get(uuid)
            if record is not None:
                self._store.put(replace(record, power_state=PowerState.SHUTDOWN))
        self._tell(uuid, PowerState.SHUTDOWN)

    def _tell(self, uuid: str, state: PowerState) -> None:
        for listener in self._listeners:
            listener(PowerEvent(uuid, state))

    # latency and faults

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


class FakeImages:
    """An image cache without bytes: the first to ask fetches, the others wait for it."""

    def __init__(self, runtime: Runtime, settings: FakeSettings) -> None:
        self._settings = settings
        self._gate = runtime.lock()
        self._fetching: dict[str, Lock] = {}
        self._cached: set[str] = set()
        self._runtime = runtime
        self.fetches = 0

    def ensure(self, source: ImageSource, cancel: CancelToken) -> str:
        with self._gate:
            fetching = self._fetching.setdefault(source.id, self._runtime.lock())
        while not fetching.acquire(1.0):
            cancel.check()
        try:
            if source.id not in self._cached:
                cancel.check()
                if self._settings.image_latency_s > 0:
                    cancel.wait(self._settings.image_latency_s)
                    cancel.check()
                self.fetches += 1
                self._cached.add(source.id)
        finally:
            fetching.release()
        return f"/fake/images/{source.id}"


def _usage(record: GuestRecord, now: datetime) -> InstanceUsage:
    up_s = (now - (record.booted_at or now)).total_seconds()
    return InstanceUsage(
        cpu_time_s=max(0.0, up_s) / 100, memory_mib=record.memory_mib, memory_rss_mib=record.memory_mib, at=now
    )


def _digest(spec: GuestSpec) -> str:
    """Of everything but the image's token, which is new with each order."""
    image = replace(spec.image, token="", url="")
    return hashlib.sha256(codec.to_json(replace(spec, image=image)).encode()).hexdigest()[:16]


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
