"""Hosts: listed, enabled, adopted, fenced and forgotten."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from conductor import effect
from conductor.alarm import ALARMS, clear_alarms
from conductor.breaker import Breaker
from conductor.core import Core
from conductor.plan.fence import AT_REST, Planned, plan_fence, plan_forget
from conductor.plan.sync import Facts, info
from conductor.rule.page import check_limit
from drover import errors, log, retry
from drover.clock import age_s
from drover.db import host, instance, notice, operation, placement
from drover.objects.event import host_event
from drover.objects.host import Fence, Host
from drover.objects.page import HostFilter
from drover.objects.preview import HostChange
from drover.rpc.conductor import Alarm, Service
from drover.rpc.context import RequestContext
from drover.states import FINAL_STATES, PlacementState

__all__ = ["HostWorkflow", "settle", "unsettled"]

LOG = log.get(__name__)

#: a service writes its heartbeat every 10 s
SERVICE_DOWN_AFTER_S = 35.0
LONGEST_REASON = 1000
#: names told in a refusal
MOST_NAMES = 5


class HostWorkflow:
    """The fleet's part of the contract."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._breaker = Breaker(core)

    # --- reading -----------------------------------------------------------------------------------------------

    def list(self, query: HostFilter) -> tuple[Host, ...]:
        check_limit(query.limit)
        with self._core.database.read() as conn:
            return tuple(host.list_all(conn, query))

    def show(self, name: str) -> Host:
        with self._core.database.read() as conn:
            return host.get(conn, name)

    def services(self) -> tuple[Service, ...]:
        now = self._core.runtime.clock.now()
        with self._core.database.read() as conn:
            rows = notice.services(conn)
        return tuple(
            Service(kind=kind, name=name, version=version, up=_alive(seen, now)) for kind, name, version, seen in rows
        )

    def alarms(self) -> tuple[Alarm, ...]:
        with self._core.database.read() as conn:
            rows = notice.alarms(conn)
        return tuple(Alarm(kind=kind, subject=subject, detail=detail, at=at) for kind, subject, detail, at in rows)

    def alarm_clear(self, ctx: RequestContext, kind: str, subject: str) -> Alarm:
        """See the contract."""
        rule = ALARMS.get(kind)
        if rule is not None and not rule.acknowledged:
            raise errors.AlarmStands(kind=kind, subject=subject, cleared=rule.cleared)
        with self._core.database.write() as conn:
            known = [row for row in notice.alarms(conn) if row[:2] == (kind, subject)]
            if not known:
                raise errors.AlarmNotFound(ref=f"{kind} {subject}")
            told = clear_alarms(conn, kind, [subject])
        LOG.info("alarm acknowledged", kind=kind, subject=subject, user=ctx.user_id, request_id=ctx.request_id)
        self._core.events.publish(told)
        return Alarm(kind=kind, subject=subject, detail=known[0][2], at=known[0][3])

    # --- what an operator says -----------------------------------------------------------------------------------

    def set_enabled(self, name: str, *, enabled: bool, reason: str) -> Host:
        _check_reason(reason)
        with self._core.database.write() as conn:
            host.get(conn, name)
            host.set_enabled(conn, name, enabled=enabled, reason=reason)
            after = host.get(conn, name)
        if enabled:
            self._core.room.came()
        self._core.events.publish([host_event(name, "enabled" if enabled else "disabled", after.disabled_reason)])
        return after

    def set_draining(self, ctx: RequestContext, name: str, *, draining: bool) -> Host:
        """See the contract."""
        with self._core.database.write() as conn:
            host.get(conn, name)
            host.set_draining(conn, name, draining=draining)
            after = host.get(conn, name)
        if not draining:
            self._core.room.came()
        LOG.info("host draining" if draining else "host drains no more", host=name, user=ctx.user_id)
        self._core.events.publish([host_event(name, "draining" if draining else "undrained")])
        return after

    def release(self, ctx: RequestContext, name: str) -> Host:
        """See the contract."""
        self.show(name)
        self._breaker.release(name)
        LOG.info("host released", host=name, user=ctx.user_id, request_id=ctx.request_id)
        return self.show(name)

    def adopt(self, ctx: RequestContext, name: str) -> Host:
        with self._core.database.write() as conn:
            host.get(conn, name)
            host.adopt(conn, name)
            after = host.get(conn, name)
        LOG.warning("host may be adopted", host=name, user=ctx.user_id, request_id=ctx.request_id)
        self._core.events.publish([host_event(name, "adoptable")])
        return after

    def fence(self, ctx: RequestContext, name: str, reason: str, *, dry_run: bool) -> HostChange:
        """See the contract. A crash in the middle leaves a fenced host, and the reaper settles the rest."""
        if not reason.strip():
            raise errors.BadInput(reason="a fence needs a reason: how it is known that the machine is off")
        _check_reason(reason)
        core = self._core
        word = Fence(reason=reason, by=ctx.user_id, at=core.runtime.clock.now())
        if dry_run:
            with core.database.read() as conn:
                it = self._silent(conn, name)
                planned = _plan(conn, core, name, it.fence or word, lock=False)
            return HostChange(host=it, done=False, consequences=tuple(planned.consequences))
        with core.database.write() as conn:
            it = self._silent(conn, name)
            host.fence(conn, name, word)
        if it.fence is None:
            LOG.warning("host fenced", host=name, reason=reason, user=ctx.user_id, request_id=ctx.request_id)
            core.events.publish([host_event(name, "fenced", reason)])
        planned = settle(core, name, it.fence or word)
        return HostChange(host=self.show(name), done=True, consequences=tuple(planned.consequences))

    def forget(self, ctx: RequestContext, name: str, *, dry_run: bool) -> HostChange:
        """See the contract."""
        core = self._core
        if dry_run:
            with core.database.read() as conn:
                it, planned = self._plan_forget(conn, name)
            return HostChange(host=it, done=False, consequences=tuple(planned.consequences))
        fenced = self.show(name).fence
        if fenced is not None:
            settle(core, name, fenced)
        it, planned, applied = retry.while_busy(core.runtime, lambda: self._forget(name))
        LOG.warning("host forgotten", host=name, user=ctx.user_id, request_id=ctx.request_id)
        applied.events.append(host_event(name, "forgotten"))
        core.after(applied)
        return HostChange(host=it, done=True, consequences=tuple(planned.consequences))

    def _forget(self, name: str) -> tuple[Host, Planned, effect.Applied]:
        core = self._core
        with core.write() as conn:
            host.hold(conn, name)  # no claim comes in between
            it, planned = self._plan_forget(conn, name, lock=True)
            applied = effect.apply(conn, planned.effects, core.owner())
            host.forget(conn, name, core.runtime.clock.now())
        return it, planned, applied

    def _plan_forget(self, conn: Connection, name: str, *, lock: bool = False) -> tuple[Host, Planned]:
        """:raises errors.HostUp: errors.InUse: it cannot be forgotten."""
        it = self._silent(conn, name)
        uuids = {p.instance_uuid for p in placement.of_hosts(conn, [name])}
        found = placement.find_of_instances(conn, uuids, lock=lock)
        there = [p for each in found.values() for p in each if p.host == name]
        instances = instance.find(conn, uuids)
        if there and it.fence is None:
            names = sorted({instances[u].name if u in instances else u for u in uuids})
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            raise errors.InUse(what="host", ref=name, users=f"{', '.join(names[:MOST_NAMES])}{more}")
        return it, plan_forget(name, there, instances)

    def _silent(self, conn: Connection, name: str) -> Host:
        """:raises errors.HostUp: it speaks, so it is not off. HostNotFound."""
        core = self._core
        it = host.get(conn, name)
        silent_after_s = core.times.sync_interval_s * core.times.silent_factor
        age = age_s(it.last_sync_at or it.registered_at or core.runtime.clock.now(), core.runtime.clock.now())
        if it.fence is None and it.up and age <= silent_after_s:
            raise errors.HostUp(host=name, age_s=round(age, 1), silent_after_s=round(silent_after_s, 1))
        return it


