"""A fake guest's life: records in, records out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from agent.virt.digest import spec_digest
from agent.virt.fake_store import Definition, GuestRecord
from drover.objects.guest import Diagnostics, GuestClass, GuestSpec, GuestState
from drover.objects.instance import InstanceUsage
from drover.states import PowerState

__all__ = [
    "at_rest",
    "booted",
    "define",
    "diagnostics_of",
    "domain_name",
    "latest_part",
    "off",
    "stamp",
    "state_of",
    "usage_of",
]


def domain_name(instance_uuid: str) -> str:
    return f"drover-{instance_uuid}"


def at_rest(record: GuestRecord) -> GuestRecord:
    """As it is: of a guest that went off, by whatever cause, the latest definition counts."""
    if record.active or record.redefined is None:
        return record
    return _apply(record, record.redefined)


def define(record: GuestRecord, spec: GuestSpec, operation_id: str, *, rescue: bool) -> GuestRecord:
    definition = Definition(
        operation_id=operation_id,
        spec_digest=spec_digest(spec),
        vcpus=spec.vcpus,
        memory_mib=spec.memory_mib,
        rescue=rescue,
    )
    known = replace(
        record,
        name=domain_name(spec.uuid),
        deployment_id=spec.deployment_id,
        epoch=spec.epoch,
        defined=True,
        rescue_image=record.rescue_image if rescue else "",
        rescue_epoch=record.rescue_epoch if rescue else 0,
    )
    return replace(known, redefined=definition) if record.active else _apply(known, definition)


def without_rescue_disk(record: GuestRecord) -> GuestRecord:
    """As it is, if it boots from that disk, or will."""
    if record.rescue or (record.redefined and record.redefined.rescue):
        return record
    return replace(record, rescue_image="", rescue_epoch=0)


def stamp(record: GuestRecord, operation_id: str) -> GuestRecord:
    redefined = record.redefined and replace(record.redefined, operation_id=operation_id)
    return replace(record, operation_id=operation_id, redefined=redefined)


def booted(record: GuestRecord, at: datetime, marker: str) -> GuestRecord:
    """From its disk, with nothing saved. *marker* is what it says on its console."""
    boots = record.boots + 1
    system = " rescue" if record.rescue else ""
    return replace(
        record,
        power_state=PowerState.RUNNING,
        saved=False,
        boots=boots,
        booted_at=at,
        console=f"{record.console}{marker} boots={boots}{system}\n",
    )


def off(record: GuestRecord, *, saved: bool = False) -> GuestRecord:
    return at_rest(replace(record, power_state=PowerState.SHUTDOWN, saved=saved))


def latest_part(record: GuestRecord) -> int:
    """The highest epoch of what is there beside the domain."""
    return max(record.disk_epoch, record.network_epoch, record.config_epoch, record.rescue_epoch)


def state_of(record: GuestRecord, *, ours: bool) -> GuestState:
    if not ours:
        return GuestState(uuid=record.uuid, name=record.name, kind=GuestClass.FOREIGN, power_state=record.power_state)
    return GuestState(
        uuid=record.uuid,
        name=record.name,
        kind=GuestClass.OURS,
        epoch=record.epoch,
        power_state=record.power_state,
        operation_id=record.operation_id,
        spec_digest=record.spec_digest,
        saved=record.saved and not record.active,
        rescue=record.rescue,
    )


def usage_of(record: GuestRecord, now: datetime) -> InstanceUsage:
    return InstanceUsage(
        cpu_time_s=_uptime_s(record, now) / 100,
        memory_mib=record.memory_mib,
        memory_rss_mib=record.memory_mib,
        at=now,
    )


def diagnostics_of(record: GuestRecord, now: datetime) -> Diagnostics:
    disks = ["vda", "vdb"] if record.rescue else ["vda"]
    cpu_time_s = _uptime_s(record, now) / 100 / max(1, record.vcpus)
    return Diagnostics(
        instance_uuid=record.uuid,
        hypervisor="fake",
        power_state=record.power_state,
        uptime_s=_uptime_s(record, now) if record.active else None,
        cpu_time_s=(cpu_time_s,) * record.vcpus if record.active else (),
        memory_mib=record.memory_mib,
        memory_rss_mib=record.memory_mib if record.active else 0,
        disks=tuple(_idle_disk(device) for device in disks) if record.active else (),
    )


def _apply(record: GuestRecord, definition: Definition) -> GuestRecord:
    return replace(
        record,
        operation_id=definition.operation_id,
        spec_digest=definition.spec_digest,
        vcpus=definition.vcpus,
        memory_mib=definition.memory_mib,
        rescue=definition.rescue,
        redefined=None,
    )


def _idle_disk(device: str) -> dict[str, int | str]:
    zeros = dict.fromkeys(("read_bytes", "read_requests", "write_bytes", "write_requests", "errors"), 0)
    return {"device": device, **zeros}


def _uptime_s(record: GuestRecord, now: datetime) -> float:
    return max(0.0, (now - (record.booted_at or now)).total_seconds())
