"""Guests whose memory and disk take long to copy: as long as a test likes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.guest import write_image
from tests.machine import Machine, wait_until

__all__ = ["HeavyGuests"]

#: libvirt saves memory through it, by a pipe
_IOHELPER = "/usr/lib/libvirt/libvirt_iohelper"
#: more than a pipe holds, in a guest of 16 MiB
_USED_MIB = 4
_DISK_BYTES = 32 * 1024 * 1024


class HeavyGuests:
    """Their disks lie behind a qemu-nbd that can be stopped, and what saves memory waits before it begins."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self._machine = machine
        self._directory = directory
        self._gate = directory / "gate"
        self._server: subprocess.Popen[bytes] | None = None

    def make(self, disk: Path) -> None:
        """Give the overlay *disk* of a guest that is off a heavy backing file."""
        if self._server is None:
            self._serve()
        backing = f"nbd+unix:///?socket={self._directory / 'nbd'}"
        size = str(_DISK_BYTES)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, disk, size], check=True)

    def hold(self) -> None:
        self._gate.touch()
        self._signal(signal.SIGSTOP)

    def release(self) -> None:
        self._gate.unlink(missing_ok=True)
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        self.release()
        if self._server is not None:
            self._machine.run(["umount", _IOHELPER])
            self._server.kill()
            self._server.wait(30)

    def _serve(self) -> None:
        image = write_image(self._directory / "heavy.raw", used_mib=_USED_MIB)
        with image.open("ab") as file:
            file.write(os.urandom(_DISK_BYTES - file.tell()))
        socket = self._directory / "nbd"
        argv = [
            "qemu-nbd",
            "--read-only",
            "--persistent",
            "--shared=8",
            "--format=raw",
            f"--socket={socket}",
            str(image),
        ]
        self._server = subprocess.Popen(argv)
        wait_until(socket.exists, "qemu-nbd")
        real, waiting = self._directory / "iohelper", self._directory / "waiting-iohelper"
        self._machine.run(["cp", _IOHELPER, str(real)])
        waiting.write_text(f'#!/bin/sh\nwhile [ -e {self._gate} ]; do sleep 0.02; done\nexec {real} "$@"\n')
        waiting.chmod(0o755)
        self._machine.run(["mount", "--bind", str(waiting), _IOHELPER])

    def _signal(self, number: int) -> None:
        if self._server is not None:
            self._server.send_signal(number)
