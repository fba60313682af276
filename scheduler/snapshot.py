"""A fleet and what was asked of it, as a file: to replay elsewhere, with other rules, on other machines.

A file is gzip of JSON lines: a head, a line a host, a line a request.  It holds names of hosts, project ids and
what requests asked for; no names, metadata or secrets of instances.
"""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

import drover
from drover import errors
from drover.conf.scheduler import SchedulerSettings
from drover.db import host_table, wish
from drover.db.host_table import HostRow
from drover.db.wish import Placed
from drover.objects import codec
from drover.objects.group import GroupPolicy
from drover.objects.host import HostUsage
from drover.states import VERBS
from scheduler.decide import Choice, Limits, decide
from scheduler.host_table import Beside, HostTable
from scheduler.plugin import Chain
from scheduler.spec import PlacementSpec, spec_of

__all__ = ["Head", "HostLine", "RequestLine", "Snapshot", "pack", "replay", "rewind", "take", "unpack"]

FORMAT = "drover-scheduler-snapshot-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    format: str = FORMAT
    taken_at: datetime
    version: str  # of Drover
    settings: SchedulerSettings
    hosts: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLine:
    """A host with what stands beside its row."""

    row: HostRow
    instances: int = 0
    claims: tuple[str, ...] = ()  # JSON of HardwareClaim each
    usage: HostUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLine:
    """What *placed* holds is counted in its host's line, and among the members of the group."""

    spec: PlacementSpec
    placed: Placed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """*requests* oldest first."""

    head: Head
    hosts: tuple[HostLine, ...]
    requests: tuple[RequestLine, ...]


def take(conn: Connection, settings: SchedulerSettings, chain: Chain, at: datetime, most: int) -> Snapshot:
    """The fleet as it is, and its newest *most* requests for a place."""
    placing = [verb.action for verb in VERBS.values() if verb.places]
    # First: what is placed from now on is counted with its host, and is no request of this file.
    requests = tuple(
        RequestLine(spec=_with_itself(spec_of(wanted, chain.aliases), placed), placed=placed)
        for wanted, placed in wish.recent(conn, placing, most)
    )
    instances, claims = host_table.count_instances(conn), host_table.read_hardware_claims(conn)
    usage = host_table.read_usage(conn)
    hosts = tuple(
        HostLine(
            row=row,
            instances=instances.get(row.host, 0),
            claims=tuple(sorted(claims.get(row.host, ()))),
            usage=usage.get(row.host),
        )
        for row in sorted(host_table.read_all(conn).rows, key=lambda row: row.host)
    )
    head = Head(taken_at=at, version=drover.__version__, settings=settings, hosts=len(hosts), requests=len(requests))
    return Snapshot(head=head, hosts=hosts, requests=requests)


def _with_itself(spec: PlacementSpec, placed: Placed | None) -> PlacementSpec:
    """With this instance among the members of its group: those of anti-affinity are told with it, others without."""
    if spec.group is None or placed is None or spec.group.policy is GroupPolicy.ANTI_AFFINITY:
        return spec
    members = Counter(dict(spec.group.hosts)) + Counter((placed.host,))
    return _grouped(spec, members)


def pack(snapshot: Snapshot) -> bytes:
    """The file's bytes; equal snapshots have equal ones."""
    lines = (snapshot.head, *snapshot.hosts, *snapshot.requests)
    return gzip.compress("".join(f"{codec.to_json(line)}\n" for line in lines).encode(), mtime=0)


def unpack(data: bytes) -> Snapshot:
    """:raises errors.BadInput: this is no such file, or not a whole one."""
    try:
        first, *lines = gzip.decompress(data).splitlines()
        head = codec.from_json(first, Head, what="snapshot")
    except (OSError, EOFError, ValueError, zlib.error, errors.BadRequest) as exc:
        raise errors.BadInput(reason=f"no snapshot of a scheduler: {exc}") from None
    if head.format != FORMAT or len(lines) != head.hosts + head.requests:
        raise errors.BadInput(reason=f"no whole snapshot of this release's format {FORMAT}")
    return Snapshot(
        head=head,
        hosts=tuple(codec.from_json(line, HostLine, what="snapshot") for line in lines[: head.hosts]),
        requests=tuple(codec.from_json(line, RequestLine, what="snapshot") for line in lines[head.hosts :]),
    )


def replay(snapshot: Snapshot, chain: Chain, limits: Limits) -> list[Choice]:
    """One choice a request, from the fleet as it was before the first of them."""
    table, specs = rewind(snapshot)
    return decide(table, specs, chain, limits)


def rewind(snapshot: Snapshot) -> tuple[HostTable, list[PlacementSpec]]:
    """The fleet without what the requests were given, and the requests, of which none is a member of its group yet."""
    given: dict[str, list[Placed]] = {}
    members: dict[str, Counter[str]] = {}  # that requests brought, by group
    for request in snapshot.requests:
        if request.placed is not None:
            given.setdefault(request.placed.host, []).append(request.placed)
            if request.spec.group is not None:
                members.setdefault(request.spec.group.id, Counter()).update((request.placed.host,))
    hosts = [_without(line, given.get(line.row.host, ())) for line in snapshot.hosts]
    table = HostTable.build(
        (line.row for line in hosts),
        Beside(
            instances={line.row.host: line.instances for line in hosts},
            claims={line.row.host: line.claims for line in hosts if line.claims},
        ),
    )
    usage = {line.row.host: line.usage for line in hosts if line.usage is not None}
    return table.with_usage(usage), [_alone(request.spec, members) for request in snapshot.requests]


def _without(line: HostLine, given: Sequence[Placed]) -> HostLine:
    if not given:
        return line
    row = line.row
    return HostLine(
        row=dataclasses.replace(
            row,
            used_vcpus=row.used_vcpus - sum(each.amount.vcpus for each in given),
            used_memory_mib=row.used_memory_mib - sum(each.amount.memory_mib for each in given),
            used_disk_gib=row.used_disk_gib - sum(each.amount.disk_gib for each in given),
        ),
        instances=line.instances - len(given),
        claims=_less(line.claims, (each.hardware for each in given)),
        usage=line.usage,
    )


def _less(claims: Sequence[str], gone: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted((Counter(claims) - Counter(gone)).elements()))


def _alone(spec: PlacementSpec, members: dict[str, Counter[str]]) -> PlacementSpec:
    if spec.group is None or spec.group.id not in members:
        return spec
    return _grouped(spec, Counter(dict(spec.group.hosts)) - members[spec.group.id])


def _grouped(spec: PlacementSpec, members: Counter[str]) -> PlacementSpec:
    assert spec.group is not None
    return dataclasses.replace(spec, group=dataclasses.replace(spec.group, hosts=tuple(sorted(members.items()))))
