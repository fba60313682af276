"""One connection to the depot: HTTP in and out, nothing else."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedReader
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from drover import errors, log
from drover.depot import OFFSET_HEADER, TokenPurpose
from drover.objects.catalog import ImageStatus

if TYPE_CHECKING:
    from conductor.depot import Depot

__all__ = ["DepotHandler", "byte_range", "status_of"]

LOG = log.get(__name__)

_PATH = re.compile(r"/v1/images/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(/complete)?")
_NUMBER = re.compile(r"[0-9]{1,15}")
_SHA256 = re.compile(r"(?:[0-9a-f]{64})?")
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")
_READ_BYTES = 256 * 1024
#: seconds that a connection may rest between requests; also the longest that :meth:`Depot.stop` waits for it
_IDLE_S = 3.0
#: seconds without a byte within a request
_STALL_S = 20.0
#: seconds for all bytes of one chunk: a trickle must not hold a worker
_CHUNK_S = 120.0

_STATUS: tuple[tuple[type[errors.DroverError], HTTPStatus], ...] = (
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.TokenRefused, HTTPStatus.UNAUTHORIZED),
    (errors.DiskFull, HTTPStatus.INSUFFICIENT_STORAGE),
    (errors.Conflict, HTTPStatus.CONFLICT),
    (errors.InvalidImage, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.MessageTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (errors.BadInput, HTTPStatus.BAD_REQUEST),
    (errors.Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)


def status_of(error: errors.DroverError) -> HTTPStatus:
    """The HTTP status for a refusal."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and count of a ``Range`` of the form ``bytes=N-`` or ``bytes=N-M``; ``None`` for the whole.

    Forms that Drover's agents never send are ignored, as RFC 9110 (14.2) allows.

    :raises errors.BadRequest: it begins behind the end.
    """
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    if first >= size:
        raise errors.BadRequest(method="GET", reason=f"range begins at {first} of {size} bytes")
    return (first, last - first + 1) if first <= last else None


class DepotHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "drover-depot"
    sys_version = ""
    timeout = _IDLE_S
    rfile: BufferedReader

    def __init__(self, depot: Depot, *args: Any) -> None:
        self._depot = depot
        self._unread = 0  # bytes of the request's body
        super().__init__(*args)  # handles the whole connection

    def do_HEAD(self) -> None:
        self._answer(self._offset)

    def do_PUT(self) -> None:
        self._answer(self._receive)

    def do_DELETE(self) -> None:
        self._answer(self._restart)

    def do_POST(self) -> None:
        self._answer(self._complete)

    def do_GET(self) -> None:
        self._answer(self._give)

    def _answer(self, work: Callable[[], None]) -> None:
        self.connection.settimeout(_STALL_S)
        length = self.headers.get("Content-Length", "")
        self._unread = int(length) if _NUMBER.fullmatch(length) else 0
        try:
            try:
                work()
            except errors.DroverError as exc:
                self._refuse(exc)
        except (ConnectionError, TimeoutError) as exc:
            LOG.debug("depot connection lost", client=self.client_address[0], error=exc)
            self.close_connection = True
        except OSError as exc:
            LOG.warning("depot storage failed", path=self.path, error=exc)
            self._refuse(errors.Unavailable(what="depot storage", detail=exc.strerror))
        self.connection.settimeout(_IDLE_S)

    def _offset(self) -> None:
        image_id = self._authorized(TokenPurpose.WRITE)
        self._say_offset(self._depot.store.size(image_id))

    def _restart(self) -> None:
        """For a host that lost its copy of a guest's disk in the middle, and sends another one."""
        self._say_offset(self._depot.store.restart(self._authorized(TokenPurpose.WRITE)))

    def _receive(self) -> None:
        image_id = self._authorized(TokenPurpose.WRITE)
        offset = parse_qs(urlsplit(self.path).query).get("offset", [""])[0]
        if not _NUMBER.fullmatch(offset):
            raise errors.BadRequest(method="PUT", reason="offset is no number")
        self._say_offset(self._depot.receive(image_id, int(offset), self._body()))

    def _complete(self) -> None:
        image_id = self._authorized(TokenPurpose.WRITE)
        if self._unread:
            self._body()  # means nothing, but left unread it would be the next request
        query = parse_qs(urlsplit(self.path).query)
        size_bytes, sha256 = query.get("size_bytes", ["0"])[0], query.get("sha256", [""])[0]
        if not (_NUMBER.fullmatch(size_bytes) and _SHA256.fullmatch(sha256)):
            raise errors.BadRequest(method="POST", reason="size_bytes or sha256 is none")
        status = self._depot.complete(image_id, int(size_bytes), sha256)
        body = json.dumps({"status": status.value}).encode()
        self.send_response(HTTPStatus.OK if status is ImageStatus.ACTIVE else HTTPStatus.ACCEPTED)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _give(self) -> None:
        image_id = self._authorized(TokenPurpose.READ)
        try:
            file = self._depot.store.path(image_id).open("rb")
        except FileNotFoundError:
            raise errors.ImageNotFound(ref=image_id) from None
        with file:
            size = file.seek(0, 2)
            part = byte_range(self.headers.get("Range", ""), size)
            first, count = part or (0, size)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
            if part:
                self.send_header("Content-Range", f"bytes {first}-{first + count - 1}/{size}")
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(count))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Connection", "close")  # an agent takes one image: its worker must not rest
            self.end_headers()
            self._send_file(file, first, count)

    def _send_file(self, file: BinaryIO, first: int, count: int) -> None:
        try:
            self.wfile.flush()
            file.seek(first)  # over TLS an offset of 0 means where the file stands
            self.connection.sendfile(file, first, count)
        except OSError as exc:
            # The header is out: only a cut tells the reader. It counts the bytes and comes back.
            LOG.warning("image download cut", client=self.client_address[0], path=self.path, error=exc)
        self.close_connection = True

    def _authorized(self, purpose: TokenPurpose) -> str:
        match = _PATH.fullmatch(urlsplit(self.path).path)
        if match is None or (match[2] is not None) is not (self.command == "POST"):
            raise errors.NotFound(what="page", ref=self.path[:200])
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise errors.TokenRefused(reason="no bearer token")
        self._depot.check_token(token, purpose, match[1])
        return match[1]

    def _body(self) -> bytes:
        """The chunk, whole: what came is written at once or not at all."""
        if "Content-Length" not in self.headers:
            raise errors.BadRequest(method=self.command, reason="no Content-Length")
        if self._unread > self._depot.settings.chunk_bytes:
            raise errors.MessageTooLarge(size_bytes=self._unread, limit_bytes=self._depot.settings.chunk_bytes)
        return b"".join(self._blocks())

    def _blocks(self) -> Iterator[bytes]:
        clock = self._depot.runtime.clock
        deadline = clock.monotonic() + _CHUNK_S
        while self._unread:
            block = self.rfile.read1(min(_READ_BYTES, self._unread))
            if not block or clock.monotonic() > deadline:
                raise TimeoutError("request body")
            self._unread -= len(block)
            yield block

    def _say_offset(self, offset: int) -> None:
        self.send_response(HTTPStatus.NO_CONTENT)
        self.send_header(OFFSET_HEADER, str(offset))
        self.end_headers()

    def _refuse(self, error: errors.DroverError) -> None:
        if self._unread <= self._depot.settings.chunk_bytes:
            # A close with bytes unread resets the connection, and the client would never see why.
            deque(self._blocks(), maxlen=0)
        status = status_of(error)
        text = json.dumps(error.to_dict())
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if self.command == "HEAD":
            self.send_header("X-Drover-Error", text)
        self.send_header("Content-Length", str(len(body)))
        if self._unread:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        LOG.debug("depot request", client=self.client_address[0], line=format % args)
