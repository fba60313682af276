"""An agent's fetch: from the depot, and from servers that redirect, refuse, cut, stall and babble."""

from __future__ import annotations

import hashlib
import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent.image.cache import FetchTimes, ImageCache
from agent.image.fetcher import HttpFetcher
from conductor.workflows.image import image_source
from drover import errors
from drover.objects.catalog import Image, ImageFormat
from drover.objects.guest import ImageSource
from drover.runtime.threads import ThreadRuntime
from tests.functional.image.conftest import CTX, KEY, Site

BYTES = b"\xfa\xf4" + bytes(range(256)) * 1000
FETCHER = HttpFetcher(connect_s=10.0, stall_s=1.0)
Reply = Callable[["Web", Any], None]


class NeverCancelled:
    def cancelled(self) -> bool:
        return False

    def check(self) -> None:
        return

    def wait(self, timeout_s: float) -> bool:
        return False


@dataclass
class Web:
    """A server that answers with what the test wrote, and keeps what it was asked."""

    port: int = 0
    requests: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/image"


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            lines = []
            while line := self.rfile.readline().strip():
                lines.append(line.decode())
            made.requests.append("\n".join(lines))
            reply = made.replies.pop(0) if len(made.replies) > 1 else made.replies[0]
            reply(made, self.wfile)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        made.done.set()
        server.shutdown()


def says(head: str, body: bytes = b"", *, stall: bool = False) -> Reply:
    def reply(web: Web, wire: Any) -> None:
        wire.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        wire.flush()
        if stall:
            web.done.wait(60)

    return reply


def whole(web: Web, wire: Any) -> None:
    says(f"HTTP/1.1 200 OK\nContent-Length: {len(BYTES)}", BYTES)(web, wire)


def source(url: str, **changes: object) -> ImageSource:
    plain = ImageSource(
        id="6c0c3df2-64b0-4d32-8a4b-5a0de0a3d2f1",
        format="raw",
        sha256=hashlib.sha256(BYTES).hexdigest(),
        size_bytes=len(BYTES),
        virtual_size_bytes=0,
        url=url,
        token="secret",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    times = FetchTimes(timeout_s=30.0, patience_s=0.1)
    return ImageCache(ThreadRuntime(), tmp_path / "cache", FETCHER, limit_gib=1, times=times)


def ensure(cache: ImageCache, wanted: ImageSource) -> bytes:
    return Path(cache.ensure(wanted, NeverCancelled())).read_bytes()


def test_from_the_depot_with_the_token_of_the_order(site: Site, cache: ImageCache) -> None:
    image = site.images.create(CTX, Image(id="", name="disk", format=ImageFormat.RAW))
    site.depot.receive(image.id, 0, BYTES)
    image = site.images.complete(CTX, image.id)
    wanted = image_source(image, site.settings, KEY, site.runtime.clock.now())
    assert ensure(cache, wanted) == BYTES
    site.images.delete(CTX, image.id)
    assert ensure(cache, wanted) == BYTES  # cached


def test_a_deleted_image_and_a_wrong_token_are_refused_at_once(site: Site, cache: ImageCache) -> None:
    image = site.images.create(CTX, Image(id="", name="disk", format=ImageFormat.RAW))
    wanted = image_source(image, site.settings, KEY, site.runtime.clock.now())
    with pytest.raises(errors.ImageFetchFailed, match="404"):
        ensure(cache, wanted)
    with pytest.raises(errors.ImageFetchFailed, match="401"):
        ensure(cache, replace(wanted, token="1.00"))


def test_a_conductor_that_restarts_in_the_middle_costs_nothing(site: Site, tmp_path: Path) -> None:
    image = site.images.create(CTX, Image(id="", name="disk", format=ImageFormat.RAW))
    site.depot.receive(image.id, 0, BYTES)
    image = site.images.complete(CTX, image.id)
    wanted = image_source(image, site.settings, KEY, site.runtime.clock.now())
    site.depot.stop()
    tried = threading.Event()

    class Watched(HttpFetcher):
        def _request(self, *args: Any) -> Any:
            try:
                return super()._request(*args)
            finally:
                tried.set()

    cache = ImageCache(site.runtime, tmp_path / "cache", Watched(), limit_gib=1)
    found: list[bytes] = []
    build = threading.Thread(target=lambda: found.append(ensure(cache, wanted)))
    build.start()
    assert tried.wait(30)
    site.restart()
    build.join(60)
    assert found == [BYTES]


def test_http_with_its_token(web: Web, cache: ImageCache) -> None:
    web.replies.append(whole)
    assert ensure(cache, source(web.url + "?a=b")) == BYTES
    assert web.requests[0].startswith("GET /image?a=b HTTP/1.1")
    assert "Authorization: Bearer secret" in web.requests[0]


def test_chunked_bytes_without_a_length(web: Web, cache: ImageCache) -> None:
    body = f"{len(BYTES):x}\r\n".encode() + BYTES + b"\r\n0\r\n\r\n"
    web.replies.append(says("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", body))
    assert ensure(cache, source(web.url, size_bytes=0)) == BYTES


def test_a_redirect_is_followed_but_the_token_stays_at_home(web: Web, cache: ImageCache) -> None:
    web.replies += [says(f"HTTP/1.1 302 Found\nLocation: http://localhost:{web.port}/there\nContent-Length: 0"), whole]
    assert ensure(cache, source(web.url)) == BYTES
    assert web.requests[1].startswith("GET /there ")
    assert "secret" not in web.requests[1]


def test_a_redirect_within_the_server_keeps_the_token(web: Web, cache: ImageCache) -> None:
    web.replies += [says("HTTP/1.1 307 Moved\nLocation: there\nContent-Length: 0"), whole]
    assert ensure(cache, source(web.url)) == BYTES
    assert "secret" in web.requests[1]


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "http:///x", "//"])
def test_a_redirect_to_anything_but_http_is_refused(web: Web, cache: ImageCache, target: str) -> None:
    web.replies.append(says(f"HTTP/1.1 302 Found\nLocation: {target}\nContent-Length: 0"))
    with pytest.raises(errors.ImageFetchFailed):
        ensure(cache, source(web.url))


