"""Aggregates: hosts that have something in common, and availability zones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from sqlalchemy import Connection

from conductor.core import Core
from conductor.rule.aggregate import changed, check_aggregate, check_zones
from drover import errors, log, retry
from drover.db import aggregate, host
from drover.objects.event import host_event
from drover.objects.group import Aggregate, AggregateChange
from drover.rpc.context import RequestContext

__all__ = ["AggregateWorkflow"]

LOG = log.get(__name__)

#: names told in a refusal
MOST_NAMES = 5


class AggregateWorkflow:
    """The aggregates' part of the contract. Each change is one transaction, with the copy that the scheduler reads."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create(self, ctx: RequestContext, asked: Aggregate) -> Aggregate:
        """See the contract."""
        check_aggregate(asked)
        core = self._core
        new = replace(asked, id=asked.id or core.runtime.uuid(), hosts=(), created_at=core.runtime.clock.now())
        with core.database.write() as conn:
            aggregate.add(conn, new)
        LOG.info("aggregate created", aggregate=new.name, id=new.id, user=ctx.user_id, request_id=ctx.request_id)
        return new

    def list(self) -> tuple[Aggregate, ...]:
        with self._core.database.read() as conn:
            return aggregate.list_all(conn)

    def show(self, ref: str) -> Aggregate:
        with self._core.database.read() as conn:
            return aggregate.get(conn, ref)

    def delete(self, ctx: RequestContext, ref: str) -> Aggregate:
        """See the contract."""

        def write(conn: Connection, it: Aggregate) -> Aggregate:
            if it.hosts:
                raise errors.InUse(what="aggregate", ref=ref, users=_told(it.hosts))
            aggregate.remove(conn, it)
            return it

        gone = self._write(ref, write)
        LOG.info("aggregate deleted", aggregate=gone.name, user=ctx.user_id, request_id=ctx.request_id)
        return gone

    def add_host(self, ctx: RequestContext, ref: str, name: str) -> Aggregate:
        """See the contract."""

        def write(conn: Connection, it: Aggregate) -> Aggregate:
            aggregate.hold_hosts(conn, [name])
            host.get(conn, name)
            if name not in it.hosts:
                _check_move(conn, it, [name], it.availability_zone)
                aggregate.add_host(conn, it, name)
            return aggregate.get(conn, it.id)

        after = self._write(ref, write)
        self._told(ctx, after, [name])
        return after

    def remove_host(self, ctx: RequestContext, ref: str, name: str) -> Aggregate:
        """See the contract."""

        def write(conn: Connection, it: Aggregate) -> Aggregate:
            aggregate.hold_hosts(conn, [name])
            if name not in it.hosts:
                raise errors.HostNotFound(ref=f"{name} (in aggregate {it.name})")
            if it.availability_zone:
                _check_move(conn, it, [name], "")
            aggregate.remove_host(conn, it, name)
            return aggregate.get(conn, it.id)

        after = self._write(ref, write)
        self._told(ctx, after, [name])
        return after

    def set(self, ctx: RequestContext, ref: str, change: AggregateChange) -> Aggregate:
        """See the contract."""

        def write(conn: Connection, it: Aggregate) -> Aggregate:
            new = changed(it, change)
            check_aggregate(new)
            aggregate.hold_hosts(conn, it.hosts)
            if new.availability_zone != it.availability_zone:
                _check_move(conn, it, it.hosts, new.availability_zone)
            aggregate.change(conn, new)
            return new

        after = self._write(ref, write)
        self._told(ctx, after, after.hosts)
        return after

    def _write(self, ref: str, change: Callable[[Connection, Aggregate], Aggregate]) -> Aggregate:
        """Run *change* on an aggregate that is held; what it answers."""

        def write() -> Aggregate:
            with self._core.database.write() as conn:
                return change(conn, aggregate.hold(conn, ref))

        return retry.while_busy(self._core.runtime, write)

    def _told(self, ctx: RequestContext, it: Aggregate, hosts: Collection[str]) -> None:
        LOG.info("aggregate changed", aggregate=it.name, hosts=len(it.hosts), user=ctx.user_id)
        self._core.room.came()  # a host may be where somebody waits for one
        self._core.events.publish([host_event(name, "aggregates", it.name) for name in hosts])


def _check_move(conn: Connection, it: Aggregate, hosts: Collection[str], to: str) -> None:
    """Whether *hosts* may be in the availability zone *to* by way of *it* ("": by way of it in none).

    :raises errors.ZoneRefused: they may not.
    """
    others = aggregate.zones_of(conn, hosts, without=it.id)
    present: Mapping[str, str] = {**dict.fromkeys(hosts, ""), **aggregate.zones_of(conn, hosts)}
    check_zones(present, others, to, aggregate.guests_of(conn, hosts))


def _told(names: Collection[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(sorted(names)[:MOST_NAMES]) + more
