"""From rows that contradict each other to findings: what, why, and what cures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drover.clock import age_s, from_iso
from drover.objects.audit import Finding

__all__ = ["RULES", "Rule", "finding", "tells"]

_TRACE = "drover trace {name} shows where it hangs; drover instance recover {name} shows what can be done"
_RECOVER = "drover instance recover {name} shows what can be done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Templates over the columns of a check's row."""

    subject: str
    what: str
    why: str
    cure: str


RULES: Mapping[str, Rule] = {
    "CapacityDrift": Rule(
        subject="host {host}",
        what="it counts {used_vcpus} vcpus, {used_memory_mib} MiB, {used_disk_gib} GiB as used; its placements add up "
        "to {vcpus}, {memory_mib}, {disk_gib}",
        why="the scheduler refuses or overfills the host by the difference",
        cure="healed by counting anew",
    ),
    "OverCommitted": Rule(
        subject="host {host}",
        what="used of total: {used_vcpus}/{total_vcpus} vcpus, {used_memory_mib}/{total_memory_mib} MiB, "
        "{used_disk_gib}/{total_disk_gib} GiB",
        why="the host has become smaller than what was claimed on it",
        cure="delete or shelve instances there, or give the host back what it had",
    ),
    "HostDown": Rule(
        subject="host {host}",
        what="silent since {last_sync_at}, with {placements} instances",
        why="its agent does not sync: the machine, its network, or drover-agent is down",
        cure="bring it back; if the machine is off for good: drover host fence {host} --attest REASON",
    ),
    "TwoCopies": Rule(
        subject="instance {name}",
        what="{copies} placements may run it, on {first_host} and {last_host} (uuid {instance_uuid})",
        why="at most one may: this breaks promise 1",
        cure="look at both hosts before anything else; " + _RECOVER,
    ),
    "AffinityBroken": Rule(
        subject="group {name} ({group_id})",
        what="its members are on {hosts} hosts, {first_host} and {last_host} among them",
        why="an affinity group is on one host: this breaks promise 2",
        cure="delete the members that are elsewhere, and create them again",
    ),
    "AntiAffinityBroken": Rule(
        subject="group {name} ({group_id}) on {host}",
        what="{members} members there, {max_per_host} at most",
        why="an anti-affinity group is kept apart: this breaks promise 2",
        cure="delete those that are too many there, and create them again",
    ),
    "HardwareTwice": Rule(
        subject="host {host}",
        what="given to more than one guest: {pieces}",
        why="a dedicated CPU or a PCI device has one guest: this breaks promise 2",
        cure="stop and delete all but one of them, and create them again",
    ),
    "HardwareBeyond": Rule(
        subject="host {host}",
        what="its guests hold what it does not offer: {pieces}",
        why="the host has less hardware, or offers less ([agent] options), than when it was claimed",
        cure="give the host back what it had, or delete or shelve these instances",
    ),
    "NoCopy": Rule(
        subject="instance {name}",
        what="it is {vm_state} on {host} at epoch {epoch}, and no placement says so (uuid {instance_uuid})",
        why="no host answers for it, and none can be ordered to do anything with it",
        cure=_RECOVER,
    ),
    "WrongHost": Rule(
        subject="instance {name}",
        what="its record names host {recorded_host!r}, its only placement is on {host} (uuid {instance_uuid})",
        why="verbs go to the host of the record",
        cure="healed by naming the placement's host",
    ),
    "BuildingByNobody": Rule(
        subject="instance {name}",
        what="it is building since {created_at}, and no operation builds it (uuid {instance_uuid})",
        why="nothing will ever end it",
        cure=_RECOVER,
    ),
    "OperationUnowned": Rule(
        subject="operation {id}",
        what="{action} of {instance_name} is {state}; the lease of {owner!r} on it ended at {owner_until}",
        why="no conductor has taken it over since, as each does within seconds",
        cure="check that conductors run and log no errors; healed by marking it for the next round",
    ),
    "OperationOverdue": Rule(
        subject="operation {id}",
        what="{action} of {instance_name} is {state} in attempt {attempt} since {created_at}",
        why="it is past its budgets of {queue_budget_s:g} s waiting and {run_budget_s:g} s running",
        cure=_TRACE.format(name="{instance_name}"),
    ),
    "OperationOfDeleted": Rule(
        subject="operation {id}",
        what="{action} of {instance_name} is {state}, and the instance is gone (uuid {instance_uuid})",
        why="there is nothing left to do it with",
        cure="drover operation cancel {id}",
    ),
    "PlacementOfDeleted": Rule(
        subject="placement {instance_uuid} on {host}",
        what="instance {name} is deleted, its placement of epoch {epoch} is {state}",
        why="its capacity and addresses are held, and the host is not told to clean up",
        cure="healed by letting the host clean up (leaving)",
    ),
    "PlacementOfUnknown": Rule(
        subject="placement {instance_uuid} on {host}",
        what="no instance has this uuid; the placement of epoch {epoch} is {state}",
        why="the instance's record is lost, so nothing says whether its guest may go",
        cure="look on the host; if the database was restored, so was its past",
    ),
    "PlacementOnUnknownHost": Rule(
        subject="placement {instance_uuid} on {host}",
        what="no host has this name; the placement of epoch {epoch} is {state}",
        why="nobody can report that it is gone",
        cure="register the host again, then drover host fence and forget it",
    ),
    "ReservedForNothing": Rule(
        subject="placement {instance_uuid} on {host}",
        what="it is reserved at epoch {epoch}, and its operation {operation_id} has ended",
        why="it holds {vcpus} vcpus, {memory_mib} MiB and {disk_gib} GiB for an order that never goes out",
        cure="healed by releasing it",
    ),
    "HeldForNothing": Rule(
        subject="placement {instance_uuid} on {host}",
        what="it is {state} at epoch {epoch}, and its operation {operation_id} has ended",
        why="the host may have begun with it, and nobody waits for the end",
        cure="drover instance recover {instance_uuid} shows what can be done",
    ),
    "CleanupPending": Rule(
        subject="placement {instance_uuid} on {host}",
        what="it is leaving at epoch {epoch} for more than ten minutes, and the host speaks",
        why="the agent cannot remove what it has, or does not say that it did",
        cure="the agent's log on {host} says why",
    ),
    "OrphanDomain": Rule(
        subject="domain {instance_uuid} on {host}",
        what="a domain of this deployment (epoch {epoch}, {power_state}) that no placement there names, since "
        "{first_seen_at}",
        why="the database was restored, or the host forgotten, while the domain lived on; Drover never touches it",
        cure="save what it holds, then remove it on {host} with virsh",
    ),
    "OrphanDisk": Rule(
        subject="disk of {instance_uuid} on {host}",
        what="files of epoch {epoch} without a domain, and no placement there names them, since {first_seen_at}",
        why="they take room; the database was restored, the host forgotten, or its domain undefined by hand",
        cure="save what they hold, then remove the folder {instance_uuid}/{epoch} of the host's instances directory",
    ),
    "OrphanPort": Rule(
        subject="port {id}",
        what="address {ip} ({mac}) belongs to instance {instance_uuid}, which is gone from every host",
        why="the network has one address less",
        cure="healed by releasing it",
    ),
    "SecretLeft": Rule(
        subject="secret of {instance_uuid}",
        what="user-data or keys of an instance that is gone from every host",
        why="secrets are kept no longer than their instance",
        cure="healed by removing them",
    ),
    "ImageNeverFilled": Rule(
        subject="image {name}",
        what="its bytes are awaited since {created_at} (id {id})",
        why="its upload was given up",
        cure="drover image delete {id}",
    ),
    "ImageBytesMissing": Rule(
        subject="image {name}",
        what="it is active, and the depot has {found} bytes of {size_bytes} (id {id})",
        why="no host that has not cached it can build from it",
        cure="put the file back into the depot's directory, or delete the image and create it again",
    ),
    "DepotStray": Rule(
        subject="depot file {id}",
        what="the depot has bytes of an image that was deleted",
        why="it takes room; a conductor was killed between the image's record and its file",
        cure="healed by removing the file",
    ),
    "DepotUnknown": Rule(
        subject="depot file {id}",
        what="the depot has {size_bytes} bytes of an image that no record knows",
        why="the database was restored, and does not know what was uploaded or shelved since the copy was made",
        cure="make an image of it (drover image create --file), or remove the file",
    ),
    "NoService": Rule(
        subject="service {kind}",
        what="no {kind} has shown itself for {seconds:g} s",
        why="nothing of its work is done",
        cure="start drover-{kind}; its log says what it waits for",
    ),
    "QueueUnread": Rule(
        subject="queue {queue}",
        what="{messages} messages, and nobody reads it, though host {host} syncs",
        why="orders reach the host by its syncs only, which is slower; console and diagnostics do not work",
        cure="restart drover-agent on {host}",
    ),
}


def tells(code: str, row: Mapping[str, Any], now: datetime) -> bool:
    """Whether the row of a check is a finding: what SQL cannot tell of it."""
    if code != "OperationOverdue":
        return True
    # Past everything that each of its attempts may take, and as long again.
    budget_s = float(row["queue_budget_s"] + row["run_budget_s"]) * max(1, int(row["attempt"]))
    return age_s(from_iso(row["created_at"]), now) > 2 * budget_s


def finding(code: str, row: Mapping[str, Any], *, healable: bool) -> Finding:
    """The finding of one row."""
    rule = RULES[code]
    shown = {**row, "name": row.get("name") or row.get("instance_uuid", "")}
    return Finding(
        code=code,
        subject=rule.subject.format_map(shown),
        what=rule.what.format_map(shown),
        why=rule.why.format_map(shown),
        cure=rule.cure.format_map(shown),
        healable=healable,
    )
