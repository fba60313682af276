"""What a lab does for its libvirtds."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from drover.lab import libvirtd

HEAD = "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n\n"
UNBORN = f"{HEAD}<domstatus state='paused' reason='starting up' pid='0'>\n  <domain type='qemu'>\n"
RUNNING = f"{HEAD}<domstatus state='running' reason='booted' pid='130'>\n  <taint pid='0'/>\n"
UNIT = Path(__file__).resolve().parents[4] / "etc/systemd/libvirtd.service.d/drover.conf"


def notes(place: Path) -> Path:
    """One of a guest that runs, one of a guest that never was; as libvirt 9 writes them."""
    folder = place / "run/libvirt/qemu"
    folder.mkdir(parents=True)
    (folder / "running.xml").write_text(RUNNING)
    (folder / "unborn.xml").write_text(UNBORN)
    return folder


def test_only_notes_of_guests_that_never_were_are_forgotten(tmp_path: Path) -> None:
    libvirtd.forget_unborn(tmp_path)  # a host that boots has no such folder yet
    folder = notes(tmp_path)
    libvirtd.forget_unborn(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["running.xml"]


def test_the_unit_for_machines_with_systemd_forgets_the_same(tmp_path: Path) -> None:
    folder = notes(tmp_path)
    [command] = re.findall(r'^ExecStartPre=-/bin/sh -c "(.*)"$', UNIT.read_text(), re.MULTILINE)
    script = command.replace('\\"', '"').replace("/run/libvirt/qemu", str(folder))
    subprocess.run(["/bin/sh", "-c", script], check=True)
    assert [path.name for path in folder.iterdir()] == ["running.xml"]
