"""What flavors and images may ask of a host: the keys of extra specs and image properties, which are Nova's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from drover.extra_spec import AGGREGATE_PREFIX, PCI_ALIAS_KEY, Aliases
from drover.objects.catalog import Flavor
from drover.objects.name import LONGEST_NAME

__all__ = ["KNOWN_SPECS", "extra_spec_faults", "named_aliases", "property_faults"]

MOST_PROPERTIES = 128
_VIRT_TYPES = ("kvm", "qemu", "auto")
_HARDWARE = re.compile(r"(numa_nodes|numa_cpus\.\d{1,2}|numa_mem\.\d{1,2}|cpu_policy|cpu_thread_policy|mem_page_size)")
_HARDWARE_WORDS = "numa_nodes, numa_cpus.N, numa_mem.N, cpu_policy, cpu_thread_policy, mem_page_size"
#: as Placement has them
_TRAIT = re.compile(r"[A-Z0-9_]{1,255}")
#: for the words of a refusal
KNOWN_SPECS = (
    "virt_type",
    "hw:…",
    "trait:NAME",
    f"{AGGREGATE_PREFIX}KEY",
    PCI_ALIAS_KEY,
)


def extra_spec_faults(specs: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the keys of extra specs: one that is not known would promise what nobody does."""
    for key, value in specs.items():
        scope, colon, name = key.partition(":")
        if key == "virt_type":
            if value not in _VIRT_TYPES:
                yield f"extra spec {key} is {value!r}, must be one of {', '.join(_VIRT_TYPES)}"
        elif scope == "trait" and not _TRAIT.fullmatch(name):
            yield f"extra spec {key!r}: a trait has A-Z, 0-9 and _"
        elif scope + colon == "hw:" and not _HARDWARE.fullmatch(name):
            yield f"unknown extra spec {key!r}; of hw: there are {_HARDWARE_WORDS}"
        elif scope + colon not in ("trait:", "hw:", AGGREGATE_PREFIX) and key != PCI_ALIAS_KEY:
            yield f"unknown extra spec {key!r}; known: {', '.join(KNOWN_SPECS)}"


def property_faults(properties: Mapping[str, str]) -> Iterator[str]:
    """The same of an image's properties; those of other scopes are for aggregates to match."""
    if len(properties) > MOST_PROPERTIES:
        yield f"{len(properties)} properties, at most {MOST_PROPERTIES}"
    for key, value in properties.items():
        if not key or not key.isprintable() or len(key) > LONGEST_NAME:
            yield f"property {key!r}: a key has 1 to {LONGEST_NAME} printable characters"
        elif len(value) > LONGEST_NAME or (value and not value.isprintable()):
            yield f"property {key}: a value has at most {LONGEST_NAME} printable characters"
        elif key.startswith("trait:") and not _TRAIT.fullmatch(key.removeprefix("trait:")):
            yield f"property {key!r}: a trait has A-Z, 0-9 and _"
        elif key.startswith("trait:") and value not in ("required", "forbidden"):
            yield f"property {key} is {value!r}, neither required nor forbidden"
        elif key.startswith("hw_") and not _HARDWARE.fullmatch(key.removeprefix("hw_")):
            yield f"unknown property {key!r}; of hw_ there are {_HARDWARE_WORDS}"


def named_aliases(flavor: Flavor) -> Aliases:
    """Aliases of PCI devices as if all that *flavor* names were configured: which are, the schedulers know."""
    parts = flavor.extra_specs.get(PCI_ALIAS_KEY, "").split(",")
    return {name: () for part in parts if (name := part.partition(":")[0].strip())}
