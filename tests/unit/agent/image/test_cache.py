"""The image cache against a fetcher that cuts, lies, stalls and waits to be told."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.image.cache import FetchTimes, ImageCache
from agent.image.fetcher import Stream
from drover import errors
from drover.objects.guest import ImageSource
from drover.runtime.threads import ThreadRuntime

BYTES = b"\xeb\x3c" + bytes(range(256)) * 64
SHA256 = hashlib.sha256(BYTES).hexdigest()
LONG_S = 30.0


def source(**changes: object) -> ImageSource:
    values: dict[str, object] = {
        "id": "6c0c3df2-64b0-4d32-8a4b-5a0de0a3d2f1",
        "format": "raw",
        "sha256": SHA256,
        "size_bytes": len(BYTES),
        "virtual_size_bytes": 0,
        "url": "http://depot.test/x",
        **changes,
    }
    return ImageSource(**values)  # type: ignore[arg-type]


class Token:
    def __init__(self) -> None:
        self.event = threading.Event()

    def cancelled(self) -> bool:
        return self.event.is_set()

    def check(self) -> None:
        if self.event.is_set():
            raise errors.OperationCancelled(reason="test")

    def wait(self, timeout_s: float) -> bool:
        return self.event.wait(timeout_s)


class Script:
    """A stream of prepared blocks; a callable among them is run when its turn comes."""

    def __init__(self, blocks: list[bytes | Callable[[], bytes]], length: int | None = None) -> None:
        self._blocks = list(blocks)
        self.length = length

    def read(self, most: int) -> bytes:
        block = self._blocks.pop(0) if self._blocks else b""
        return block if isinstance(block, bytes) else block()


class FakeFetcher:
    """Each open takes the next script; the last stays."""

    def __init__(self, *scripts: Callable[[], Stream]) -> None:
        self._scripts = list(scripts)
        self.opened = 0

    @contextmanager
    def open(self, source: ImageSource) -> Iterator[Stream]:
        self.opened += 1
        yield (self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0])()


def whole() -> Stream:
    return Script([BYTES[:1000], BYTES[1000:]], len(BYTES))


class FastRuntime(ThreadRuntime):
    """Back-off takes no time: only the order of tries matters here."""

    def sleep(self, seconds: float) -> None:
        return


def cache_of(directory: Path, fetcher: FakeFetcher, **times: float) -> ImageCache:
    return ImageCache(FastRuntime(), directory, fetcher, limit_gib=1, times=FetchTimes(**times))


def leftovers(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir())


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    result: list[object] = []

    def run() -> None:
        try:
            result.append(work())
        except errors.DroverError as exc:
            result.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def test_fetched_once_and_read_only(tmp_path: Path) -> None:
    fetcher = FakeFetcher(whole)
    cache = cache_of(tmp_path, fetcher)
    first = cache.ensure(source(), Token())
    assert cache.ensure(source(), Token()) == first
    assert fetcher.opened == 1
    assert Path(first).read_bytes() == BYTES
    assert Path(first).stat().st_mode & 0o777 == 0o444
    assert leftovers(tmp_path) == [Path(first).name, f"{Path(first).name}.json"]


def test_a_restarted_agent_trusts_what_was_checked_and_removes_what_was_not(tmp_path: Path) -> None:
    path = cache_of(tmp_path, FakeFetcher(whole)).ensure(source(), Token())
    (tmp_path / "6c0c3df2.raw.1234.part").write_bytes(b"half")
    fetcher = FakeFetcher(whole)
    assert cache_of(tmp_path, fetcher).ensure(source(), Token()) == path
    assert fetcher.opened == 0
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("harm", ["no marker", "cut", "junk marker", "no image"])
def test_a_cached_file_that_is_not_what_was_checked_is_fetched_anew(tmp_path: Path, harm: str) -> None:
    path = Path(cache_of(tmp_path, FakeFetcher(whole)).ensure(source(), Token()))
    marker = path.with_name(path.name + ".json")
    match harm:
        case "no marker":
            marker.unlink()
        case "junk marker":
            marker.unlink()
            marker.write_text("{")
        case "no image":
            path.unlink()
        case _:
            path.unlink()
            path.write_bytes(BYTES[:100])
    fetcher = FakeFetcher(whole)
    cache_of(tmp_path, fetcher).ensure(source(), Token())
    assert fetcher.opened == 1
    assert path.read_bytes() == BYTES


def test_without_a_known_digest_size_or_length_the_bytes_count(tmp_path: Path) -> None:
    fetcher = FakeFetcher(lambda: Script([BYTES]))
    path = cache_of(tmp_path, fetcher).ensure(source(sha256="", size_bytes=0), Token())
    assert Path(path).read_bytes() == BYTES


@pytest.mark.parametrize(
    ("script", "changes", "error"),
    [
        (Script([BYTES[:-1] + b"!"], len(BYTES)), {}, errors.ImageChecksumMismatch),
        (Script([BYTES[:-1]], len(BYTES) - 1), {}, errors.ImageFetchFailed),
        (Script([BYTES, b"more"]), {}, errors.ImageFetchFailed),
        (Script([BYTES[:-1]]), {}, errors.ImageFetchFailed),
        (Script([BYTES], len(BYTES)), {"format": "qcow2"}, errors.InvalidImage),
        (Script([b"QFI\xfb" + bytes(4000)]), {"sha256": "", "size_bytes": 0}, errors.InvalidImage),
    ],
)
def test_bytes_that_are_not_what_was_said_are_refused_and_removed(
    tmp_path: Path, script: Script, changes: dict[str, object], error: type[errors.DroverError]
) -> None:
    fetcher = FakeFetcher(lambda: script)
    with pytest.raises(error):
        cache_of(tmp_path, fetcher).ensure(source(**changes), Token())
    assert fetcher.opened == 1
    assert leftovers(tmp_path) == []


def fail(error: BaseException) -> Callable[[], bytes]:
    def run() -> bytes:
        raise error

    return run


def test_a_server_that_restarts_costs_nothing(tmp_path: Path) -> None:
    lost = errors.Unavailable(what="image source", detail="reset")
    fetcher = FakeFetcher(
        lambda: Script([BYTES[:10], fail(lost)], len(BYTES)),
        lambda: Script([BYTES[:500]], len(BYTES)),  # cut: fewer bytes than it said
        whole,
    )
    path = cache_of(tmp_path, fetcher).ensure(source(), Token())
    assert fetcher.opened == 3
    assert Path(path).read_bytes() == BYTES


def test_a_server_that_stays_away_is_given_up_as_retryable(tmp_path: Path) -> None:
    lost = errors.Unavailable(what="image source", detail="connection reset")
    fetcher = FakeFetcher(lambda: Script([fail(lost)]))
    with pytest.raises(errors.ImageFetchFailed, match="connection reset") as caught:
        cache_of(tmp_path, fetcher, patience_s=0.05).ensure(source(), Token())
    assert caught.value.retryable
    assert fetcher.opened >= 2
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_so_and_nothing_stays(tmp_path: Path, code: int) -> None:
    fetcher = FakeFetcher(lambda: Script([BYTES[:10], fail(OSError(code, os.strerror(code)))]))
    with pytest.raises(errors.DiskFull, match=str(tmp_path)):
        cache_of(tmp_path, fetcher).ensure(source(), Token())
    assert leftovers(tmp_path) == []


def test_an_unexpected_error_still_wakes_the_waiter(tmp_path: Path) -> None:
    fetcher = FakeFetcher(lambda: Script([fail(ZeroDivisionError())]))
    with pytest.raises(errors.ImageFetchFailed, match="ZeroDivisionError"):
        cache_of(tmp_path, fetcher).ensure(source(), Token())


def test_a_trickle_ends_at_the_deadline(tmp_path: Path) -> None:
    fetcher = FakeFetcher(lambda: Script([b"x"] * 1000))
    with pytest.raises(errors.ImageFetchFailed, match="given up"):
        cache_of(tmp_path, fetcher, timeout_s=0.0).ensure(source(), Token())
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("image_id", ["", "../x", "a/b", "a.b"])
def test_an_id_never_leaves_the_directory(tmp_path: Path, image_id: str) -> None:
    with pytest.raises(errors.InvalidImage):
        cache_of(tmp_path, FakeFetcher(whole)).ensure(source(id=image_id), Token())


def test_a_cancelled_caller_does_not_begin(tmp_path: Path) -> None:
    fetcher, token = FakeFetcher(whole), Token()
    token.event.set()
    with pytest.raises(errors.OperationCancelled):
        cache_of(tmp_path, fetcher).ensure(source(), token)
    assert fetcher.opened == 0


class Gate:
    """Holds a stream in the middle until the test lets it go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> bytes:
        self.reached.set()
        assert self.go.wait(LONG_S)
        return BYTES[10:]


