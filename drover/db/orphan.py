"""Orphans: domains of ours, and files, that a host shows and no record there entitles (DESIGN §3). Listed, never touched.

The record is a placement on that host of at least the domain's epoch: it names the domain, or entitles its
destroy.  A domain without one is noted for as long as its host goes on showing it, and counts from the second time
on: one look may have been on its way while the domain and its record went.  Of the moments noted only that they differ
says anything: several clocks write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, bindparam, delete, select, tuple_

from drover.clock import to_iso
from drover.db.bulk import among, insert_rows, listed
from drover.db.schema import allocation, host, orphan
from drover.objects.sync import Observation, Remains

__all__ = ["DISK", "Key", "drop", "hosts_of", "note", "orphans_of", "shown", "subject"]

#: in the place of a power state: files without a domain
DISK = "disk"

Seen = TypeVar("Seen", Observation, Remains)
Key = tuple[str, str]  # host, instance uuid


def subject(host_name: str, instance_uuid: str) -> str:
    """Of the alarm."""
    return f"{host_name}/{instance_uuid}"


def note(conn: Connection, name: str, observed: Iterable[Seen], now: datetime) -> list[Seen]:
    """Judge what host *name* shows; answers the orphans that count from now on.

    :param observed: domains with a doubt, or files; those that are in order cost nothing but this look.
    """
    seen = {item.instance_uuid: item for item in observed}
    if not seen:
        return []
    recorded = {
        row.instance_uuid
        for row in conn.execute(_RECORDS, {"of_host": name, "uuids": listed(seen)})
        if row.epoch >= seen[row.instance_uuid].epoch
    }
    known = {row.instance_uuid: row for row in conn.execute(_KNOWN, {"of_host": name})}
    orphans = [item for uuid, item in sorted(seen.items()) if uuid not in recorded]
    again = sorted({item.instance_uuid for item in orphans} | (recorded & known.keys()))
    if again:
        o = orphan.c
        conn.execute(delete(orphan).where(tuple_(o.host, o.instance_uuid).in_([(name, uuid) for uuid in again])))
    rows = [
        {
            "host": name,
            "instance_uuid": item.instance_uuid,
            "epoch": item.epoch,
            "power_state": item.power_state.value if isinstance(item, Observation) else DISK,
            "first_seen_at": known[item.instance_uuid].first_seen_at if item.instance_uuid in known else to_iso(now),
            "seen_at": to_iso(now),
        }
        for item in orphans
    ]
    insert_rows(conn, orphan, rows, ignore=True)
    once = {uuid for uuid, row in known.items() if row.first_seen_at == row.seen_at}
    return [item for item in orphans if item.instance_uuid in once]


_RECORDS = select(allocation.c.instance_uuid, allocation.c.epoch).where(
    allocation.c.host == bindparam("of_host"), among(allocation.c.instance_uuid, bindparam("uuids"))
)
_KNOWN = select(orphan).where(orphan.c.host == bindparam("of_host"))


def orphans_of(conn: Connection) -> dict[str, tuple[str, ...]]:
    """Uuids by host."""
    found: dict[str, tuple[str, ...]] = {}
    for row in conn.execute(_SHOWN):
        found[row.host] = (*found.get(row.host, ()), row.instance_uuid)
    return found


_SHOWN = (
    select(orphan.c.host, orphan.c.instance_uuid)
    .where(orphan.c.first_seen_at != orphan.c.seen_at, orphan.c.power_state != DISK)
    .order_by(orphan.c.host, orphan.c.instance_uuid)
)


def hosts_of(conn: Connection, instance_uuid: str, *, anywhere: bool) -> list[str]:
    """Hosts that may have a domain of this instance without a record there: started elsewhere, it might run twice.

    Here the first look counts: a refusal that comes too early is no harm.

    :param anywhere: hosts that were not heard since the database was restored count too.
    """
    hosts = set(conn.execute(_HOSTS_OF, {"uuid": instance_uuid}).scalars())
    return sorted(hosts.union(conn.execute(_UNHEARD).scalars()) if anywhere else hosts)


_HOSTS_OF = select(orphan.c.host).where(orphan.c.instance_uuid == bindparam("uuid"), orphan.c.power_state != DISK)
_UNHEARD = select(host.c.name).where(host.c.last_sync_at.is_(None), host.c.fence == "")


def shown(conn: Connection) -> dict[Key, str]:
    """When each was last shown, by the clock of who wrote it; those that were shown once too."""
    return {(row.host, row.instance_uuid): row.seen_at for row in conn.execute(_LAST_SEEN)}


_LAST_SEEN = select(orphan.c.host, orphan.c.instance_uuid, orphan.c.seen_at)


def drop(conn: Connection, gone: Mapping[Key, str]) -> None:
    """They are gone, but for those that were shown again since."""
    wanted = sorted((*key, seen_at) for key, seen_at in gone.items())
    conn.execute(delete(orphan).where(tuple_(orphan.c.host, orphan.c.instance_uuid, orphan.c.seen_at).in_(wanted)))
