"""What flavors and images say of hardware."""

from __future__ import annotations

import pytest

from drover import errors
from drover.extra_spec import hardware_ask, traits
from drover.objects.catalog import Flavor
from drover.objects.hardware import ANY_HUGE, CellAsk, DeviceAsk, HardwareAsk, ThreadPolicy

ALIASES = {"gpu": (("10de", "1db6"),), "nic": (("8086", "1572"), ("8086", "1573"))}


def flavor(**words: str) -> Flavor:
    """``cpu_policy="dedicated"`` for ``hw:cpu_policy``; ``__1`` for ``.1``."""
    specs = {f"hw:{key.replace('__', '.')}": value for key, value in words.items()}
    return Flavor(id="f", name="f", vcpus=4, memory_mib=4096, disk_gib=1, extra_specs=specs)


def specs(**words: str) -> Flavor:
    return Flavor(id="f", name="f", vcpus=1, memory_mib=1, disk_gib=1, extra_specs=words)


def ask(it: Flavor, **properties: str) -> HardwareAsk:
    return hardware_ask(it, properties, ALIASES)


def test_an_ordinary_flavor_asks_for_nothing() -> None:
    assert not ask(specs(virt_type="kvm"), os_distro="debian")
    assert not ask(flavor(cpu_policy="shared", mem_page_size="small"))


WHOLE = CellAsk(vcpus=4, memory_mib=4096)
HALF = CellAsk(vcpus=2, memory_mib=2048)


@pytest.mark.parametrize(
    ("words", "properties", "asked"),
    [
        ({"cpu_policy": "dedicated"}, {}, HardwareAsk(cells=(WHOLE,), dedicated=True)),
        ({}, {"hw_cpu_policy": "dedicated"}, HardwareAsk(cells=(WHOLE,), dedicated=True)),
        (
            {"cpu_policy": "dedicated", "cpu_thread_policy": "isolate"},
            {"hw_cpu_thread_policy": "isolate"},
            HardwareAsk(cells=(WHOLE,), dedicated=True, threads=ThreadPolicy.ISOLATE),
        ),
        ({"mem_page_size": "2048"}, {}, HardwareAsk(cells=(WHOLE,), page_kib=2048)),
        ({"mem_page_size": "1GB"}, {}, HardwareAsk(cells=(WHOLE,), page_kib=1048576)),
        ({"mem_page_size": "large"}, {}, HardwareAsk(cells=(WHOLE,), page_kib=ANY_HUGE)),
        ({"mem_page_size": "large"}, {"hw_mem_page_size": "2048"}, HardwareAsk(cells=(WHOLE,), page_kib=2048)),
        ({"mem_page_size": "any"}, {"hw_mem_page_size": "large"}, HardwareAsk(cells=(WHOLE,), page_kib=ANY_HUGE)),
        ({"numa_nodes": "2"}, {}, HardwareAsk(cells=(HALF, HALF))),
        (
            {"numa_nodes": "2", "numa_cpus__0": "0", "numa_cpus__1": "1-3"},
            {"hw_numa_mem.0": "1024", "hw_numa_mem.1": "3072"},
            HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=1024), CellAsk(vcpus=3, memory_mib=3072))),
        ),
    ],
)
def test_words_are_read(words: dict[str, str], properties: dict[str, str], asked: HardwareAsk) -> None:
    assert ask(flavor(**words), **properties) == asked


