"""What is read from libvirt, /proc and files, as values."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import libvirt
import pytest

from agent.virt.libvirt import console, disk, host
from agent.virt.libvirt.antispoof import Binding, allow, bindings_of, forget, read, to_json
from agent.virt.libvirt.domain import Found, power_of
from agent.virt.libvirt.event import power_of_event
from agent.virt.libvirt.folder import Folder
from agent.virt.libvirt.guests import objection
from agent.virt.libvirt.identity import stamp
from agent.virt.libvirt.stats import usage_of
from drover import errors
from drover.objects.guest import GuestClass
from drover.states import PowerState
from drover.units import GIB
from tests.unit.agent.virt.libvirt.spec import make_port, make_spec

NOW = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "reason", "power_state"),
    [
        (libvirt.VIR_DOMAIN_NOSTATE, 0, PowerState.UNKNOWN),
        (libvirt.VIR_DOMAIN_RUNNING, 1, PowerState.RUNNING),
        (libvirt.VIR_DOMAIN_BLOCKED, 0, PowerState.RUNNING),
        (libvirt.VIR_DOMAIN_PAUSED, 1, PowerState.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, PowerState.UNKNOWN),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SAVE, PowerState.UNKNOWN),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, PowerState.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN, PowerState.RUNNING),
        (libvirt.VIR_DOMAIN_SHUTDOWN, 0, PowerState.RUNNING),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, PowerState.SHUTDOWN),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, PowerState.CRASHED),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, PowerState.SHUTDOWN),
        (libvirt.VIR_DOMAIN_CRASHED, 0, PowerState.CRASHED),
        (libvirt.VIR_DOMAIN_PMSUSPENDED, 0, PowerState.PAUSED),
        (99, 0, PowerState.UNKNOWN),
    ],
)
def test_power_states(state: int, reason: int, power_state: PowerState) -> None:
    assert power_of(state, reason) is power_state


@pytest.mark.parametrize(
    ("event", "detail", "power_state"),
    [
        (libvirt.VIR_DOMAIN_EVENT_STARTED, 0, PowerState.RUNNING),
        (libvirt.VIR_DOMAIN_EVENT_RESUMED, 0, PowerState.RUNNING),
        (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, 0, PowerState.PAUSED),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, PowerState.SHUTDOWN),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED, PowerState.CRASHED),
        (libvirt.VIR_DOMAIN_EVENT_CRASHED, 0, PowerState.CRASHED),
        (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, 0, None),
        (libvirt.VIR_DOMAIN_EVENT_DEFINED, 0, None),
        (libvirt.VIR_DOMAIN_EVENT_UNDEFINED, 0, None),
    ],
)
def test_power_events(event: int, detail: int, power_state: PowerState | None) -> None:
    assert power_of_event(event, detail) is power_state


def test_usage_of_a_guest_with_two_disks_and_two_interfaces() -> None:
    stats = {
        "cpu.time": 2_500_000_000,
        "balloon.current": 96 * 1024,
        "balloon.rss": 120 * 1024,
        "net.count": 2,
        "net.0.rx.bytes": 10,
        "net.0.tx.bytes": 1,
        "net.1.rx.bytes": 20,
        "net.1.tx.bytes": 2,
        "block.count": 2,
        "block.0.rd.bytes": 100,
        "block.0.wr.bytes": 7,
        "block.0.allocation": 3 << 20,
        "block.1.rd.bytes": 200,
        "block.1.allocation": 1 << 20,
    }
    usage = usage_of(stats, NOW)
    assert usage.cpu_time_s == 2.5
    assert (usage.memory_mib, usage.memory_rss_mib) == (96, 120)
    assert (usage.disk_read_bytes, usage.disk_write_bytes, usage.disk_allocated_mib) == (300, 7, 4)
    assert (usage.net_rx_bytes, usage.net_tx_bytes) == (30, 3)
    assert usage.at == NOW


def test_usage_of_a_busy_guest_counts_what_is_not_told_as_nothing() -> None:
    assert usage_of({}, NOW).cpu_time_s == 0.0


def test_cpu_load_is_the_busy_part_of_what_passed() -> None:
    earlier = host.cpu_times("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1\n")
    later = host.cpu_times("cpu  160 0 60 815 65 0 0 0 0 0\n")
    assert (earlier.busy, earlier.total) == (150, 1000)
    assert host.cpu_percent(earlier, later) == 70.0
    assert host.cpu_percent(later, later) == 0.0


def test_memory_and_flags() -> None:
    meminfo = (
        "MemTotal:       2097152 kB\nMemFree:         1024 kB\nMemAvailable:    1048576 kB\nHugePages_Total:       0\n"
    )
    assert host.memory_mib(meminfo) == (1024, 2048)
    assert host.cpu_flags("processor : 0\nflags\t\t: sse2 avx\n\nprocessor : 1\nflags : x\n") == (
        "HW_CPU_X86_AVX",
        "HW_CPU_X86_SSE2",
    )
    assert host.cpu_flags("Features : fp\n") == ()


def found(epoch: int, kind: GuestClass = GuestClass.OURS) -> Found:
    return Found(None, stamp(make_spec(epoch=epoch), "operation"), kind)


@pytest.mark.parametrize(
    ("there", "active", "named", "refused"),
    [
        (None, False, "", False),
        (None, False, "somebody-else", True),
        (found(3), True, make_spec().uuid, False),
        (found(3), False, make_spec().uuid, False),
        (found(2), True, make_spec().uuid, True),
        (found(4), True, make_spec().uuid, True),
        (found(2), False, make_spec().uuid, False),
        (found(4), False, make_spec().uuid, True),
        (found(3, GuestClass.FOREIGN), False, "", True),
        (found(3, GuestClass.FOREIGN), True, "", True),
    ],
)
def test_what_may_be_defined(there: Found | None, active: bool, named: str, refused: bool) -> None:
    assert bool(objection(there, make_spec(epoch=3), active=active, named=named)) is refused


def test_the_disk_is_never_smaller_than_the_image() -> None:
    assert disk.overlay_size(3 * GIB, 0) == 3 * GIB
    assert disk.overlay_size(3 * GIB, 2) == 3 * GIB
    assert disk.overlay_size(3 * GIB, 10) == 10 * GIB


def test_virtual_size(tmp_path: Path) -> None:
    raw, qcow2 = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(bytes(1536))
    qcow2.write_bytes(struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 5 * GIB))
    assert disk.virtual_size(raw, "raw") == 1536
    assert disk.virtual_size(qcow2, "qcow2") == 5 * GIB
    with pytest.raises(errors.InvalidImage):
        disk.virtual_size(raw, "qcow2")
    raw.write_bytes(b"QFI\xfb")
    with pytest.raises(errors.InvalidImage):
        disk.virtual_size(raw, "qcow2")
    with pytest.raises(errors.DriverError):
        disk.virtual_size(tmp_path / "absent", "raw")


def test_the_console_is_read_across_rotated_files(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert console.tail(folder, 100) == b""
    folder.console.write_bytes(b"newest")
    (tmp_path / "console.log.0").write_bytes(b"older-")
    (tmp_path / "console.log.1").write_bytes(b"oldest")
    assert console.tail(folder, 100) == b"oldestolder-newest"
    assert console.tail(folder, 8) == b"r-newest"
    assert console.tail(folder, 6) == b"newest"
    assert console.tail(folder, 3) == b"est"
    assert console.tail(folder, 0) == b""


def test_filter_scripts_name_each_port(tmp_path: Path) -> None:
    bindings = bindings_of((make_port(),))
    assert bindings == (Binding(tap="dv52540001000a", mac="52:54:00:01:00:0a", ip="10.0.0.10"),)
    element = 'element bridge drover address { "dv52540001000a" . 52:54:00:01:00:0a . 10.0.0.10 }\n'
    assert allow(bindings).count(element) == 1
    assert f"add {element}delete {element}" in forget(bindings)
    path = tmp_path / "ports.json"
    assert read(path) == ()
    path.write_bytes(to_json(bindings))
    assert read(path) == bindings
