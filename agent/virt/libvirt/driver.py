"""The libvirt driver: the methods of the seam, each a few lines over the parts that do the work."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from agent.hardware import GivenOut
from agent.virt.driver import CancelToken, Driver, PowerEvent, Snapshot, Stats
from agent.virt.libvirt import antispoof, config_drive, console, diagnostics, host, probe, stats, topology
from agent.virt.libvirt.antispoof import AntiSpoof, Binding
from agent.virt.libvirt.calls import Calls
from agent.virt.libvirt.connection import Connection
from agent.virt.libvirt.disk import Disks
from agent.virt.libvirt.event import Events
from agent.virt.libvirt.folder import Folder, Folders, unlink, write_whole
from agent.virt.libvirt.guests import Guests
from agent.virt.libvirt.network import Networks
from agent.virt.libvirt.power import Power
from agent.virt.libvirt.snapshot import Snapshots
from agent.virt.libvirt.suspension import Suspension
from agent.virt.libvirt.xml.domain import domain_xml
from agent.virt.libvirt.xml.shape import Shape
from drover import errors, log
from drover.conf.libvirt import LibvirtSettings
from drover.objects.guest import Diagnostics, GuestSpec, GuestState
from drover.objects.hardware import Cell
from drover.objects.host import Inventory
from drover.runtime import Runtime
from drover.states import PowerState

__all__ = ["LibvirtDriver"]

LOG = log.get(__name__)

_NOTHING = GivenOut()
_OFF = frozenset({PowerState.SHUTDOWN, PowerState.CRASHED})


class LibvirtDriver(Driver):
    """Implements :class:`agent.virt.driver.Driver`. Connects in the background, and again whenever it must.

    :param state_dir: the agent's; the proof of KVM is kept there.
    :param given_out: CPUs and PCI devices for guests that have them to themselves.
    """

    def __init__(
        self, runtime: Runtime, settings: LibvirtSettings, state_dir: Path, given_out: GivenOut = _NOTHING
    ) -> None:
        self._runtime = runtime
        self._given_out = given_out
        self._settings = settings
        self._state_dir = state_dir
        self._folders = Folders(Path(settings.instances_dir))
        self._anti_spoof = AntiSpoof(runtime, enabled=settings.anti_spoof)
        self._calls = Calls(runtime, workers=settings.call_workers, spare=settings.call_spare)
        self._events = Events(runtime)
        self._connection = Connection(
            runtime, self._calls, self._events, uri=settings.uri, timeout_s=settings.call_timeout_s
        )
        self._guests = Guests(self._connection)
        self._power = Power(runtime, self._guests, self._events, settings)
        self._suspension = Suspension(self._guests)
        self._disks = Disks(runtime)
        self._snapshots = Snapshots(runtime, self._guests, self._folders)
        self._networks = Networks(runtime, self._connection, timeout_s=settings.start_timeout_s)
        self._load = host.Load(self._folders.root)
        self._cells: tuple[Cell, ...] = ()  # as last seen; read again with each inventory
        self._probing = runtime.lock()
        self._proof: probe.Proof | None = None

    def open(self) -> None:
        """Begin to work. :raises errors.DriverError: the instances' directory cannot be made."""
        self._folders.make()
        self._connection.start()

    def set_deployment(self, deployment_id: str) -> None:
        self._guests.deployment_id = deployment_id

    def inventory(self) -> Inventory:
        types, pci = self._virt_types(), bool(self._given_out.devices)
        found = self._connection.call(
            "inventory", lambda conn: host.inventory(conn, self._folders.root, types, pci=pci)
        )
        self._cells = found.hardware.cells
        return found

    def list_guests(self) -> list[GuestState]:
        return self._guests.list()

    def list_remains(self, known: Collection[str]) -> list[tuple[str, int]]:
        return self._folders.all_but(known)

    def get_guest(self, instance_uuid: str) -> GuestState | None:
        return self._guests.get(instance_uuid)

    def create_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        self._disks.create(spec, Path(image_path), self._folder(spec), cancel)

    def replace_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        guest = self._guests.get(spec.uuid)
        if guest is not None and (guest.saved or guest.power_state not in _OFF):
            raise errors.GuestConflict(instance=spec.uuid, reason="it is not off, or its memory is saved")
        self._disks.replace(spec, Path(image_path), self._folder(spec), cancel)

    def create_rescue_disk(self, spec: GuestSpec, image_path: str, cancel: CancelToken) -> None:
        self._disks.create_rescue(Path(image_path), self._folder(spec), cancel)

    def discard_rescue_disk(self, instance_uuid: str) -> None:
        guest = self._guests.get(instance_uuid)
        if guest is not None and not self._guests.boots_rescue(instance_uuid):
            unlink(self._folders.of(instance_uuid, guest.epoch).rescue)

    def create_network(self, spec: GuestSpec) -> None:
        for port in spec.ports:
            self._networks.ensure(port)
        folder = self._folder(spec)
        folder.make()
        bindings = antispoof.bindings_of(spec.ports)
        write_whole(folder.ports, antispoof.to_json(bindings))  # before the elements, so that remove knows of them
        self._anti_spoof.allow(bindings)

    def create_config(self, spec: GuestSpec) -> None:
        folder = self._folder(spec)
        folder.make()
        write_whole(folder.config, config_drive.iso(spec))

    def define(self, spec: GuestSpec, operation_id: str, *, rescue: bool = False) -> None:
        virt_type = self._virt_type(spec)
        folder = self._folder(spec)
        xml = domain_xml(
            spec, self._shape(spec, virt_type), folder, virt_type=virt_type, operation_id=operation_id, rescue=rescue
        )
        self._guests.define(spec, xml)
        if not rescue:
            unlink(folder.rescue)  # a guest that still runs from it keeps it open until its next start

    def start(self, instance_uuid: str) -> None:
        self._anti_spoof.allow(self._bindings(instance_uuid))
        self._power.start(instance_uuid)

    def stop(self, instance_uuid: str, timeout_s: float, cancel: CancelToken) -> None:
        self._power.stop(instance_uuid, timeout_s, cancel)

    def pause(self, instance_uuid: str) -> None:
        self._power.pause(instance_uuid)

    def unpause(self, instance_uuid: str) -> None:
        self._power.unpause(instance_uuid)

    def suspend(self, instance_uuid: str, cancel: CancelToken) -> None:
        self._suspension.suspend(instance_uuid, cancel)

    def snapshot(self, instance_uuid: str, snapshot_id: str, cancel: CancelToken) -> Snapshot:
        return self._snapshots.take(instance_uuid, snapshot_id, cancel)

    def discard_snapshot(self, instance_uuid: str, snapshot_id: str) -> None:
        self._snapshots.discard(instance_uuid, snapshot_id)

    def diagnostics(self, instance_uuid: str) -> Diagnostics:
        return self._guests.with_own("diagnostics", instance_uuid, lambda own: diagnostics.read(own.domain))

    def reboot(self, instance_uuid: str, operation_id: str, *, hard: bool) -> None:
        self._anti_spoof.allow(self._bindings(instance_uuid))
        self._power.reboot(instance_uuid, operation_id, hard=hard)

    def remove(self, instance_uuid: str, epoch: int) -> None:
        leftovers = self._folders.upto(instance_uuid, epoch)
        self._guests.erase(instance_uuid, epoch, timeout_s=self._settings.start_timeout_s)
        for folder in leftovers:
            self._forget(folder)
            self._folders.remove(folder)

    def stats(self) -> Stats:
        now = self._runtime.clock.now()
        guests = self._connection.call("stats", lambda conn: stats.read_all(conn, now))
        return Stats(host=self._load.read(guests=len(guests), at=now), guests=guests)

    def console_log(self, instance_uuid: str, max_bytes: int) -> bytes:
        return console.tail(self._own_folder(instance_uuid), max_bytes)

    def subscribe(self, listener: Callable[[PowerEvent], None]) -> None:
        self._events.subscribe(listener)

    def close(self) -> None:
        self._connection.close()
        self._calls.close()

    def _folder(self, spec: GuestSpec) -> Folder:
        return self._folders.of(spec.uuid, spec.epoch)

    def _own_folder(self, instance_uuid: str) -> Folder:
        state = self._guests.get(instance_uuid)
        if state is None:
            raise errors.GuestNotFound(instance=instance_uuid)
        return self._folders.of(instance_uuid, state.epoch)

    def _bindings(self, instance_uuid: str) -> tuple[Binding, ...]:
        return antispoof.read(self._own_folder(instance_uuid).ports)

    def _forget(self, folder: Folder) -> None:
        try:
            self._anti_spoof.forget(antispoof.read(folder.ports))
        except errors.DriverError as exc:
            # What is left lets a tap that is gone send as itself: no reason to keep a placement for ever.
            LOG.warning("packet filter not cleared", folder=folder.path, error=exc)

    def _shape(self, spec: GuestSpec, virt_type: str) -> Shape:
        settings, dedicated = self._settings, self._given_out.cpus
        cells: dict[int, tuple[int, ...]] = {}
        if dedicated or spec.hardware.cells:
            found = self._cells or self._connection.call(
                "topology", lambda conn: topology.cells(conn.getCapabilities())
            )
            cells = {cell.id: tuple(cpu for cpu in cell.cpus if cpu not in dedicated) for cell in found}
        return Shape(
            machine=settings.machine,
            cpu_mode=self._cpu_mode() if virt_type == "kvm" else "",
            disk_cache=settings.disk_cache,
            vnc=settings.vnc,
            shared_cpus=tuple(cpu for cpus in cells.values() for cpu in cpus) if dedicated else (),
            cell_cpus=cells,
        )

    def _cpu_mode(self) -> str:
        if self._settings.cpu_mode == "auto":
            return "host-passthrough" if self._prove_kvm().works else ""
        return "" if self._settings.cpu_mode == "none" else self._settings.cpu_mode

    def _virt_type(self, spec: GuestSpec) -> str:
        types = self._virt_types()
        if spec.virt_type and spec.virt_type not in types:
            reason = self._prove_kvm().reason if self._settings.virt_type == "auto" else "switched off here"
            raise errors.VirtTypeUnsupported(virt_type=spec.virt_type, reason=reason)
        return spec.virt_type or types[0]

    def _virt_types(self) -> tuple[str, ...]:
        """What works here, best first."""
        if self._settings.virt_type == "kvm" or (self._settings.virt_type == "auto" and self._prove_kvm().works):
            return ("kvm", "qemu")
        return ("qemu",)

    def _prove_kvm(self) -> probe.Proof:
        with self._probing:
            if self._proof is None:
                emulator, version = self._connection.call(
                    "find QEMU", lambda conn: (host.emulator(conn), conn.getVersion())
                )
                key = probe.cache_key(emulator, version)
                self._proof = probe.prove(self._runtime, emulator, key=key, state_dir=self._state_dir)
            return self._proof