def test_a_redirect_loop_ends(web: Web, cache: ImageCache) -> None:
    web.replies.append(says("HTTP/1.1 302 Found\nLocation: /image\nContent-Length: 0"))
    with pytest.raises(errors.ImageFetchFailed, match="redirects"):
        ensure(cache, source(web.url))
    assert len(web.requests) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_plain_no_is_not_asked_again(web: Web, cache: ImageCache, status: int) -> None:
    web.replies.append(says(f"HTTP/1.1 {status} No\nContent-Length: 0"))
    with pytest.raises(errors.ImageFetchFailed, match=str(status)):
        ensure(cache, source(web.url))
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        says("HTTP/1.1 503 Later\nContent-Length: 0"),
        says(f"HTTP/1.1 200 OK\nContent-Length: {len(BYTES)}", BYTES[:5000]),
        says(f"HTTP/1.1 200 OK\nContent-Length: {len(BYTES)}", BYTES[:5000], stall=True),
        says("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"100\r\n" + BYTES[:20]),
        says("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"zzz\r\n"),
        says("SSH-2.0-OpenSSH_9.2"),
        says(""),
    ],
    ids=["busy", "cut", "stalled", "chunk cut", "chunk junk", "no http", "nothing"],
)
def test_trouble_is_tried_again_and_then_named(web: Web, cache: ImageCache, trouble: Reply) -> None:
    web.replies += [trouble, whole]
    assert ensure(cache, source(web.url)) == BYTES
    web.replies[:] = [trouble]
    with pytest.raises(errors.ImageFetchFailed) as caught:
        ensure(cache, source(web.url, id="other"))
    assert caught.value.retryable


def test_a_server_that_lies_about_the_bytes(web: Web, cache: ImageCache, tmp_path: Path) -> None:
    web.replies.append(says(f"HTTP/1.1 200 OK\nContent-Length: {len(BYTES)}", BYTES[:-1] + b"!"))
    with pytest.raises(errors.ImageChecksumMismatch):
        ensure(cache, source(web.url))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_server_without_end_is_left_at_the_expected_size(web: Web, cache: ImageCache) -> None:
    def babble(web: Web, wire: Any) -> None:
        wire.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while not web.done.is_set():
                wire.write(BYTES)
        except OSError:
            web.done.set()

    web.replies.append(babble)
    with pytest.raises(errors.ImageFetchFailed, match="more than"):
        ensure(cache, source(web.url))
    assert web.done.wait(30)  # it saw the connection close


def test_nobody_listens(cache: ImageCache) -> None:
    with pytest.raises(errors.ImageFetchFailed, match="refused"):
        ensure(cache, source("http://127.0.0.1:1/x"))


def test_a_file_of_the_host(tmp_path: Path, cache: ImageCache) -> None:
    path = tmp_path / "with space.raw"
    path.write_bytes(BYTES)
    assert ensure(cache, source(path.as_uri())) == BYTES


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo"])
def test_what_is_no_file(tmp_path: Path, cache: ImageCache, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "directory":
        path.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(errors.ImageFetchFailed):
        ensure(cache, source(path.as_uri()))