def settle(core: Core, name: str, word: Fence) -> Planned:
    """End or move everything that waits for a fenced host. Repeatable: what is settled stays as it is."""
    planned, applied = retry.while_busy(core.runtime, lambda: _settle(core, name, word))
    core.after(applied)
    return planned


def _settle(core: Core, name: str, word: Fence) -> tuple[Planned, effect.Applied]:
    with core.write() as conn:
        planned = _plan(conn, core, name, word, lock=True)
        applied = effect.apply(conn, planned.effects, core.owner())
        # What was deleted before and only waits to be cleaned up there needs no address any more.
        instance.forget_released(conn, (p.instance_uuid for p in placement.leaving_of_hosts(conn, [name])))
        return planned, applied


def _plan(conn: Connection, core: Core, name: str, word: Fence, *, lock: bool) -> Planned:
    here = placement.of_hosts(conn, [name])
    waiting = operation.unfinished_of_hosts(conn, [name])
    if lock:  # some may have ended before their rows were ours
        held = operation.find(conn, (op.id for op in waiting), lock=True)
        still = {op.id for op in held.values() if op.state not in FINAL_STATES and op.host == name}
        waiting = [held[op.id] for op in waiting if op.id in still]
    uuids = {p.instance_uuid for p in here if p.state is not PlacementState.LEAVING}
    # What leaves is held too: of a deleted instance's last two hosts one must see that the other has let go.
    held_there = {p.instance_uuid for p in here} | {op.instance_uuid for op in waiting}
    facts = Facts(
        operations={},
        busy={},
        placements=placement.find_of_instances(conn, held_there, lock=lock),
        build_attempts=core.settings.build_attempts,
    )
    return plan_fence(name, info(host.fence_error(name, word)), waiting, instance.find(conn, uuids), facts)


def unsettled(conn: Connection, name: str) -> bool:
    """Whether anything still waits for a fenced host."""
    if operation.unfinished_of_hosts(conn, [name]):
        return True
    here = placement.of_hosts(conn, [name])
    active = {p.instance_uuid: p.epoch for p in here if p.state is PlacementState.ACTIVE}
    return any(
        it.deleted_at is None and it.epoch == active[it.uuid] and it.vm_state not in AT_REST
        for it in instance.find(conn, active).values()
    )


def _check_reason(reason: str) -> None:
    if len(reason) > LONGEST_REASON:
        raise errors.BadInput(reason="a reason has at most 1,000 characters")


def _alive(seen: datetime, now: datetime) -> bool:
    return age_s(seen, now) < SERVICE_DOWN_AFTER_S
