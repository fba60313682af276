"""Each promise, kept and broken."""

from __future__ import annotations

import pytest

from drover.burnin import audit
from drover.burnin.guest import Guest
from drover.objects.audit import Finding
from drover.objects.catalog import Image
from drover.objects.host import Resources
from drover.states import PowerState, VmState
from tests.unit.drover.burnin.sample import NOW, OTHERS, guest, host, instance, port, view


def test_a_guest_that_runs_twice_is_found_also_on_one_host() -> None:
    assert not list(audit.doubled([guest("a"), guest("b"), guest("c", "h2")]))
    assert [it.subject for it in audit.doubled([guest("a"), guest("a", "h2"), guest("b")])] == ["instance a"]
    assert list(audit.doubled([guest("a", process=7), guest("a", process=8)]))


def test_claims_over_the_capacity_are_found() -> None:
    assert not list(audit.capacity([host(used=Resources(vcpus=4, memory_mib=4096, disk_gib=10))]))
    assert list(audit.capacity([host(used=Resources(vcpus=5))]))
    assert list(audit.capacity([host(used=Resources(memory_mib=4097))]))


def test_an_address_of_two_instances_is_found() -> None:
    a = instance("a", ports=(port("a", "10.0.0.1", "52:54:00:01:00:01"),))
    b = instance("b", ports=(port("b", "10.0.0.2", "52:54:00:01:00:02"),))
    same_ip = instance("c", ports=(port("c", "10.0.0.1", "52:54:00:01:00:03"),))
    same_mac = instance("d", ports=(port("d", "10.0.0.4", "52:54:00:01:00:02"),))
    assert not list(audit.addresses([a, b]))
    assert [it.evidence for it in audit.addresses([a, b, same_ip, same_mac])] == ["a, c", "b, d"]


@pytest.mark.parametrize(
    ("state", "power", "agrees"),
    [
        (VmState.ACTIVE, PowerState.RUNNING, True),
        (VmState.ACTIVE, PowerState.SHUTDOWN, False),
        (VmState.STOPPED, PowerState.SHUTDOWN, True),
        (VmState.STOPPED, PowerState.CRASHED, True),
        (VmState.STOPPED, PowerState.RUNNING, False),
        (VmState.PAUSED, PowerState.PAUSED, True),
        (VmState.PAUSED, PowerState.RUNNING, False),
        (VmState.SUSPENDED, PowerState.SHUTDOWN, True),
        (VmState.RESCUED, PowerState.RUNNING, True),
        (VmState.RESCUED, PowerState.SHUTDOWN, True),
        (VmState.RESCUED, PowerState.PAUSED, False),
        (VmState.ERROR, PowerState.RUNNING, True),
    ],
)
def test_records_and_guests(state: VmState, power: PowerState, agrees: bool) -> None:
    there = view(instance("a", vm_state=state, power_state=power), guests=(guest("a", power_state=power),))
    assert (list(audit.agreement(there, {"a"})) == []) is agrees


@pytest.mark.parametrize(
    "guests",
    [
        (),
        (guest("a", "h2"),),
        (guest("a"), guest("a", "h2", power_state=PowerState.SHUTDOWN)),
        (guest("a", epoch=2),),
    ],
)
def test_an_instance_has_its_one_guest_where_it_is(guests: tuple[Guest, ...]) -> None:
    assert [it.subject for it in audit.agreement(view(instance("a"), guests=guests), {"a"})] == ["instance a"]


def test_a_record_that_knows_another_power_state_is_found() -> None:
    there = view(instance("a", vm_state=VmState.ERROR), guests=(guest("a", power_state=PowerState.SHUTDOWN),))
    assert list(audit.agreement(there, {"a"}))


def test_what_is_shelved_or_was_never_placed_has_no_guest() -> None:
    shelved = instance("a", vm_state=VmState.SHELVED_OFFLOADED, host="")
    failed = instance("b", vm_state=VmState.ERROR, host="")
    assert not list(audit.agreement(view(shelved, failed), {"a", "b"}))
    assert len(list(audit.agreement(view(shelved, failed, guests=(guest("a"), guest("b"))), {"a", "b"}))) == 2


def test_a_domain_of_a_deleted_instance_is_found_and_those_of_others_are_not_judged() -> None:
    found = audit.agreement(view(guests=(guest("gone"), guest("foreign"))), {"gone"})
    assert [it.subject for it in found] == ["instance gone"]