def test_one_download_for_all_who_wait(tmp_path: Path) -> None:
    gate = Gate()
    fetcher = FakeFetcher(lambda: Script([BYTES[:10], gate], len(BYTES)))
    cache = cache_of(tmp_path, fetcher)
    waiting = [in_thread(lambda: cache.ensure(source(), Token())) for _ in range(8)]
    assert gate.reached.wait(LONG_S)
    gate.go.set()
    for thread, _ in waiting:
        thread.join(LONG_S)
    assert {str(result[0]) for _, result in waiting} == {str(tmp_path / f"{source().id}.raw")}
    assert fetcher.opened == 1


def test_one_cancelled_waiter_does_not_end_the_download_of_the_others(tmp_path: Path) -> None:
    gate, token = Gate(), Token()
    fetcher = FakeFetcher(lambda: Script([BYTES[:10], gate], len(BYTES)))
    cache = cache_of(tmp_path, fetcher)
    first, gone = in_thread(lambda: cache.ensure(source(), token))
    assert gate.reached.wait(LONG_S)
    second, result = in_thread(lambda: cache.ensure(source(), Token()))
    while _waiters(cache) != 2:
        assert second.is_alive()
    token.event.set()
    first.join(LONG_S)
    assert isinstance(gone[0], errors.OperationCancelled)  # while the download still hangs
    gate.go.set()
    second.join(LONG_S)
    assert result == [str(tmp_path / f"{source().id}.raw")]
    assert fetcher.opened == 1


def test_the_last_cancelled_waiter_ends_the_download_and_a_newcomer_begins_anew(tmp_path: Path) -> None:
    gate, token = Gate(), Token()
    fetcher = FakeFetcher(lambda: Script([BYTES[:10], gate, BYTES], None), whole)
    cache = cache_of(tmp_path, fetcher)
    first, gone = in_thread(lambda: cache.ensure(source(), token))
    assert gate.reached.wait(LONG_S)
    token.event.set()
    first.join(LONG_S)
    assert isinstance(gone[0], errors.OperationCancelled)
    path = cache.ensure(source(), Token())  # the abandoned download still hangs beside it
    assert fetcher.opened == 2
    gate.go.set()
    while list(tmp_path.glob("*.part")):
        threading.Event().wait(0.01)
    assert Path(path).read_bytes() == BYTES


def _waiters(cache: ImageCache) -> int:
    return sum(download.waiters for download in list(cache._downloads.values()))
