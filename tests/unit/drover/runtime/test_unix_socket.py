"""Frames over a UNIX socket, and who may listen."""

from __future__ import annotations

import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from drover.runtime import Runtime
from drover.runtime.threads import ThreadRuntime
from drover.runtime.unix_socket import Listener, connect


@pytest.fixture
def runtime() -> Runtime:
    return ThreadRuntime()


@pytest.fixture
def path() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="drover-sock-")
    yield f"{directory}/s"
    shutil.rmtree(directory)


def test_frames_arrive_whole(runtime: Runtime, path: str) -> None:
    listener = Listener(path)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600

    def echo() -> None:
        with listener.accept() as end:  # type: ignore[union-attr]
            for _ in range(3):
                end.send(end.receive(limit_bytes=1 << 22, timeout_s=30))

    task = runtime.spawn("echo", echo)
    with connect(path, timeout_s=30) as end:
        for frame in (b"", b"x", b"y" * (3 << 20)):
            end.send(frame)
            assert end.receive(limit_bytes=1 << 22, timeout_s=30) == frame
    assert task.join(30)
    listener.close()
    assert not Path(path).exists()


def test_a_frame_over_the_limit_is_not_read(runtime: Runtime, path: str) -> None:
    listener = Listener(path)
    with connect(path, timeout_s=30) as end:
        accepted = listener.accept()
        assert accepted is not None
        end.send(b"12345")
        with pytest.raises(ConnectionError, match="5 bytes"):
            accepted.receive(limit_bytes=4, timeout_s=30)
        accepted.close()
        with pytest.raises(OSError):
            end.receive(limit_bytes=4, timeout_s=30)
    listener.close()


def test_silence_ends_in_a_timeout(path: str) -> None:
    listener = Listener(path)
    with connect(path, timeout_s=30) as end, pytest.raises(TimeoutError):
        end.receive(limit_bytes=4, timeout_s=0.05)
    listener.close()


def test_closing_wakes_who_accepts(runtime: Runtime, path: str) -> None:
    listener = Listener(path)
    accepted = runtime.queue()
    task = runtime.spawn("accept", lambda: accepted.put(listener.accept()))
    assert not task.join(0.1)
    listener.close()
    assert task.join(30)
    assert accepted.drain() == [None]


def test_a_second_listener_is_refused_and_a_dead_ones_file_replaced(path: str) -> None:
    first = Listener(path)
    with pytest.raises(FileExistsError):
        Listener(path)
    first._sock.close()  # as a kill would: the file stays
    assert Path(path).exists()
    Listener(path).close()


def test_nobody_listens(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        connect(path, timeout_s=1)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(path)
        with pytest.raises(ConnectionRefusedError):
            connect(path, timeout_s=1)