@pytest.mark.parametrize(
    ("words", "properties", "reason"),
    [
        ({"cpu_policy": "mixed"}, {}, "hw:cpu_policy is 'mixed', not one of shared, dedicated"),
        (
            {"cpu_policy": "shared"},
            {"hw_cpu_policy": "dedicated"},
            "hw:cpu_policy is 'shared', the image has 'dedicated'",
        ),
        ({"cpu_thread_policy": "isolate"}, {}, "hw:cpu_thread_policy is for guests with hw:cpu_policy=dedicated"),
        (
            {"cpu_policy": "dedicated", "cpu_thread_policy": "alone"},
            {},
            "hw:cpu_thread_policy is 'alone', not one of prefer, isolate, require",
        ),
        ({"mem_page_size": "17"}, {}, "hw:mem_page_size is '17', not one of small, large, any, 2048, 1048576"),
        (
            {"mem_page_size": "large"},
            {"hw_mem_page_size": "small"},
            "hw:mem_page_size is 'large', the image has 'small'",
        ),
        (
            {"mem_page_size": "2048"},
            {"hw_mem_page_size": "1048576"},
            "hw:mem_page_size is '2048', the image has '1048576'",
        ),
        ({"numa_nodes": "0"}, {}, "hw:numa_nodes is '0', not a number from 1 to 16"),
        ({"numa_nodes": "two"}, {}, "hw:numa_nodes is 'two', not a number from 1 to 16"),
        ({"numa_nodes": "3"}, {}, "hw:numa_nodes of 3 do not divide 4 vCPUs and 4096 MiB evenly"),
        ({"numa_nodes": "2"}, {"hw_numa_nodes": "1"}, "hw:numa_nodes is '2', the image has '1'"),
        ({"numa_cpus__0": "0-3"}, {}, "hw:numa_cpus.0 is for a cell that hw:numa_nodes=0 has not"),
        ({"numa_nodes": "1", "numa_cpus__0": "0-3"}, {}, "hw:numa_mem.0 is missing"),
        (
            {"numa_nodes": "1", "numa_cpus__0": "0-2", "numa_mem__0": "4096"},
            {},
            "hw:numa_cpus name 3 vCPUs in all, the flavor has 4",
        ),
        (
            {"numa_nodes": "1", "numa_cpus__0": "0-3", "numa_mem__0": "4000"},
            {},
            "hw:numa_mem are 4000 MiB in all, the flavor has 4096",
        ),
        (
            {"numa_nodes": "2", "numa_cpus__0": "0,2", "numa_cpus__1": "1,3", "numa_mem__0": "1", "numa_mem__1": "1"},
            {},
            "hw:numa_cpus.0 must go on from vCPU 0: vCPUs are numbered cell by cell",
        ),
        (
            {"numa_nodes": "1", "numa_cpus__0": "0-x", "numa_mem__0": "4096"},
            {},
            "hw:numa_cpus.0 is '0-x': '0-x' is no CPU",
        ),
        (
            {"numa_nodes": "2", "numa_cpus__0": "0-3", "numa_cpus__1": "", "numa_mem__0": "4095", "numa_mem__1": "1"},
            {},
            "hw:numa_cpus.1 must go on from vCPU 4",
        ),
        (
            {"numa_nodes": "2", "mem_page_size": "1048576", "numa_cpus__0": "0", "numa_cpus__1": "1-3"}
            | {"numa_mem__0": "1000", "numa_mem__1": "3096"},
            {},
            "hw:mem_page_size of 1048576 KiB does not divide the 1000 MiB of a cell",
        ),
    ],
)
def test_nonsense_is_refused_with_its_key(words: dict[str, str], properties: dict[str, str], reason: str) -> None:
    with pytest.raises(errors.InvalidFlavor) as refusal:
        ask(flavor(**words), **properties)
    assert reason in str(refusal.value)


def test_devices_are_asked_for_by_alias() -> None:
    asked = ask(specs(**{"pci_passthrough:alias": "nic:1, gpu:2,nic:1"}))
    assert asked.devices == (
        DeviceAsk(alias="gpu", count=2, ids=ALIASES["gpu"]),
        DeviceAsk(alias="nic", count=2, ids=ALIASES["nic"]),
    )
    assert asked.cells == ()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("fpga:1", "no alias 'fpga' is configured"),
        ("gpu", "'gpu' is not NAME:COUNT"),
        ("gpu:0", "'gpu:0' is not NAME:COUNT"),
        ("gpu:-1", "'gpu:-1' is not NAME:COUNT"),
        ("gpu:33", "asks for 33 devices, over 32"),
    ],
)
def test_devices_that_cannot_be_are_refused(value: str, reason: str) -> None:
    with pytest.raises(errors.InvalidFlavor) as refusal:
        ask(specs(**{"pci_passthrough:alias": value}))
    assert reason in str(refusal.value)


def test_traits_of_flavor_and_image_add_up() -> None:
    it = specs(**{"trait:HW_CPU_X86_AVX2": "required", "trait:CUSTOM_SLOW": "forbidden"})
    image = {"trait:CUSTOM_SSD": "required", "trait:HW_CPU_X86_AVX2": "required"}
    assert traits(it, image) == (("CUSTOM_SSD", "HW_CPU_X86_AVX2"), ("CUSTOM_SLOW",))


@pytest.mark.parametrize(
    ("value", "image", "reason"),
    [
        ("maybe", "required", "trait:X='maybe' is neither required nor forbidden"),
        ("forbidden", "required", "trait:X is required by one and forbidden by the other of flavor and image"),
    ],
)
def test_traits_that_contradict_are_refused(value: str, image: str, reason: str) -> None:
    with pytest.raises(errors.InvalidFlavor) as refusal:
        traits(specs(**{"trait:X": value}), {"trait:X": image})
    assert reason in str(refusal.value)
