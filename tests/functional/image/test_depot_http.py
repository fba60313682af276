"""The depot's HTTP as any client may speak it."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from conductor.depot import Depot
from drover import errors
from drover.depot import OFFSET_HEADER, TokenPurpose, make_token
from drover.objects.catalog import Image, ImageFormat, ImageStatus
from tests.functional.image.conftest import CHUNK, CTX, KEY, Site

BYTES = b"\xfa\xf4" + bytes(range(256)) * 1000


@pytest.fixture
def image(site: Site) -> Image:
    return site.images.create(CTX, Image(id="", name="disk", format=ImageFormat.RAW))


@pytest.fixture
def client(site: Site) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", site.depot.port, timeout=30)) as connection:
        yield connection


def bearer(site: Site, image: Image, purpose: TokenPurpose, seconds: float = 60) -> dict[str, str]:
    expires = site.runtime.clock.now() + timedelta(seconds=seconds)
    return {"Authorization": f"Bearer {make_token(KEY, purpose, image.id, expires)}"}


def ask(
    client: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, http.client.HTTPMessage, bytes]:
    client.request(method, path, body if method == "PUT" else None, headers)
    reply = client.getresponse()
    return reply.status, reply.headers, reply.read()


def filled(site: Site, image: Image) -> None:
    site.depot.receive(image.id, 0, BYTES)
    site.images.complete(CTX, image.id)


def test_chunks_over_one_connection(site: Site, image: Image, client: http.client.HTTPConnection) -> None:
    leave = bearer(site, image, TokenPurpose.WRITE)
    path = f"/v1/images/{image.id}"
    assert ask(client, "HEAD", path, leave)[1][OFFSET_HEADER] == "0"
    status, headers, _ = ask(client, "PUT", f"{path}?offset=0", leave, BYTES[:CHUNK])
    assert (status, headers[OFFSET_HEADER]) == (204, str(CHUNK))
    assert ask(client, "HEAD", path, leave)[1][OFFSET_HEADER] == str(CHUNK)
    assert client.sock is not None  # kept alive


@pytest.mark.parametrize("offset", [0, CHUNK - 1, CHUNK + 1])
def test_a_chunk_elsewhere_is_a_conflict_that_says_where(
    site: Site, image: Image, client: http.client.HTTPConnection, offset: int
) -> None:
    site.depot.receive(image.id, 0, BYTES[:CHUNK])
    leave = bearer(site, image, TokenPurpose.WRITE)
    status, _, body = ask(client, "PUT", f"/v1/images/{image.id}?offset={offset}", leave, b"x" * 100)
    assert status == 409
    assert json.loads(body)["params"]["size_bytes"] == CHUNK
    assert site.depot.store.size(image.id) == CHUNK


@pytest.mark.parametrize("method", ["HEAD", "PUT", "GET"])
def test_no_leave_no_bytes(site: Site, image: Image, client: http.client.HTTPConnection, method: str) -> None:
    filled(site, image)
    other = Image(id=site.runtime.uuid(), name="other")
    right, wrong = TokenPurpose.WRITE, TokenPurpose.READ
    if method == "GET":
        right, wrong = wrong, right
    for headers in (
        {},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer"},
        bearer(site, image, wrong),
        bearer(site, other, right),
        bearer(site, image, right, seconds=-1),
    ):
        status, said, body = ask(client, method, f"/v1/images/{image.id}?offset=0", headers, b"x" * CHUNK)
        assert status == 401
        assert json.loads(body or said["X-Drover-Error"])["code"] == "TokenRefused"


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/images/", "/v1/images/../../etc/passwd", "/v1/images/%2e%2e%2fetc", "/v1/images/{id}/x", "//{id}"],
)
def test_no_other_path_exists(site: Site, image: Image, client: http.client.HTTPConnection, path: str) -> None:
    filled(site, image)
    assert ask(client, "GET", path.format(id=image.id), bearer(site, image, TokenPurpose.READ))[0] == 404


@pytest.mark.parametrize("query", ["", "?offset=", "?offset=-1", "?offset=x", "?offset=\u0661", "?offset=" + "9" * 40])
def test_an_offset_that_is_none(site: Site, image: Image, client: http.client.HTTPConnection, query: str) -> None:
    leave = bearer(site, image, TokenPurpose.WRITE)
    path = f"/v1/images/{image.id}{query}".encode().decode("latin-1")
    with closing(socket.create_connection(("127.0.0.1", site.depot.port), timeout=30)) as raw:
        raw.sendall(f"PUT {path} HTTP/1.1\r\nContent-Length: 1\r\n".encode("latin-1"))
        raw.sendall(f"Authorization: {leave['Authorization']}\r\n\r\nx".encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_chunk_over_the_bound_is_refused_unread(site: Site, image: Image) -> None:
    leave = bearer(site, image, TokenPurpose.WRITE)["Authorization"]
    with closing(socket.create_connection(("127.0.0.1", site.depot.port), timeout=30)) as raw:
        head = (
            f"PUT /v1/images/{image.id}?offset=0 HTTP/1.1\r\nContent-Length: {10**12}\r\nAuthorization: {leave}\r\n\r\n"
        )
        raw.sendall(head.encode())
        answer = raw.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"MessageTooLarge" in answer


def test_a_body_that_is_cut_leaves_nothing(site: Site, image: Image) -> None:
    leave = bearer(site, image, TokenPurpose.WRITE)["Authorization"]
    with closing(socket.create_connection(("127.0.0.1", site.depot.port), timeout=30)) as raw:
        head = f"PUT /v1/images/{image.id}?offset=0 HTTP/1.1\r\nContent-Length: 1000\r\nAuthorization: {leave}\r\n\r\n"
        raw.sendall(head.encode() + b"half")
        raw.shutdown(socket.SHUT_WR)
        assert raw.makefile("rb").read() == b""  # the depot hung up
    assert site.depot.store.size(image.id) == 0


def test_download_whole_and_in_part(site: Site, image: Image, client: http.client.HTTPConnection) -> None:
    filled(site, image)
    leave = bearer(site, image, TokenPurpose.READ)
    path = f"/v1/images/{image.id}"
    assert ask(client, "GET", path, leave)[::2] == (200, BYTES)
    status, headers, body = ask(client, "GET", path, {**leave, "Range": "bytes=100-199"})
    assert (status, body, headers["Content-Range"]) == (206, BYTES[100:200], f"bytes 100-199/{len(BYTES)}")
    assert ask(client, "GET", path, {**leave, "Range": f"bytes={len(BYTES)}-"})[0] == 400


def test_bytes_that_were_not_checked_are_not_given(
    site: Site, image: Image, client: http.client.HTTPConnection
) -> None:
    site.depot.receive(image.id, 0, BYTES)
    status, _, body = ask(client, "GET", f"/v1/images/{image.id}", bearer(site, image, TokenPurpose.READ))
    assert (status, json.loads(body)["code"]) == (404, "ImageNotFound")


def test_after_the_check_no_byte_is_added(site: Site, image: Image, client: http.client.HTTPConnection) -> None:
    filled(site, image)
    leave = bearer(site, image, TokenPurpose.WRITE)
    status, _, body = ask(client, "PUT", f"/v1/images/{image.id}?offset=0", leave, b"evil")
    assert (status, json.loads(body)["params"]["size_bytes"]) == (409, len(BYTES))
    assert ask(client, "PUT", f"/v1/images/{image.id}?offset={len(BYTES)}", leave, b"evil")[0] == 422
    assert site.depot.store.path(image.id).read_bytes() == BYTES
    assert site.files() == [image.id]


def test_a_writer_and_the_check_never_meet(site: Site, image: Image, client: http.client.HTTPConnection) -> None:
    site.depot.receive(image.id, 0, BYTES)
    leave = bearer(site, image, TokenPurpose.WRITE)
    part = Path(site.settings.directory) / f"{image.id}.part"
    with site.depot.store._locked(part, 0):
        status, _, body = ask(client, "PUT", f"/v1/images/{image.id}?offset={len(BYTES)}", leave, b"x")
        assert (status, json.loads(body)["retryable"]) == (503, True)
        with pytest.raises(errors.Unavailable):
            site.images.complete(CTX, image.id)


def test_a_full_disk_answers_507_and_keeps_what_was_whole(
    site: Site, image: Image, client: http.client.HTTPConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.depot.receive(image.id, 0, BYTES[:100])
    full = Path("/dev/full")  # the kernel's own full disk; a real one needs root
    monkeypatch.setattr("os.pwrite", _full_after(10, full))
    leave = bearer(site, image, TokenPurpose.WRITE)
    status, _, body = ask(client, "PUT", f"/v1/images/{image.id}?offset=100", leave, BYTES[100:1000])
    assert (status, json.loads(body)["code"]) == (507, "DiskFull")
    assert site.depot.store.size(image.id) == 100


def test_more_connections_than_workers_all_get_their_answer(site: Site, image: Image) -> None:
    leave = bearer(site, image, TokenPurpose.WRITE)
    path = f"/v1/images/{image.id}"
    clients = [http.client.HTTPConnection("127.0.0.1", site.depot.port, timeout=60) for _ in range(12)]
    for client in clients:
        client.request("HEAD", path, headers={**leave, "Connection": "close"})
    for client in clients:
        assert client.getresponse().status == 204
        client.close()


def test_junk_does_not_hurt(site: Site, image: Image, client: http.client.HTTPConnection) -> None:
    for junk in (b"\0\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"PUT / HTTP/9.9\r\n\r\n", b"A" * 70000 + b"\r\n"):
        with closing(socket.create_connection(("127.0.0.1", site.depot.port), timeout=30)) as raw:
            raw.sendall(junk)
            raw.shutdown(socket.SHUT_WR)
            raw.makefile("rb").read()
    assert ask(client, "HEAD", f"/v1/images/{image.id}", bearer(site, image, TokenPurpose.WRITE))[0] == 204


def test_two_depots_cannot_have_one_port(site: Site) -> None:
    second = Depot(site.runtime, site.database, site.settings, KEY)
    with pytest.raises(errors.InvalidConfig, match=str(site.depot.port)):
        second.start()
    second.stop()  # harmless


def _full_after(first: int, device: Path) -> object:
    real = os.pwrite

    def pwrite(file: int, data: memoryview, offset: int) -> int:
        if offset == 100:
            return real(file, data[:first], offset)
        with device.open("wb", buffering=0) as full:
            return full.write(data) or 0

    return pwrite


def test_a_host_completes_what_it_sent_and_may_say_so_again(
    site: Site, image: Image, client: http.client.HTTPConnection
) -> None:
    leave = bearer(site, image, TokenPurpose.WRITE)
    path = f"/v1/images/{image.id}"
    ask(client, "PUT", f"{path}?offset=0", leave, BYTES[:CHUNK])
    ask(client, "PUT", f"{path}?offset={CHUNK}", leave, BYTES[CHUNK : 2 * CHUNK])
    for _ in range(2):
        status, _, body = ask(client, "POST", f"{path}/complete", leave)
        assert (status, json.loads(body)) == (200, {"status": "active"})
    found = site.images.show(CTX, image.id)
    assert (found.status, found.size_bytes) == (ImageStatus.ACTIVE, 2 * CHUNK)
    assert client.sock is not None  # kept alive


def test_a_refused_image_says_why_each_time(site: Site, client: http.client.HTTPConnection) -> None:
    image = site.images.create(CTX, Image(id="", name="lying", format=ImageFormat.QCOW2))
    leave = bearer(site, image, TokenPurpose.WRITE)
    ask(client, "PUT", f"/v1/images/{image.id}?offset=0", leave, BYTES[:CHUNK])
    for _ in range(2):
        status, _, body = ask(client, "POST", f"/v1/images/{image.id}/complete", leave)
        answer = json.loads(body)
        assert status == 422
        assert answer["code"] == "InvalidImage"
        assert answer["message"]
    assert site.images.show(CTX, image.id).status is ImageStatus.ERROR


def test_completing_needs_the_leave_to_write_and_an_image(
    site: Site, image: Image, client: http.client.HTTPConnection
) -> None:
    path = f"/v1/images/{image.id}"
    assert ask(client, "POST", f"{path}/complete", bearer(site, image, TokenPurpose.READ))[0] == 401
    leave = bearer(site, image, TokenPurpose.WRITE)
    assert ask(client, "POST", path, leave)[0] == 404
    assert ask(client, "PUT", f"{path}/complete?offset=0", leave, b"x")[0] == 404
    assert ask(client, "POST", f"{path}/complete", leave)[0] == 422, "no bytes came"
    site.images.delete(CTX, image.id)
    assert ask(client, "POST", f"{path}/complete", leave)[0] == 404


def test_a_slow_check_is_asked_for_again(site: Site, image: Image, client: http.client.HTTPConnection) -> None:
    """A writer that holds the file's lock keeps the check away, as one of another conductor would."""
    leave = bearer(site, image, TokenPurpose.WRITE)
    path = f"/v1/images/{image.id}"
    ask(client, "PUT", f"{path}?offset=0", leave, BYTES[:CHUNK])
    with (Path(site.settings.directory) / f"{image.id}.part").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status, _, body = ask(client, "POST", f"{path}/complete", leave)
        assert (status, json.loads(body)["retryable"]) == (503, True)
    assert ask(client, "POST", f"{path}/complete", leave)[0] == 200
