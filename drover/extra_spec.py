"""A flavor's extra specs and an image's properties, read for what they ask of a host's hardware.

The keys are Nova's, and an image has a flavor's ``hw:`` keys as ``hw_``.  Where both speak they must agree, but
for page sizes: a flavor that says ``large`` or ``any`` leaves the choice to the image, as in Nova.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drover import errors
from drover.cpu_set import cpu_set
from drover.objects.catalog import Flavor
from drover.objects.hardware import ANY_HUGE, CellAsk, DeviceAsk, HardwareAsk, ThreadPolicy

__all__ = ["AGGREGATE_PREFIX", "PCI_ALIAS_KEY", "Aliases", "hardware_ask", "traits"]

#: (vendor, product) pairs of PCI devices by alias
Aliases = Mapping[str, tuple[tuple[str, str], ...]]

AGGREGATE_PREFIX = "aggregate_instance_extra_specs:"
PCI_ALIAS_KEY = "pci_passthrough:alias"
_TRAIT_PREFIX = "trait:"
#: a guest of more would need a host of more
_MOST_CELLS = 16
_MOST_DEVICES = 32

_PAGE_KIB = {"small": 0, "any": 0, "large": ANY_HUGE, "2048": 2048, "1048576": 1048576}
_PAGE_KIB |= {"2MB": 2048, "2048KB": 2048, "1GB": 1048576, "1048576KB": 1048576}


def hardware_ask(flavor: Flavor, image_properties: Mapping[str, str], aliases: Aliases) -> HardwareAsk:
    """What a guest of *flavor* and such an image asks for.

    :raises errors.InvalidFlavor: a key has a value that makes no sense, or contradicts another; says which and why.
    """
    words = _Words(flavor, image_properties)
    dedicated = words.one_of("cpu_policy", ("shared", "dedicated"), "shared") == "dedicated"
    threads = words.one_of("cpu_thread_policy", tuple(ThreadPolicy), "")
    if threads and not dedicated:
        raise words.wrong("cpu_thread_policy", "is for guests with hw:cpu_policy=dedicated")
    page_kib = _page_kib(words)
    return HardwareAsk(
        cells=_cells(words, needed=dedicated or page_kib != 0, page_kib=page_kib),
        dedicated=dedicated,
        threads=ThreadPolicy(threads or ThreadPolicy.PREFER),
        page_kib=page_kib,
        devices=_devices(flavor, aliases),
    )


def traits(flavor: Flavor, image_properties: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Traits that a host must have, and those it must not have, each sorted.

    :raises errors.InvalidFlavor: a value other than ``required`` and ``forbidden``, or both for one trait.
    """
    wishes: dict[str, set[str]] = {"required": set(), "forbidden": set()}
    for source in (flavor.extra_specs, image_properties):
        for key, value in source.items():
            if not key.startswith(_TRAIT_PREFIX):
                continue
            if value not in wishes:
                raise _invalid(flavor, f"{key}={value!r} is neither required nor forbidden")
            wishes[value].add(key.removeprefix(_TRAIT_PREFIX))
    if both := sorted(wishes["required"] & wishes["forbidden"]):
        raise _invalid(
            flavor, f"{_TRAIT_PREFIX}{both[0]} is required by one and forbidden by the other of flavor and image"
        )
    return tuple(sorted(wishes["required"])), tuple(sorted(wishes["forbidden"]))


def _invalid(flavor: Flavor, reason: str) -> errors.InvalidFlavor:
    return errors.InvalidFlavor(name=flavor.name, reason=reason)


@dataclass(frozen=True, slots=True)
class _Words:
    """What flavor and image say under the same key."""

    flavor: Flavor
    image: Mapping[str, str]

    def both(self, key: str) -> tuple[str, str]:
        """The flavor's word and the image's; "" for none."""
        return self.flavor.extra_specs.get(f"hw:{key}", ""), self.image.get(f"hw_{key}", "")

    def get(self, key: str) -> str:
        """What is said, by one or by both alike; "" for nothing."""
        flavor, image = self.both(key)
        if flavor and image and flavor != image:
            raise self.wrong(key, f"is {flavor!r}, the image has {image!r}")
        return flavor or image

    def one_of(self, key: str, known: tuple[str, ...], default: str) -> str:
        value = self.get(key) or default
        if value != default and value not in known:
            raise self.wrong(key, f"is {value!r}, not one of {', '.join(known)}")
        return value

    def number(self, key: str, most: int) -> int:
        """From 1 to *most*; 0 when nothing is said."""
        value = self.get(key)
        if value and not (value.isascii() and value.isdigit() and len(value) < 12 and 1 <= int(value) <= most):
            raise self.wrong(key, f"is {value!r}, not a number from 1 to {most}")
        return int(value or 0)

    def numbered(self, prefix: str) -> set[str]:
        """Keys ``prefix.N`` of either."""
        flavor = {key.removeprefix("hw:") for key in self.flavor.extra_specs if key.startswith(f"hw:{prefix}.")}
        return flavor | {key.removeprefix("hw_") for key in self.image if key.startswith(f"hw_{prefix}.")}

    def wrong(self, key: str, reason: str) -> errors.InvalidFlavor:
        return _invalid(self.flavor, f"hw:{key} {reason}")