def test_from_afar_a_record_is_held_against_itself() -> None:
    wrong = instance("a", power_state=PowerState.SHUTDOWN)
    assert list(audit.agreement(view(wrong, guests=None), {"a"}))
    assert not list(audit.agreement(view(instance("a"), guests=None), {"a"}))
    down = view(wrong, guests=None, hosts=(host(used=Resources(), up=False),))
    assert not list(audit.agreement(down, {"a"}))


def test_sums() -> None:
    assert not list(audit.sums(view(instance("a"), instance("b", project_id=OTHERS), instance("c", host=""))))
    lost = view(instance("a"), hosts=(host(used=Resources(vcpus=1, memory_mib=256, disk_gib=1)),))
    assert [it.evidence for it in audit.sums(lost)] == ["256 memory_mib are counted, its instances have 128"]


def test_what_is_under_way_is_told() -> None:
    assert audit.unsettled([instance("a")]) == []
    under_way = [
        instance("a", task_state="pausing"),
        instance("b", cleanup_hosts=("h2",)),
        instance("c", restart_at=NOW),
    ]
    assert len(audit.unsettled(under_way)) == 3


def test_findings_of_the_fleets_own_audit_count_when_they_are_new() -> None:
    old, new = (Finding(code="HostDown", subject=f"host {n}", what="", why="", cure="") for n in ("h1", "h2"))
    assert [it.subject for it in audit.findings([old], [old, new])] == ["host h2"]


def test_instances_of_others_stay_as_they_are() -> None:
    before = view(
        instance("a", project_id=OTHERS),
        instance("b", project_id=OTHERS),
        instance("c", project_id=OTHERS, host="h2"),
        instance("mine"),
    )
    after = view(
        instance("a", project_id=OTHERS),
        instance("b", project_id=OTHERS, vm_state=VmState.STOPPED),
        instance("c", project_id=OTHERS, host="h2", vm_state=VmState.STOPPED),
    )
    assert [it.uuid for it in audit.changed(before, after, crashed={"h2"})] == ["b"]
    assert [it.uuid for it in audit.changed(before, after, crashed=())] == ["b", "c"]


def test_strangers_are_not_touched() -> None:
    stranger = guest("s", epoch=0, name="s", process=7)
    elsewhere = guest("t", "h2", epoch=0, name="t", process=8)
    restarted = guest("s", epoch=0, name="s", process=9)
    before = view(guests=(stranger, elsewhere, guest("a")))
    assert not list(audit.strangers(before, view(guests=(stranger, elsewhere)), crashed=()))
    assert len(list(audit.strangers(before, view(guests=(elsewhere,)), crashed={"h1"}))) == 1
    assert len(list(audit.strangers(before, view(guests=(restarted, elsewhere)), crashed=()))) == 1
    assert not list(audit.strangers(before, view(guests=(restarted, elsewhere)), crashed={"h1"}))


def test_from_afar_vanished_domains_are_told() -> None:
    before = view(hosts=(host(used=Resources(), foreign=("x", "y")), host("h2", used=Resources(), foreign=("z",))))
    after = view(hosts=(host(used=Resources(), foreign=("x",)), host("h2", used=Resources(), up=False)))
    assert audit.vanished(before, after) == ["y on h1"]


def test_leftovers_of_every_kind() -> None:
    made = {"a"}
    clean = view(instance("b", project_id=OTHERS), guests=(guest("b"),), images=(Image(id="i", name="other"),))
    gone = instance("a", vm_state=VmState.DELETED, host="", deleted_at=NOW)
    assert not list(audit.leftovers(clean, made, [], [gone], "burnin-1-"))
    kinds = {
        "instance": audit.leftovers(view(instance("a")), made, [], [], "burnin-1-"),
        "domain": audit.leftovers(view(guests=(guest("a"),)), made, [], [], "burnin-1-"),
        "disk": audit.leftovers(view(), made, ["/x/a"], [], "burnin-1-"),
        "image": audit.leftovers(view(images=(Image(id="i", name="burnin-1-7"),)), made, [], [], "burnin-1-"),
        "port": audit.leftovers(view(), made, [], [instance("a", ports=(port("a", "10.0.0.1", "m"),))], "burnin-1-"),
        "placement": audit.leftovers(view(), made, [], [instance("a", cleanup_hosts=("h1",))], "burnin-1-"),
    }
    for kind, found in kinds.items():
        assert [it.what for it in found] == [f"a {kind} is left of what was deleted"]
