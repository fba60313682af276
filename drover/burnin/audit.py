"""The promises, checked from outside: what the fleet tells of itself against itself, and against its hypervisors.

Every check is a pure function of a :class:`View` and finds what should not be.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drover.burnin.guest import Guest
from drover.burnin.violation import Violation
from drover.objects import codec
from drover.objects.audit import Finding
from drover.objects.catalog import Image
from drover.objects.host import Host, Resources
from drover.objects.instance import Instance
from drover.states import PowerState, VmState

__all__ = [
    "View",
    "addresses",
    "agreement",
    "capacity",
    "changed",
    "doubled",
    "findings",
    "leftovers",
    "strangers",
    "sums",
    "unsettled",
    "vanished",
]

_OFF = frozenset({PowerState.SHUTDOWN, PowerState.CRASHED})
#: what the guest of an instance does in each state; a state that is not here says nothing of it. A rescued guest that
#: ended is left off, for its user to unrescue.
_POWER: Mapping[VmState, frozenset[PowerState]] = {
    VmState.ACTIVE: frozenset({PowerState.RUNNING}),
    VmState.RESCUED: frozenset({PowerState.RUNNING}) | _OFF,
    VmState.PAUSED: frozenset({PowerState.PAUSED}),
    VmState.STOPPED: _OFF,
    VmState.SUSPENDED: _OFF,
    VmState.SOFT_DELETED: _OFF,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A fleet at one time."""

    at: datetime
    hosts: tuple[Host, ...]
    everyone: tuple[Instance, ...]  # live ones of all projects
    project: str
    guests: tuple[Guest, ...] | None = None  # None: its hypervisors cannot be looked at from here
    images: tuple[Image, ...] = ()
    found: tuple[Finding, ...] = ()  # by its own audit

    @property
    def ours(self) -> tuple[Instance, ...]:
        return tuple(it for it in self.everyone if it.project_id == self.project)


# --- at every instant ----------------------------------------------------------------------------------------


def doubled(running: Iterable[Guest]) -> Iterator[Violation]:
    """Promise 1."""
    places: dict[str, list[str]] = defaultdict(list)
    for guest in running:
        places[guest.uuid].append(f"process {guest.process} on {guest.host}")
    for uuid, there in sorted(places.items()):
        if len(there) > 1:
            yield Violation(
                what="it runs more than once", subject=f"instance {uuid}", evidence=", ".join(sorted(there))
            )


def capacity(hosts: Iterable[Host]) -> Iterator[Violation]:
    """Promise 2."""
    for host in hosts:
        for kind, used, most in _amounts(host.used, host.capacity):
            if used > most:
                what, evidence = "claims are over the host's capacity", f"{used} of {most} {kind} are claimed"
                yield Violation(what=what, subject=f"host {host.name}", evidence=evidence)


def _amounts(left: Resources, right: Resources) -> tuple[tuple[str, int, int], ...]:
    return (
        ("vcpus", left.vcpus, right.vcpus),
        ("memory_mib", left.memory_mib, right.memory_mib),
        ("disk_gib", left.disk_gib, right.disk_gib),
    )


def addresses(instances: Iterable[Instance]) -> Iterator[Violation]:
    """An IP address of a network, and a MAC, are those of one instance."""
    taken: dict[str, set[str]] = defaultdict(set)
    for it in instances:
        for port in it.ports:
            taken[f"address {port.ip} of network {port.network_name}"].add(it.uuid)
            taken[f"address {port.mac}"].add(it.uuid)
    for subject, uuids in sorted(taken.items()):
        if len(uuids) > 1:
            yield Violation(what="two instances have it", subject=subject, evidence=", ".join(sorted(uuids)))


# --- at rest -------------------------------------------------------------------------------------------------


def unsettled(ours: Iterable[Instance]) -> list[str]:
    """What of the run's instances is still under way, in words."""
    words: list[str] = []
    for it in ours:
        if it.task_state:
            words.append(f"{it.name} is {it.task_state}")
        if it.cleanup_hosts:
            words.append(f"{it.name} is to be removed from {', '.join(it.cleanup_hosts)}")
        if it.restart_at is not None:
            words.append(f"{it.name} is to be started again")
    return words


def agreement(view: View, made: Collection[str]) -> Iterator[Violation]:
    """Each instance is what its host shows, and no host shows anything else of the run.

    :param made: every instance that the run ever made.
    """
    if view.guests is None:
        yield from _records_alone(view)
        return
    shown: dict[str, list[Guest]] = defaultdict(list)
    for guest in view.guests:
        shown[guest.uuid].append(guest)
    for it in view.ours:
        if why := _disagreement(it, shown.get(it.uuid, [])):
            evidence = f"{why}; record {codec.to_json(it)}; guests {codec.to_json(shown.get(it.uuid, []))}"
            yield Violation(
                what="its record is not what its host shows", subject=f"instance {it.uuid}", evidence=evidence
            )
    live = {it.uuid for it in view.everyone}
    for uuid in sorted(set(shown) & set(made) - live):
        yield _left(f"instance {uuid}", "domain", codec.to_json(shown[uuid]))


