"""What an agent offers of its host's hardware."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.claims import wanted
from agent.hardware import GivenOut
from agent.inventory import offered
from agent.virt.fake_hardware import made_up
from drover import errors
from drover.conf.agent import AgentSettings
from drover.conf.fake import FakeSettings
from drover.objects.hardware import Cell, CellClaim, Hardware, HardwareClaim, PciDevice
from drover.objects.host import Inventory, Resources
from tests.contract.virt.spec import make_spec

GPU = PciDevice(address="0000:3b:00.0", vendor_id="10de", product_id="1db6", cell=0)
NIC = PciDevice(address="0000:3b:00.1", vendor_id="8086", product_id="1572")
FOUND = Hardware(
    cells=(
        Cell(id=0, cpus=(0, 1, 4, 5), cores=((0, 4), (1, 5)), memory_mib=4096, pages={2048: 512}),
        Cell(id=1, cpus=(2, 3, 6, 7), cores=((2, 6), (3, 7)), memory_mib=4096, pages={2048: 512}),
    ),
    devices=(GPU, NIC),
)


def test_a_cpu_set_that_is_none_is_refused() -> None:
    with pytest.raises(errors.InvalidConfig, match="cpu_dedicated_set: '1-' is no CPU"):
        GivenOut.of(AgentSettings(cpu_dedicated_set="0,1-"))


def test_only_what_the_site_named_is_offered() -> None:
    given_out = GivenOut.of(AgentSettings(cpu_dedicated_set="1-2,5-7,99", pci_devices=("10DE:*",)))
    offer = given_out.of_found(FOUND)
    assert [(cell.cpus, cell.cores) for cell in offer.cells] == [((1, 5), ((1, 5),)), ((2, 6, 7), ((2, 6), (7,)))]
    assert [(cell.memory_mib, cell.pages) for cell in offer.cells] == [(4096, {2048: 512})] * 2
    assert offer.devices == (GPU,)


def test_a_host_with_nothing_to_give_out_offers_nothing_unless_it_is_told_to() -> None:
    plain = Hardware(cells=tuple(replace(cell, pages={}) for cell in FOUND.cells), devices=FOUND.devices)
    assert GivenOut().of_found(plain) == Hardware()
    told = GivenOut.of(AgentSettings(numa=True)).of_found(plain)
    assert [(cell.cpus, cell.memory_mib) for cell in told.cells] == [((), 4096)] * 2
    assert len(GivenOut().of_found(FOUND).cells) == 2, "for their huge pages"


@pytest.mark.parametrize(
    ("names", "devices"),
    [
        ((), ()),
        (("8086:1572",), (NIC,)),
        (("0000:3b:00.1",), (NIC,)),
        (("10de:1db6", "8086:*"), (GPU, NIC)),
        (("8086:ffff",), ()),
    ],
)
def test_devices_are_named_by_kind_or_place(names: tuple[str, ...], devices: tuple[PciDevice, ...]) -> None:
    assert GivenOut.of(AgentSettings(pci_devices=names)).of_found(FOUND).devices == devices


@pytest.mark.parametrize("name", ["gpu", "10de", "*:*", "3b:00.1"])
def test_a_device_that_is_ill_named_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidConfig, match="pci_devices"):
        GivenOut.of(AgentSettings(pci_devices=(name,)))


def test_shared_amounts_are_without_what_is_given_out() -> None:
    found = Inventory(vcpus=8, memory_mib=10240, disk_gib=10, hardware=FOUND)
    plain = offered(found, AgentSettings())
    assert (plain.vcpus, plain.memory_mib) == (8, 8192), "huge pages are no memory for ordinary guests"
    dedicated = offered(found, AgentSettings(cpu_dedicated_set="2-3,6-7"))
    assert dedicated.vcpus == 4
    assert [cell.cpus for cell in dedicated.hardware.cells] == [(), (2, 3, 6, 7)]
    told = offered(found, AgentSettings(cpu_dedicated_set="2-3", total_vcpus=5, total_memory_mib=100))
    assert (told.vcpus, told.memory_mib) == (5, 100)


def test_a_fake_host_has_the_hardware_that_its_options_say() -> None:
    settings = FakeSettings(
        vcpus=8,
        memory_mib=8192,
        numa_cells=2,
        threads_per_core=2,
        huge_pages=("2048=512", "1048576=1"),
        pci_devices=("0000:3b:00.0=10de:1db6@0", "0000:3b:00.1=8086:1572"),
    )
    pages = {2048: 512, 1048576: 1}
    assert made_up(settings) == Hardware(
        cells=(
            Cell(id=0, cpus=(0, 1, 2, 3), cores=((0, 1), (2, 3)), memory_mib=2048, pages=pages),
            Cell(id=1, cpus=(4, 5, 6, 7), cores=((4, 5), (6, 7)), memory_mib=2048, pages=pages),
        ),
        devices=(GPU, NIC),
    )


@pytest.mark.parametrize(
    "settings",
    [FakeSettings(huge_pages=("2048",)), FakeSettings(pci_devices=("0000:3b:00.0",))],
    ids=["pages", "devices"],
)
def test_options_of_the_fake_host_that_make_no_sense_are_refused(settings: FakeSettings) -> None:
    with pytest.raises(errors.InvalidConfig):
        made_up(settings)


@pytest.mark.parametrize(
    ("cell", "taken"),
    [
        (CellClaim(cell=0, vcpus=2, memory_mib=64), Resources(vcpus=2, memory_mib=64, disk_gib=1)),
        (CellClaim(cell=0, vcpus=2, memory_mib=64, cpus=(4, 5)), Resources(memory_mib=64, disk_gib=1)),
        (CellClaim(cell=0, vcpus=2, memory_mib=64, page_kib=2048), Resources(vcpus=2, disk_gib=1)),
    ],
)
def test_a_guest_takes_no_shared_part_of_what_it_has_to_itself(cell: CellClaim, taken: Resources) -> None:
    spec = make_spec(vcpus=2, memory_mib=64, disk_gib=1, hardware=HardwareClaim(cells=(cell,)))
    assert wanted(spec) == taken
