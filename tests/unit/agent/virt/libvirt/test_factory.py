"""The factory behind the entry point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agent.virt.libvirt import create
from drover.conf import load
from drover.runtime.threads import ThreadRuntime


def test_the_package_itself_imports_no_libvirt() -> None:
    code = "import agent.virt.libvirt, sys; sys.exit('libvirt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_factory_opens_a_backend_without_waiting_for_libvirt(runtime: ThreadRuntime, tmp_path: Path) -> None:
    path = tmp_path / "drover.conf"
    path.write_text(
        f"[libvirt]\nuri = qemu+unix:///system?socket={tmp_path}/none\n"
        f"images_dir = {tmp_path}/images\ninstances_dir = {tmp_path}/instances\n"
    )
    backend = create(runtime, load([str(path)]), str(tmp_path), "host1")
    try:
        assert (tmp_path / "images").is_dir()
        assert (tmp_path / "instances").is_dir()
    finally:
        backend.driver.close()
