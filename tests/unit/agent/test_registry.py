from __future__ import annotations

from pathlib import Path

import pytest

from agent.identity import FixedMachine, LinuxMachine, host_identity
from agent.state_dir import MemoryStateDir
from agent.virt import registry
from agent.virt.fake import FakeDriver
from drover import errors
from drover.conf import load
from drover.runtime.threads import ThreadRuntime


def test_fake_driver_by_name(tmp_path: Path) -> None:
    file = tmp_path / "drover.conf"
    file.write_text("[fake]\nvcpus = 3\n")
    backend = registry.load("fake")(ThreadRuntime(), load([str(file)]), str(tmp_path / "state"), "h1")
    assert isinstance(backend.driver, FakeDriver)
    assert backend.driver.inventory().vcpus == 3
    assert (tmp_path / "state" / "fake").is_dir()


def test_unknown_driver_names_the_known_ones() -> None:
    with pytest.raises(errors.InvalidConfig, match=r"no virt driver 'xen'; installed: .*fake.*libvirt"):
        registry.load("xen")


def test_identity_is_made_once() -> None:
    runtime, state_dir = ThreadRuntime(), MemoryStateDir()
    first = host_identity(runtime, FixedMachine("h1", "m", "b1"), state_dir, "")
    second = host_identity(runtime, FixedMachine("h1", "m", "b2"), state_dir, "other")
    assert first.host_uuid == second.host_uuid
    assert (first.host, second.host) == ("h1", "other")
    assert (first.boot_id, second.boot_id) == ("b1", "b2")


def test_this_machine(tmp_path: Path) -> None:
    (tmp_path / "machine-id").write_text("abc\n")
    machine = LinuxMachine(str(tmp_path / "machine-id"), "/proc/sys/kernel/random/boot_id")
    assert machine.machine_id() == "abc"
    assert len(machine.boot_id()) == 36
    assert machine.host_name()
    assert LinuxMachine(str(tmp_path / "none"), str(tmp_path / "none")).machine_id() == ""
