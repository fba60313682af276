"""The proof of KVM and other programs that are run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.virt.libvirt import probe
from agent.virt.libvirt.program import run
from drover import errors
from drover.runtime.threads import ThreadRuntime
from tests.needs import require


class Cancelled:
    def cancelled(self) -> bool:
        return True

    def check(self) -> None:
        raise errors.OperationCancelled(reason="test")

    def wait(self, timeout_s: float) -> bool:
        return True


def fake_qemu(directory: Path, status: int) -> str:
    path = directory / "qemu"
    path.write_text(f"#!/bin/sh\necho ran >> {directory}/runs\necho 'kvm: no' >&2\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(("status", "works"), [(43, True), (0, False), (1, False)])
def test_a_proof_is_kept_for_its_key(runtime: ThreadRuntime, tmp_path: Path, status: int, works: bool) -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("no /dev/kvm")
    qemu = fake_qemu(tmp_path, status)
    for _ in range(2):
        proof = probe.prove(runtime, qemu, key="this boot", state_dir=tmp_path)
        assert proof.works is works
        assert proof.reason
    assert (tmp_path / "runs").read_text() == "ran\n"
    probe.prove(runtime, qemu, key="next boot", state_dir=tmp_path)
    assert (tmp_path / "runs").read_text() == "ran\nran\n"


def test_a_damaged_note_is_no_proof(runtime: ThreadRuntime, tmp_path: Path) -> None:
    (tmp_path / "kvm.json").write_text('{"works": true, "rea')
    proof = probe.prove(runtime, fake_qemu(tmp_path, 1), key="k", state_dir=tmp_path)
    assert proof.works is False


def test_the_probe_guest_does_what_it_should_under_emulation(tmp_path: Path) -> None:
    require("qemu")
    image = tmp_path / "image"
    image.write_bytes(probe.boot_sector().ljust(1 << 20, b"\0"))
    assert len(probe.boot_sector()) == 512
    # fmt: off
    argv = [shutil.which("qemu-system-x86_64") or "", "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "pc,accel=tcg", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
            "-drive", f"file={image},format=raw,if=virtio,readonly=on"]
    # fmt: on
    assert subprocess.run(argv, check=False, timeout=120).returncode == 43


def test_a_program_gets_its_input_and_gives_its_output(runtime: ThreadRuntime) -> None:
    text = "x" * 200_000  # more than a pipe holds
    assert run(runtime, ["cat"], timeout_s=60, feed=text) == text


def test_a_program_that_hangs_is_killed(runtime: ThreadRuntime) -> None:
    with pytest.raises(errors.DriverTimeout):
        run(runtime, ["sleep", "600"], timeout_s=0.3)
    with pytest.raises(errors.OperationCancelled):
        run(runtime, ["sleep", "600"], timeout_s=600, cancel=Cancelled())


def test_a_program_that_fails_says_why(runtime: ThreadRuntime) -> None:
    with pytest.raises(errors.DriverError, match="second"):
        run(runtime, [sys.executable, "-c", "import sys; sys.exit('first\\nsecond')"], timeout_s=60)
    with pytest.raises(errors.DriverError, match="exit status 3"):
        run(runtime, [sys.executable, "-c", "raise SystemExit(3)"], timeout_s=60)
    with pytest.raises(errors.DriverError, match="No such file"):
        run(runtime, ["/nonexistent/program"], timeout_s=60)
    with pytest.raises(errors.DiskFull):
        run(runtime, [sys.executable, "-c", "import sys; sys.exit('x: No space left on device')"], timeout_s=60)
