"""Where a guest's processors run: those of a dedicated kind where they were claimed, others where they may."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add
from agent.virt.libvirt.xml.shape import Shape
from drover.objects.guest import GuestSpec
from drover.objects.hardware import CellClaim

__all__ = ["cpu_list", "vcpus"]


def cpu_list(cpus: Iterable[int]) -> str:
    """``0-2,5``, as libvirt writes it."""
    spans: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if spans and spans[-1][1] == cpu - 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def vcpus(domain: ET.Element, spec: GuestSpec, shape: Shape) -> None:
    """``vcpu`` and, for a guest that is bound to cells, ``cputune``.

    The emulator's own threads run beside its vCPUs: on the CPUs of all of them, never on those of other guests.
    """
    pins = [cpus for cell in spec.hardware.cells for cpus in _pins(cell, shape)]
    bound = {cpu for pin in pins for cpu in pin}
    cpuset = cpu_list(bound or shape.shared_cpus)
    add(domain, "vcpu", str(spec.vcpus), placement="static", **({"cpuset": cpuset} if cpuset else {}))
    if not bound:
        return
    tune = add(domain, "cputune")
    for number, pin in enumerate(pins):
        add(tune, "vcpupin", vcpu=number, cpuset=cpu_list(pin))
    add(tune, "emulatorpin", cpuset=cpuset)


def _pins(cell: CellClaim, shape: Shape) -> list[tuple[int, ...]]:
    """The host's CPUs for each vCPU of a cell, in their order."""
    if cell.cpus:
        return [(cpu,) for cpu in cell.cpus]
    # A cell all of whose CPUs are dedicated has none to share: its guests use those of other cells.
    return [shape.cell_cpus.get(cell.cell) or shape.shared_cpus] * cell.vcpus