def _page_kib(words: _Words) -> int:
    flavor, image = words.both("mem_page_size")
    for word in (flavor, image):
        if word and word not in _PAGE_KIB:
            raise words.wrong("mem_page_size", f"is {word!r}, not one of small, large, any, 2048, 1048576")
    if not flavor or not image or _PAGE_KIB[flavor] == _PAGE_KIB[image]:
        return _PAGE_KIB[flavor or image or "small"]
    if flavor == "any" or image == "any" or (flavor == "large" and _PAGE_KIB[image]):
        return _PAGE_KIB[flavor if image == "any" else image]
    raise words.wrong("mem_page_size", f"is {flavor!r}, the image has {image!r}")


def _cells(words: _Words, *, needed: bool, page_kib: int) -> tuple[CellAsk, ...]:
    count = words.number("numa_nodes", _MOST_CELLS)
    shares = words.numbered("numa_cpus") | words.numbered("numa_mem")
    if not count and not shares:
        count = 1 if needed else 0
    known = {f"{prefix}.{cell}" for prefix in ("numa_cpus", "numa_mem") for cell in range(count)}
    if stray := sorted(shares - known):
        raise words.wrong(stray[0], f"is for a cell that hw:numa_nodes={count} has not")
    if shares and shares != known:
        raise words.wrong(min(known - shares), "is missing: where one cell's share is given, all must be")
    cells = _given(words, count) if shares else _even(words, count)
    for each in cells:
        if page_kib > 0 and each.memory_mib * 1024 % page_kib:
            raise words.wrong("mem_page_size", f"of {page_kib} KiB does not divide the {each.memory_mib} MiB of a cell")
    return cells


def _even(words: _Words, count: int) -> tuple[CellAsk, ...]:
    vcpus, memory_mib = words.flavor.vcpus, words.flavor.memory_mib
    if count and (vcpus % count or memory_mib % count):
        raise words.wrong("numa_nodes", f"of {count} do not divide {vcpus} vCPUs and {memory_mib} MiB evenly")
    return tuple(CellAsk(vcpus=vcpus // count, memory_mib=memory_mib // count) for _ in range(count))


def _given(words: _Words, count: int) -> tuple[CellAsk, ...]:
    flavor = words.flavor
    next_vcpu = 0
    cells = []
    for cell in range(count):
        vcpus = _vcpus(words, f"numa_cpus.{cell}")
        if not vcpus or vcpus != list(range(next_vcpu, next_vcpu + len(vcpus))):
            raise words.wrong(f"numa_cpus.{cell}", f"must go on from vCPU {next_vcpu}: vCPUs are numbered cell by cell")
        next_vcpu += len(vcpus)
        cells.append(CellAsk(vcpus=len(vcpus), memory_mib=words.number(f"numa_mem.{cell}", flavor.memory_mib)))
    if next_vcpu != flavor.vcpus:
        raise words.wrong("numa_cpus", f"name {next_vcpu} vCPUs in all, the flavor has {flavor.vcpus}")
    if (memory_mib := sum(each.memory_mib for each in cells)) != flavor.memory_mib:
        raise words.wrong("numa_mem", f"are {memory_mib} MiB in all, the flavor has {flavor.memory_mib}")
    return tuple(cells)


def _vcpus(words: _Words, key: str) -> list[int]:
    try:
        return sorted(cpu_set(words.get(key)))
    except ValueError as exc:
        raise words.wrong(key, f"is {words.get(key)!r}: {exc}") from None


def _devices(flavor: Flavor, aliases: Aliases) -> tuple[DeviceAsk, ...]:
    counts: dict[str, int] = {}
    for part in flavor.extra_specs.get(PCI_ALIAS_KEY, "").split(","):
        if not part.strip():
            continue
        name, _, count = (word.strip() for word in part.partition(":"))
        if name not in aliases:
            raise _invalid(flavor, f"{PCI_ALIAS_KEY}: no alias {name!r} is configured")
        if not (count.isascii() and count.isdigit() and len(count) < 4 and int(count) > 0):
            raise _invalid(flavor, f"{PCI_ALIAS_KEY}: {part.strip()!r} is not NAME:COUNT")
        counts[name] = counts.get(name, 0) + int(count)
    if (total := sum(counts.values())) > _MOST_DEVICES:
        raise _invalid(flavor, f"{PCI_ALIAS_KEY} asks for {total} devices, over {_MOST_DEVICES}")
    return tuple(DeviceAsk(alias=name, count=count, ids=tuple(aliases[name])) for name, count in sorted(counts.items()))
