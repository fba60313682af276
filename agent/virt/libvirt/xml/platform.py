"""What makes the virtual board: memory, processors, firmware, clock."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.cpu_tune import vcpus
from agent.virt.libvirt.xml.element import add
from agent.virt.libvirt.xml.numa import guest_cells, memory_backing, numa_tune
from agent.virt.libvirt.xml.shape import Shape
from drover.objects.guest import GuestSpec
from drover.objects.hardware import HardwareClaim

__all__ = ["board", "tb_cache_mib"]


def tb_cache_mib(memory_mib: int) -> int:
    """QEMU's cache of translated code when it emulates: its default of 1 GiB is more than most guests.

    A Linux guest runs two to three times slower under 32 MiB and gains nothing over 64 (measured).
    """
    return 48 if memory_mib >= 80 else max(1, memory_mib // 16)


def board(domain: ET.Element, spec: GuestSpec, shape: Shape, virt_type: str) -> None:
    """Everything between the name and the devices."""
    add(domain, "memory", str(spec.memory_mib), unit="MiB")
    memory_backing(domain, spec.hardware)
    vcpus(domain, spec, shape)
    numa_tune(domain, spec.hardware)
    add(add(domain, "os"), "type", "hvm", arch="x86_64", machine=shape.machine)
    features = add(domain, "features")
    add(features, "acpi")
    add(features, "apic")
    if virt_type == "qemu":
        add(add(features, "tcg"), "tb-cache", str(tb_cache_mib(spec.memory_mib)), unit="MiB")
    _cpu(domain, spec.hardware, shape.cpu_mode if virt_type == "kvm" else "")
    clock = add(domain, "clock", offset="utc")
    add(clock, "timer", name="rtc", tickpolicy="catchup")
    add(clock, "timer", name="pit", tickpolicy="delay")
    add(clock, "timer", name="hpet", present="no")
    add(domain, "on_poweroff", "destroy")
    add(domain, "on_reboot", "restart")
    add(domain, "on_crash", "destroy")


def _cpu(domain: ET.Element, claim: HardwareClaim, mode: str) -> None:
    """Left out where there is nothing to say: QEMU's default model, one cell."""
    if mode or claim.cells:
        cpu = add(domain, "cpu", **({"mode": mode} if mode else {}))
        if claim.cells:
            guest_cells(cpu, claim)
