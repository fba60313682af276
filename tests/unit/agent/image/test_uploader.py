"""The sender of a disk's copy against a depot that answers by a script."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.image.uploader import Uploader
from drover import errors
from drover.objects.guest import UploadTarget
from tests.unit.agent.image.test_cache import FastRuntime

TOKEN = "not-for-logs"


class Depot:
    """Answers each request with the next of *answers*: a status and, for 204, an offset."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, int]] = []
        self.asked: list[str] = []
        depot = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                assert self.headers["Authorization"] == f"Bearer {TOKEN}"
                path, _, query = self.path.partition("?")
                depot.asked.append(f"{self.command} {path.removeprefix('/base/v1/images/i')}{query.partition('&')[0]}")
                status, offset = depot.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.send_header("Upload-Offset", str(offset))
                self.end_headers()

            do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *args: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=lambda: self.server.serve_forever(0.01), daemon=True).start()

    @property
    def target(self) -> UploadTarget:
        url = f"http://127.0.0.1:{self.server.server_address[1]}/base"
        return UploadTarget(image_id="i", url=url, token=TOKEN, chunk_bytes=4)


class Token:
    def cancelled(self) -> bool:
        return False

    def check(self) -> None: ...

    def wait(self, timeout_s: float) -> bool:
        return False


@pytest.fixture
def depot() -> Iterator[Depot]:
    made = Depot()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "copy"
    path.write_bytes(b"0123456789")
    return path


def test_a_check_is_waited_for(depot: Depot, copy: Path) -> None:
    depot.answers = [(204, 0), (204, 4), (204, 8), (204, 10), (202, 0), (503, 0), (202, 0), (200, 0)]
    Uploader(FastRuntime()).upload(copy, depot.target, Token())
    assert depot.asked == [
        "DELETE ",
        "PUT offset=0",
        "PUT offset=4",
        "PUT offset=8",
        *["POST /completesize_bytes=10"] * 4,
    ]


def test_trouble_costs_one_chunk(depot: Depot, copy: Path) -> None:
    depot.answers = [(500, 0), (204, 0), (204, 4), (502, 0), (503, 0), (204, 8), (204, 10), (200, 0)]
    Uploader(FastRuntime()).upload(copy, depot.target, Token())
    assert depot.asked[2:6] == ["PUT offset=0", "PUT offset=4", "PUT offset=4", "PUT offset=4"]


def test_what_the_depot_has_checked_is_not_sent(depot: Depot, copy: Path) -> None:
    depot.answers = [(204, 77), (200, 0)]
    Uploader(FastRuntime()).upload(copy, depot.target, Token())


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422])
@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_no_is_not_asked_again(depot: Depot, copy: Path, status: int, at: int) -> None:
    answers = [(204, 0), (204, 4), (204, 8), (204, 10), (200, 0)]
    depot.answers = [*answers[:at], (status, 0)]
    with pytest.raises(errors.ImageUploadFailed, match=str(status)) as raised:
        Uploader(FastRuntime()).upload(copy, depot.target, Token())
    assert TOKEN not in str(raised.value)


def test_a_depot_that_has_more_than_there_is(depot: Depot, copy: Path) -> None:
    depot.answers = [(204, 0), (204, 11)]
    with pytest.raises(errors.ImageUploadFailed, match="has 11 bytes, the copy only 10"):
        Uploader(FastRuntime()).upload(copy, depot.target, Token())
