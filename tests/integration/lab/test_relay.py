"""The relay carries bytes both ways, refuses as its far end does, and listens where it is told."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drover.runtime.port import free_ports, is_listening
from drover.runtime.threads import ThreadRuntime
from tests.needs import require


@contextlib.contextmanager
def relay(runtime: ThreadRuntime, *arguments: str, port: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "drover.lab.relay", *arguments]) as process:
        try:
            while port and not is_listening("127.0.0.1", port):
                assert process.poll() is None, "the relay ended"
                runtime.sleep(0.02)
            yield process
        finally:
            process.kill()


@pytest.fixture
def far() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def test_both_directions_end_on_their_own(runtime: ThreadRuntime, far: socket.socket) -> None:
    (port,) = free_ports(1)
    with relay(runtime, f"127.0.0.1:{port}=127.0.0.1:{far.getsockname()[1]}", port=port):
        far.accept()[0].close()  # the look whether it listens
        with socket.create_connection(("127.0.0.1", port), timeout=60) as near, far.accept()[0] as other:
            other.settimeout(60)
            near.sendall(b"question" * 100_000)
            near.shutdown(socket.SHUT_WR)
            asked = b"".join(iter(lambda: other.recv(65536), b""))
            assert asked == b"question" * 100_000
            other.sendall(b"answer")
            other.close()
            assert b"".join(iter(lambda: near.recv(65536), b"")) == b"answer"


def test_a_far_end_that_is_away_refuses(runtime: ThreadRuntime) -> None:
    port, nobody = free_ports(2)
    with (
        relay(runtime, f"127.0.0.1:{port}=127.0.0.1:{nobody}", port=port),
        socket.create_connection(("127.0.0.1", port), timeout=60) as near,
        contextlib.suppress(ConnectionError),
    ):
        assert near.recv(1) == b""


def test_it_listens_in_another_namespace_and_speaks_from_its_own(runtime: ThreadRuntime, far: socket.socket) -> None:
    require("root", "netns")
    with subprocess.Popen(["unshare", "--net", "bash", "-c", "ip link set lo up && echo up && exec sleep 1000"],
                          stdout=subprocess.PIPE) as space:  # fmt: skip
        try:
            assert space.stdout is not None
            assert space.stdout.readline() == b"up\n"
            inside = Path(f"/proc/{space.pid}/ns/net")
            forward = f"127.0.0.1:4000=127.0.0.1:{far.getsockname()[1]}"
            enter = ["nsenter", f"--net={inside}", "bash", "-c"]
            with relay(runtime, "--namespace", str(inside), forward):
                while subprocess.run([*enter, "</dev/tcp/127.0.0.1/4000"], capture_output=True, check=False).returncode:
                    runtime.sleep(0.02)
                far.accept()[0].close()
                talk = subprocess.Popen([*enter, "exec 3<>/dev/tcp/127.0.0.1/4000; read -r line <&3; echo got $line"],
                                        stdout=subprocess.PIPE)  # fmt: skip
                with far.accept()[0] as other:
                    other.sendall(b"word\n")
                assert talk.communicate(timeout=60)[0] == b"got word\n"
            assert not is_listening("127.0.0.1", 4000)
            assert os.readlink("/proc/self/ns/net") != os.readlink(inside)
        finally:
            space.kill()