def _disagreement(it: Instance, guests: Sequence[Guest]) -> str:
    """Empty when they agree."""
    if it.vm_state is VmState.SHELVED_OFFLOADED or not it.host:
        return f"{len(guests)} guests of an instance that is nowhere" if guests else ""
    if it.vm_state is VmState.ERROR and not guests:
        return ""  # a rebuild that failed left it without
    if [guest.host for guest in guests] != [it.host]:
        return f"guests on {[guest.host for guest in guests]}, not just on {it.host}"
    [guest] = guests
    if guest.epoch != it.epoch:
        return f"a guest of epoch {guest.epoch}, not {it.epoch}"
    wanted = _POWER.get(it.vm_state)
    if wanted is not None and guest.power_state not in wanted:
        return f"{it.vm_state}, and its guest {guest.power_state}"
    if it.power_state is not guest.power_state and not {it.power_state, guest.power_state} <= _OFF:
        return f"recorded as {it.power_state}, and its guest {guest.power_state}"
    return ""


def _records_alone(view: View) -> Iterator[Violation]:
    """All that can be told from afar: the states of one record fit each other."""
    up = {host.name for host in view.hosts if host.up}
    for it in view.ours:
        wanted = _POWER.get(it.vm_state)
        if wanted is not None and it.host in up and it.power_state not in wanted:
            what = "its states do not fit each other"
            yield Violation(what=what, subject=f"instance {it.uuid}", evidence=codec.to_json(it))


def sums(view: View) -> Iterator[Violation]:
    """What hosts count as used is what their instances have; nothing of the fleet may be under way."""
    claimed: dict[str, Counter[str]] = defaultdict(Counter)
    whole_disks: dict[str, bool] = defaultdict(lambda: True)
    for it in view.everyone:
        if it.host:
            claimed[it.host].update(vcpus=it.flavor.vcpus, memory_mib=it.flavor.memory_mib, disk_gib=it.flavor.disk_gib)
            # A disk as large as its image was claimed by the image's size, which nobody tells afterwards.
            whole_disks[it.host] &= it.flavor.disk_gib > 0
    for host in view.hosts:
        if not host.up:
            continue  # what is to be removed from it is counted there until it is back
        sum_ = claimed[host.name]
        for kind, used, counted in _amounts(host.used, Resources(**sum_)):
            if used != counted and (kind != "disk_gib" or whole_disks[host.name]):
                evidence = f"{used} {kind} are counted, its instances have {counted}"
                yield Violation(what="capacity was lost or doubled", subject=f"host {host.name}", evidence=evidence)


def findings(before: Collection[Finding], after: Iterable[Finding]) -> Iterator[Violation]:
    """What the fleet's own audit finds since the run began."""
    known = {(it.code, it.subject) for it in before}
    for it in after:
        if (it.code, it.subject) not in known:
            yield Violation(what=f"drover doctor finds {it.code}", subject=it.subject, evidence=it.what)


# --- of others -----------------------------------------------------------------------------------------------


def changed(before: View, after: View, *, crashed: Collection[str]) -> list[Instance]:
    """Instances of other projects that are not as they were, as they were.

    :param crashed: hosts whose machine the run took down; what was on them is excused.
    """
    now = {it.uuid: (it.vm_state, it.host, it.epoch) for it in after.everyone}
    return [
        it
        for it in before.everyone
        if it.project_id != before.project
        and it.host not in crashed
        and not it.task_state
        and now.get(it.uuid) != (it.vm_state, it.host, it.epoch)
    ]


def strangers(before: View, after: View, *, crashed: Collection[str]) -> Iterator[Violation]:
    """Domains that are not Drover's are as they were; those of a machine that went down are off, but there."""
    now = {(guest.host, guest.name): guest for guest in after.guests or ()}
    for guest in before.guests or ():
        if guest.epoch:
            continue
        there = now.get((guest.host, guest.name))
        if there is None or (guest.host not in crashed and there.process != guest.process):
            evidence = f"{codec.to_json(guest)} became {codec.to_json(there)}"
            what = "a domain that is not Drover's was touched"
            yield Violation(what=what, subject=f"domain {guest.name} on {guest.host}", evidence=evidence)


def vanished(before: View, after: View) -> list[str]:
    """Domains that hosts listed as none of Drover's and do not list any more: from afar nobody knows who ended them."""
    now = {host.name: set(host.foreign_domains) for host in after.hosts if host.up}
    return [
        f"{name} on {host.name}"
        for host in before.hosts
        for name in sorted(set(host.foreign_domains) - now.get(host.name, set(host.foreign_domains)))
    ]


# --- after the run -------------------------------------------------------------------------------------------


def leftovers(
    view: View, made: Collection[str], files: Iterable[str], gone: Iterable[Instance], prefix: str
) -> Iterator[Violation]:
    """Nothing of the run is left: every instance of it was deleted, and had time to go.

    :param files: paths of the run's instances on disks of hosts.
    :param gone: the run's deleted instances, as the fleet remembers them.
    :param prefix: of the names of its images.
    """
    for it in view.ours:
        yield _left(f"instance {it.uuid}", "instance", codec.to_json(it))
    for guest in view.guests or ():
        if guest.uuid in made:
            yield _left(f"instance {guest.uuid}", "domain", codec.to_json(guest))
    for path in files:
        yield _left(path, "disk", path)
    for it in gone:
        if it.ports:
            yield _left(f"instance {it.uuid}", "port", codec.to_json(it.ports))
        if it.cleanup_hosts:
            yield _left(f"instance {it.uuid}", "placement", f"on {', '.join(it.cleanup_hosts)}")
    for image in view.images:
        if image.name.startswith(prefix):
            yield _left(f"image {image.id}", "image", codec.to_json(image))


def _left(subject: str, kind: str, evidence: str) -> Violation:
    return Violation(what=f"a {kind} is left of what was deleted", subject=subject, evidence=evidence)
