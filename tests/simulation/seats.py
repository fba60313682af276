"""Promise 2 beyond sums: seats of server groups and dedicated CPUs, as the records give them, looked at from outside."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from tests.simulation.store import Store

__all__ = ["DEDICATED", "misplaced"]

#: CPUs of each host that are given out one by one
DEDICATED = frozenset({4, 5})

_MEMBERS = (
    "SELECT g.name, g.policy, g.max_per_host, a.host, a.instance_uuid FROM allocation a"
    " JOIN server_group_member m ON m.instance_uuid = a.instance_uuid JOIN server_group g ON g.id = m.group_id"
)
_HARDWARE = "SELECT host, hardware FROM allocation WHERE hardware <> ''"


def misplaced(store: Store) -> Iterator[str]:
    """What is held that must not be, in words."""
    groups = defaultdict(list)
    for name, policy, most, host, uuid in store.rows(_MEMBERS):
        groups[name, policy, most].append((host, uuid))
    for (name, policy, most), members in groups.items():
        hosts = [host for host, _ in members]
        if policy == "anti-affinity" and any(hosts.count(host) > most for host in hosts):
            yield f"group {name} is not kept apart: {members}"
        if policy == "affinity" and any(a != b and x != y for a, x in members for b, y in members):
            yield f"group {name} is not kept together: {members}"
    given: dict[str, list[int]] = defaultdict(list)
    for host, text in store.rows(_HARDWARE):
        given[host] += [cpu for cell in json.loads(text)["cells"] for cpu in cell["cpus"]]
    for host, cpus in given.items():
        if len(set(cpus)) < len(cpus) or not DEDICATED.issuperset(cpus):
            yield f"dedicated CPUs of {host} are {sorted(DEDICATED)}, given away: {cpus}"
