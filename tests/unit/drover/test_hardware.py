"""Fitting guests to hardware: never what another has, never more than there is, and None only when nothing fits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations, permutations
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drover.hardware import fit, misfit
from drover.objects.hardware import (
    ANY_HUGE,
    Cell,
    CellAsk,
    CellClaim,
    DeviceAsk,
    Hardware,
    HardwareAsk,
    HardwareClaim,
    PciDevice,
    ThreadPolicy,
)

GPU, NIC = ("10de", "1db6"), ("8086", "1572")


def cell(number: int, *cores: tuple[int, ...], memory_mib: int = 4096, **pages: int) -> Cell:
    return Cell(
        id=number,
        cpus=tuple(sorted(cpu for core in cores for cpu in core)),
        cores=cores,
        memory_mib=memory_mib,
        pages={int(size.removeprefix("k")): count for size, count in pages.items()},
    )


def pinned(*vcpus: int, threads: ThreadPolicy = ThreadPolicy.PREFER, page_kib: int = 0) -> HardwareAsk:
    cells = tuple(CellAsk(vcpus=each, memory_mib=1024) for each in vcpus)
    return HardwareAsk(cells=cells, dedicated=True, threads=threads, page_kib=page_kib)


def device(address: str, ids: tuple[str, str] = GPU, near: int = -1) -> PciDevice:
    return PciDevice(address=address, vendor_id=ids[0], product_id=ids[1], cell=near)


def cpus(claim: HardwareClaim | None) -> list[tuple[int, ...]]:
    assert claim is not None
    return [each.cpus for each in claim.cells]


#: two cells of two cores of two threads, numbered as Linux numbers them
HOST = Hardware(cells=(cell(0, (0, 4), (1, 5), k2048=1024), cell(1, (2, 6), (3, 7), k2048=1024, k1048576=2)))


def test_threads_of_a_core_stay_together() -> None:
    assert cpus(fit(HOST, [], pinned(2))) == [(0, 4)]
    assert cpus(fit(HOST, [], pinned(3))) == [(0, 4, 1)]


def test_an_odd_thread_is_taken_before_a_whole_core_is_broken() -> None:
    first = fit(HOST, [], pinned(1))
    assert first is not None
    assert cpus(first) == [(0,)]
    assert cpus(fit(HOST, [first], pinned(1))) == [(4,)]


def test_the_fullest_cell_that_fits_is_taken() -> None:
    first = fit(HOST, [], pinned(2))
    assert first is not None
    assert cpus(fit(HOST, [first], pinned(2))) == [(1, 5)]
    assert cpus(fit(HOST, [first], pinned(4))) == [(2, 6, 3, 7)]


def test_cells_of_a_guest_are_on_cells_of_their_own() -> None:
    first = fit(HOST, [], pinned(3))
    assert first is not None
    second = fit(HOST, [first], pinned(1, 4))
    assert second is not None
    assert [each.cell for each in second.cells] == [0, 1]
    words = "2 NUMA cells wanted, each fits but not all at once on 2 cells"
    assert misfit(HOST, [first], pinned(2, 2)) == words
    assert misfit(HOST, [], pinned(1, 1, 1)) == "3 NUMA cells wanted, 2 offered"


def test_an_isolated_vcpu_keeps_its_core_to_itself() -> None:
    claim = fit(HOST, [], pinned(2, threads=ThreadPolicy.ISOLATE))
    assert claim is not None
    assert (claim.cells[0].cpus, claim.cells[0].reserved) == ((0, 1), (4, 5))
    assert cpus(fit(HOST, [claim], pinned(1))) == [(2,)]
    one = fit(HOST, [], pinned(1))
    assert one is not None
    wanted = pinned(2, 1, threads=ThreadPolicy.ISOLATE)
    assert [each.cell for each in (fit(HOST, [one], wanted) or HardwareClaim()).cells] == [1, 0]
    words = "cell 0: 3 whole cores wanted, 1 of 2 free; cell 1: 3 whole cores wanted, 2 of 2 free"
    assert misfit(HOST, [one], pinned(3, threads=ThreadPolicy.ISOLATE)) == words


def test_threads_are_required_of_the_host() -> None:
    flat = Hardware(cells=(cell(0, (0,), (1,), (2,)),))
    wanted = pinned(2, threads=ThreadPolicy.REQUIRE)
    assert fit(flat, [], wanted) is None
    assert misfit(flat, [], wanted) == "cell 0: 2 CPUs beside free threads of their cores wanted, 0 of 3 are"
    assert cpus(fit(HOST, [], wanted)) == [(0, 4)]


def test_pages_are_counted_by_size() -> None:
    large = pinned(1, page_kib=1048576)
    claim = fit(HOST, [], large)
    assert claim is not None
    assert (claim.cells[0].cell, claim.cells[0].page_kib) == (1, 1048576)
    assert fit(HOST, [claim], large) is not None
    assert misfit(HOST, [claim, claim], large) == (
        "cell 0: 1 page of 1048576 KiB wanted, 0 of 0 free; cell 1: 1 page of 1048576 KiB wanted, 0 of 2 free"
    )


def test_large_pages_are_the_largest_that_fit() -> None:
    wanted = pinned(1, page_kib=ANY_HUGE)
    sizes = []
    taken: list[HardwareClaim] = []
    while claim := fit(HOST, taken, wanted):
        sizes.append(claim.cells[0].page_kib)
        taken.append(claim)
    assert sizes == [1048576, 1048576, 2048, 2048, 2048, 2048]
    odd = replace(wanted, cells=(CellAsk(vcpus=1, memory_mib=1023),))
    assert misfit(HOST, [], odd) == "huge pages wanted that divide 1023 MiB, none offered"


def test_devices_near_the_guest_come_first() -> None:
    devices = (device("0000:01:00.0", near=0), device("0000:81:00.0", near=1), device("0000:82:00.0", NIC, near=1))
    host = replace(HOST, devices=devices)
    gpus = DeviceAsk(alias="gpu", count=1, ids=(GPU,))
    nic = DeviceAsk(alias="nic", count=1, ids=(NIC,))
    claim = fit(host, [], replace(pinned(2), devices=(nic,)))
    assert claim is not None
    assert (claim.cells[0].cell, claim.devices) == (1, ("0000:82:00.0",)), "the cell near the device"
    both = fit(host, [], replace(pinned(4), devices=(gpus, nic)))
    assert both is not None
    assert both.devices == ("0000:81:00.0", "0000:82:00.0")
    assert (fit(host, [both], HardwareAsk(devices=(gpus,))) or HardwareClaim()).devices == ("0000:01:00.0",)
    words = misfit(host, [both], HardwareAsk(devices=(replace(gpus, count=2),)))
    assert words == "PCI devices gpu: 2 wanted, 1 of 2 free"


def test_aliases_that_overlap_do_not_count_a_device_twice() -> None:
    host = Hardware(devices=(device("0000:01:00.0"), device("0000:02:00.0", NIC)))
    either = DeviceAsk(alias="any", count=1, ids=(GPU, NIC))
    gpu = DeviceAsk(alias="gpu", count=1, ids=(GPU,))
    assert (fit(host, [], HardwareAsk(devices=(either, gpu))) or HardwareClaim()).devices == (
        "0000:02:00.0",
        "0000:01:00.0",
    )
    short = HardwareAsk(devices=(replace(either, count=2), gpu))
    assert misfit(host, [], short) == "PCI devices 2 any, 1 gpu wanted, 2 free for all of them together"


def test_who_asks_nothing_fits_anywhere() -> None:
    assert fit(Hardware(), [], HardwareAsk()) == HardwareClaim()
    assert misfit(Hardware(), [], HardwareAsk()) == ""


# --- properties --------------------------------------------------------------------------------------------

_SIZES = (2048, 4096)  # small pages of two sizes: what counts is that there are two


@st.composite
def offers(draw: st.DrawFn) -> Hardware:
    cells, first = [], 0
    for number in range(draw(st.integers(0, 3))):
        cores = []
        for _ in range(draw(st.integers(0, 3))):
            threads = draw(st.integers(1, 3))
            cores.append(tuple(range(first, first + threads)))
            first += threads
        pages = {f"k{size}": draw(st.integers(0, 3)) for size in _SIZES}
        cells.append(cell(number, *cores, memory_mib=draw(st.integers(0, 8)), **pages))
    kinds = draw(st.lists(st.sampled_from((GPU, NIC)), max_size=4))
    devices = tuple(
        device(f"0000:{number:02x}:00.0", ids, draw(st.integers(-1, 2))) for number, ids in enumerate(kinds)
    )
    return Hardware(cells=tuple(cells), devices=devices)


_CELL_ASKS = st.builds(CellAsk, vcpus=st.integers(1, 4), memory_mib=st.sampled_from((2, 4, 6)))
_DEVICE_ASKS = st.builds(
    DeviceAsk,
    alias=st.sampled_from(("x", "y")),
    count=st.integers(1, 2),
    ids=st.sampled_from(((GPU,), (NIC,), (GPU, NIC))),
)
asks = st.builds(
    HardwareAsk,
    cells=st.lists(_CELL_ASKS, max_size=3).map(tuple),
    dedicated=st.booleans(),
    threads=st.sampled_from(ThreadPolicy),
    page_kib=st.sampled_from((0, ANY_HUGE, *_SIZES)),
    devices=st.lists(_DEVICE_ASKS, max_size=2).map(tuple),
)


def fill(offer: Hardware, wishes: list[HardwareAsk]) -> list[HardwareClaim]:
    """What these get, one after the other."""
    taken: list[HardwareClaim] = []
    for wish in wishes:
        claim = fit(offer, taken, wish)
        assert (claim is None) == bool(misfit(offer, taken, wish))
        if claim is not None:
            taken.append(claim)
    return taken


@settings(max_examples=100)
@given(offers(), st.lists(asks, max_size=6))
def test_nothing_is_given_twice_and_nothing_that_is_not_there(offer: Hardware, wishes: list[HardwareAsk]) -> None:
    taken = fill(offer, wishes)
    for of in offer.cells:
        here = [each for claim in taken for each in claim.cells if each.cell == of.id]
        given_out = Counter(cpu for each in here for cpu in (*each.cpus, *each.reserved))
        assert not given_out or given_out.most_common(1)[0][1] == 1
        assert set(given_out) <= set(of.cpus)
        for size in (0, *_SIZES):
            memory_mib = sum(each.memory_mib for each in here if each.page_kib == size)
            assert memory_mib <= (of.pages.get(size, 0) * size // 1024 if size else of.memory_mib)
    addresses = [address for claim in taken for address in claim.devices]
    assert len(set(addresses)) == len(addresses)
    assert set(addresses) <= {each.address for each in offer.devices}


@settings(max_examples=100)
@given(offers(), st.lists(asks, max_size=4), asks)
def test_what_is_given_is_what_was_asked_for(offer: Hardware, before: list[HardwareAsk], ask: HardwareAsk) -> None:
    taken = fill(offer, before)
    claim = fit(offer, taken, ask)
    if claim is None:
        return
    assert claim == fit(offer, taken, ask), "always the same"
    assert [(each.vcpus, each.memory_mib) for each in claim.cells] == [(e.vcpus, e.memory_mib) for e in ask.cells]
    assert len({each.cell for each in claim.cells}) == len(ask.cells)
    assert all(each.page_kib in (_SIZES if ask.page_kib == ANY_HUGE else (ask.page_kib,)) for each in claim.cells)
    kinds = {each.address: (each.vendor_id, each.product_id) for each in offer.devices}
    wanted = [wish.ids for wish in ask.devices for _ in range(wish.count)]
    assert all(kinds[address] in ids for address, ids in zip(claim.devices, wanted, strict=True))
    for each in claim.cells:
        assert len(each.cpus) == (each.vcpus if ask.dedicated else 0)
        assert bool(each.reserved) <= (ask.dedicated and ask.threads is ThreadPolicy.ISOLATE)
        if ask.dedicated:
            assert each.cpus in possible(offer, taken, each.cell, each.vcpus, ask.threads)


@settings(max_examples=100)
@given(offers(), st.lists(asks, max_size=4), asks)
def test_trying_everything_agrees(offer: Hardware, before: list[HardwareAsk], ask: HardwareAsk) -> None:
    taken = fill(offer, before)
    assert (fit(offer, taken, ask) is not None) == (
        any_cells(offer, taken, ask) and any_devices(offer.devices, taken, ask)
    )


def any_cells(offer: Hardware, taken: list[HardwareClaim], ask: HardwareAsk) -> bool:
    """Whether some way to lay the guest's cells on the host's works, found by trying all."""
    sizes = _SIZES if ask.page_kib == ANY_HUGE else (ask.page_kib,)
    return any(
        all(holds(offer, taken, to, of, ask, size) for to, of in zip(chosen, ask.cells, strict=True))
        for size in sizes
        for chosen in permutations(offer.cells, len(ask.cells))
    )


def holds(offer: Hardware, taken: list[HardwareClaim], to: Cell, of: CellAsk, ask: HardwareAsk, size: int) -> bool:
    here = [each for claim in taken for each in claim.cells if each.cell == to.id and each.page_kib == size]
    unit, have = (size, to.pages.get(size, 0)) if size else (1024, to.memory_mib)
    if (
        sum(ceil(memory_mib * 1024 / unit) for memory_mib in (*(each.memory_mib for each in here), of.memory_mib))
        > have
    ):
        return False
    if ask.page_kib == ANY_HUGE and of.memory_mib * 1024 % size:
        return False
    return not ask.dedicated or bool(possible(offer, taken, to.id, of.vcpus, ask.threads))


def possible(
    offer: Hardware, taken: list[HardwareClaim], number: int, vcpus: int, threads: ThreadPolicy
) -> set[tuple[int, ...]]:
    """Every choice of CPUs that the policy allows on what nobody has."""
    of = next(each for each in offer.cells if each.id == number)
    gone = {
        cpu for claim in taken for each in claim.cells if each.cell == number for cpu in (*each.cpus, *each.reserved)
    }
    core_of = {cpu: core for core in of.cores for cpu in core}
    found: set[tuple[int, ...]] = set()
    for chosen in combinations([cpu for cpu in of.cpus if cpu not in gone], vcpus):
        cores = [core_of[cpu] for cpu in chosen]
        if threads is ThreadPolicy.ISOLATE and (len(set(cores)) < vcpus or any(gone & set(core) for core in cores)):
            continue
        if threads is ThreadPolicy.REQUIRE and any(len(set(core) - gone) < 2 for core in cores):
            continue
        found.update(permutations(chosen))
    return found


def any_devices(devices: tuple[PciDevice, ...], taken: list[HardwareClaim], ask: HardwareAsk) -> bool:
    gone = {address for claim in taken for address in claim.devices}
    free = [(each.vendor_id, each.product_id) for each in devices if each.address not in gone]
    wanted = [wish.ids for wish in ask.devices for _ in range(wish.count)]
    return any(
        all(kind in ids for kind, ids in zip(chosen, wanted, strict=True)) for chosen in permutations(free, len(wanted))
    )


def test_claims_on_what_is_not_offered_any_more_do_no_harm() -> None:
    gone = HardwareClaim(cells=(CellClaim(cell=9, vcpus=2, memory_mib=64, cpus=(90, 91)),), devices=("0000:ff:00.0",))
    shrunk = HardwareClaim(cells=(CellClaim(cell=0, vcpus=1, memory_mib=9999, cpus=(44,)),))
    assert fit(HOST, [gone], pinned(2)) == fit(HOST, [], pinned(2))
    assert cpus(fit(HOST, [shrunk], pinned(2))) == [(2, 6)], "no memory is left on cell 0"


@pytest.mark.parametrize("count", [1, 64])
def test_many_devices_are_found(count: int) -> None:
    host = Hardware(devices=tuple(device(f"0000:{number:02x}:00.0") for number in range(64)))
    wanted = HardwareAsk(devices=(DeviceAsk(alias="gpu", count=count, ids=(GPU,)),))
    claim = fit(host, [], wanted)
    assert claim is not None
    assert claim.devices == tuple(f"0000:{number:02x}:00.0" for number in range(count))
