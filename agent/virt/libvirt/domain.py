"""Domains as Drover sees them. Functions for work inside a call: libvirt's errors leave them raw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libvirt

from agent.virt.libvirt import identity
from agent.virt.libvirt.fault import is_code
from drover.objects.guest import GuestClass, GuestState
from drover.states import PowerState

__all__ = ["Found", "boots_rescue", "find", "find_named", "list_all", "power_of", "power_of_domain", "restamp"]

_RUNNING = frozenset({libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED, libvirt.VIR_DOMAIN_SHUTDOWN})
_PAUSED = frozenset({libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED})
#: pauses of libvirt's own, in the middle of something: how it ends nobody can say yet
_PASSING = frozenset(
    {
        libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
        libvirt.VIR_DOMAIN_PAUSED_SAVE,
        libvirt.VIR_DOMAIN_PAUSED_DUMP,
        libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT,
        libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
    }
)
_OFF = frozenset({PowerState.SHUTDOWN, PowerState.CRASHED})
_CRASHES = frozenset({libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, libvirt.VIR_DOMAIN_SHUTOFF_FAILED})


@dataclass(frozen=True, slots=True)
class Found:
    """A domain and who it is."""

    domain: libvirt.virDomain
    mark: identity.Stamp | None
    kind: GuestClass

    @property
    def ours(self) -> bool:
        return self.kind is GuestClass.OURS

    @property
    def epoch(self) -> int:
        """0 for a foreign domain."""
        return self.mark.epoch if self.mark is not None and self.ours else 0


def power_of(state: int, reason: int) -> PowerState:
    """libvirt's domain state. A guest that is shutting down (``SHUTDOWN``) still runs; of one that is being started
    or saved nobody can say yet where it ends. One whose disk failed it (``IOERROR``) is paused: it goes on when told."""
    if state in _RUNNING:
        return PowerState.RUNNING
    if state == libvirt.VIR_DOMAIN_PAUSED and reason in _PASSING:
        return PowerState.UNKNOWN
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN:
        return PowerState.RUNNING
    if state in _PAUSED:
        return PowerState.PAUSED
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        return PowerState.CRASHED if reason in _CRASHES else PowerState.SHUTDOWN
    return PowerState.CRASHED if state == libvirt.VIR_DOMAIN_CRASHED else PowerState.UNKNOWN


def power_of_domain(domain: libvirt.virDomain) -> PowerState:
    state, reason = domain.state()
    return power_of(state, reason)


def find(connection: libvirt.virConnect, instance_uuid: str, deployment_id: str) -> Found | None:
    """The domain with this uuid, whoever it belongs to; None when libvirt says there is none."""
    try:
        return _found(connection.lookupByUUIDString(instance_uuid), instance_uuid, deployment_id)
    except libvirt.libvirtError as exc:
        if is_code(exc, libvirt.VIR_ERR_NO_DOMAIN):
            return None
        raise


def find_named(connection: libvirt.virConnect, name: str) -> str:
    """The uuid of the domain called *name*; empty when there is none."""
    try:
        return str(connection.lookupByName(name).UUIDString())
    except libvirt.libvirtError as exc:
        if is_code(exc, libvirt.VIR_ERR_NO_DOMAIN):
            return ""
        raise


def list_all(connection: libvirt.virConnect, deployment_id: str) -> list[GuestState]:
    """Every domain, by uuid. States come from one call, marks from one small call a domain."""
    rows: Sequence[tuple[libvirt.virDomain, dict[str, int]]]
    rows = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)
    guests: list[GuestState] = []
    for domain, stats in rows:
        domain_uuid = domain.UUIDString()
        power_state = power_of(stats.get("state.state", -1), stats.get("state.reason", -1))
        try:
            guests.append(state_of(_found(domain, domain_uuid, deployment_id), domain_uuid, power_state))
        except libvirt.libvirtError as exc:
            if is_code(exc, libvirt.VIR_ERR_NO_DOMAIN):
                continue  # gone since the list was made
            raise
    return sorted(guests, key=lambda guest: guest.uuid)


def state_of(found: Found, domain_uuid: str, power_state: PowerState) -> GuestState:
    mark = found.mark if found.ours else None
    return GuestState(
        uuid=domain_uuid,
        name=found.domain.name(),
        kind=found.kind,
        epoch=mark.epoch if mark else 0,
        power_state=power_state,
        operation_id=mark.operation_id if mark else "",
        spec_digest=mark.digest if mark else "",
        saved=found.ours and power_state in _OFF and bool(found.domain.hasManagedSaveImage()),
        rescue=mark.rescue if mark else False,
    )


def boots_rescue(found: Found) -> bool:
    """By its definition, and by the one it runs with."""
    kind, persistent = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    marks = [found.mark, identity.read(found.domain.metadata(kind, identity.NAMESPACE, persistent))]
    return any(mark is not None and mark.rescue for mark in marks)


def restamp(domain: libvirt.virDomain, operation_id: str) -> None:
    """Put *operation_id* into the mark, live and persistent."""
    kind, flags = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    if domain.isActive():
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
    text = identity.restamped(domain.metadata(kind, identity.NAMESPACE, 0), operation_id)
    domain.setMetadata(kind, text, identity.PREFIX, identity.NAMESPACE, flags)


def _found(domain: libvirt.virDomain, domain_uuid: str, deployment_id: str) -> Found:
    try:
        # flags 0: of the live definition while the domain is active
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, identity.NAMESPACE, 0)
    except libvirt.libvirtError as exc:
        if not is_code(exc, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            raise
        return Found(domain, None, GuestClass.FOREIGN)
    mark = identity.read(text)
    return Found(domain, mark, identity.classify(mark, domain_uuid, deployment_id))
