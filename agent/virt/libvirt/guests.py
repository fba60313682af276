"""The guests of this host, asked over the connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import libvirt

from agent.virt.libvirt import domain, identity
from agent.virt.libvirt.connection import Connection
from agent.virt.libvirt.domain import Found
from agent.virt.libvirt.fault import is_code
from drover import errors
from drover.objects.guest import GuestSpec, GuestState

__all__ = ["Guests", "objection"]

T = TypeVar("T")

_ROUNDS = 3
_GONE = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)


class Guests:
    """Whose is what, define and erase. ``deployment_id`` is empty until the agent is registered."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.deployment_id = ""

    def list(self) -> list[GuestState]:
        """Every domain, ours and foreign, by uuid."""
        return self.connection.call("list domains", lambda conn: domain.list_all(conn, self.deployment_id))

    def get(self, instance_uuid: str) -> GuestState | None:
        """One guest of ours."""

        def look(conn: libvirt.virConnect) -> GuestState | None:
            found = domain.find(conn, instance_uuid, self.deployment_id)
            if found is None or not found.ours:
                return None
            return domain.state_of(found, instance_uuid, domain.power_of_domain(found.domain))

        return self.connection.call("find domain", look)

    def boots_rescue(self, instance_uuid: str) -> bool:
        """Whether a guest of ours runs from its rescue disk, or will from its next start on.

        :raises errors.GuestNotFound: there is no domain, or it is not ours.
        """
        return self.with_own("look for a rescue", instance_uuid, domain.boots_rescue)

    def with_own(
        self,
        operation: str,
        instance_uuid: str,
        work: Callable[[Found], T],
        *,
        timeout_s: float | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> T:
        """Run *work* on a guest of ours, in one call under one deadline.

        :raises errors.GuestNotFound: there is no domain, or it is not ours.
        """

        def do(conn: libvirt.virConnect) -> T:
            found = domain.find(conn, instance_uuid, self.deployment_id)
            if found is None or not found.ours:
                raise errors.GuestNotFound(instance=instance_uuid)
            return work(found)

        return self.connection.call(operation, do, timeout_s=timeout_s, meanwhile=meanwhile)

    def define(self, spec: GuestSpec, xml: str) -> None:
        """Make *xml* the persistent definition.

        :raises errors.GuestConflict: see :func:`objection`.
        """

        def do(conn: libvirt.virConnect) -> None:
            found = domain.find(conn, spec.uuid, self.deployment_id)
            active = found is not None and bool(found.domain.isActive())
            named = domain.find_named(conn, identity.domain_name(spec.uuid))
            reason = objection(found, spec, active=active, named=named)
            if reason:
                raise errors.GuestConflict(instance=spec.uuid, reason=reason)
            conn.defineXML(xml)

        self.connection.call("define", do)

    def erase(self, instance_uuid: str, epoch: int, *, timeout_s: float) -> None:
        """Destroy and undefine the domain of (instance, epoch ≤ *epoch*); none there is fine.

        :raises errors.GuestConflict: it is not ours or of a later epoch; nothing was touched.
        """

        def do(conn: libvirt.virConnect) -> None:
            # Again, because a start that was overdue may take effect between two steps.
            for _ in range(_ROUNDS):
                found = domain.find(conn, instance_uuid, self.deployment_id)
                if found is None:
                    return
                if not found.ours:
                    raise errors.GuestConflict(instance=instance_uuid, reason="the domain is not ours")
                if found.epoch > epoch:
                    raise errors.GuestConflict(instance=instance_uuid, reason=f"its epoch is {found.epoch}")
                _erase(found.domain)
            raise errors.DriverError(operation="remove", detail="the domain comes back")

        self.connection.call("remove", do, timeout_s=timeout_s)


def objection(found: Found | None, spec: GuestSpec, *, active: bool, named: str) -> str:
    """Why *spec* must not be defined now; empty when it may.

    :param found: the domain that has the spec's uuid.
    :param named: uuid of the domain that has the spec's domain name, empty when none has.
    """
    if named and named != spec.uuid:
        return f"another domain is named {identity.domain_name(spec.uuid)}"
    if found is None:
        return ""
    if not found.ours:
        return "a domain that is not ours has its uuid"
    if active and found.epoch != spec.epoch:
        return f"it is active with epoch {found.epoch}"
    if found.epoch > spec.epoch:
        return f"it is defined with epoch {found.epoch}"
    return ""


def _erase(own: libvirt.virDomain) -> None:
    flags = (
        libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    )
    for step in (own.destroy, lambda: own.undefineFlags(flags)):
        try:
            step()
        except libvirt.libvirtError as exc:
            if not is_code(exc, *_GONE):  # already off, already gone
                raise
