"""The depot from outside: its tokens, its door by HTTP, and the client that uploads an image.

A token is ``{expiry}.{HMAC-SHA256}`` over purpose, image and expiry, made with the deployment's key. Any
conductor makes and checks it without asking anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from drover import errors, retry
from drover.rpc.conductor import DepotInfo
from drover.runtime import Runtime

__all__ = [
    "OFFSET_HEADER",
    "DepotDoor",
    "TokenPurpose",
    "check_token",
    "make_token",
    "refusal",
    "sha256_of",
    "upload",
]

#: how many bytes of an image the depot has; the name is that of the tus protocol
OFFSET_HEADER = "Upload-Offset"

_READ_BYTES = 1024 * 1024
#: seconds without a byte from the depot before a request is given up and tried anew
_STALL_S = 30.0
#: most bytes of an answer that are read
_REPLY_BYTES = 65536


class TokenPurpose(StrEnum):
    READ = "read"
    WRITE = "write"


def make_token(key: str, purpose: TokenPurpose, image_id: str, expires: datetime) -> str:
    """Leave to read or write one image until *expires* (whole seconds)."""
    expiry = int(expires.timestamp())
    return f"{expiry}.{_sign(key, purpose, image_id, expiry)}"


def check_token(key: str, token: str, purpose: TokenPurpose, image_id: str, now: datetime) -> None:
    """:raises errors.TokenRefused: *token* gives no such leave at *now*."""
    text, _, signature = token.partition(".")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise errors.TokenRefused(reason="malformed")
    expiry = int(text)
    if not hmac.compare_digest(signature.encode(), _sign(key, purpose, image_id, expiry).encode()):
        raise errors.TokenRefused(reason=f"not made to {purpose.value} image {image_id}")
    if now.timestamp() >= expiry:
        raise errors.TokenRefused(reason="expired")


def _sign(key: str, purpose: TokenPurpose, image_id: str, expiry: int) -> str:
    return hmac.new(key.encode(), f"{purpose.value}\n{image_id}\n{expiry}".encode(), hashlib.sha256).hexdigest()


def sha256_of(path: Path, progress: Callable[[int], None]) -> str:
    """Lower-case hex digest of a file; *progress* gets the count of bytes read so far."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as source:
        while block := source.read(_READ_BYTES):
            digest.update(block)
            done += len(block)
            progress(done)
    return digest.hexdigest()


def upload(
    runtime: Runtime,
    path: Path,
    image_id: str,
    info: Callable[[], DepotInfo],
    progress: Callable[[int], None],
    patience_s: float = 120.0,
) -> None:
    """Send the bytes of a queued image in chunks, from wherever an earlier attempt ended.

    :param info: asked for address and token, again when the token expires (``image_upload``).
    :param progress: gets the count of bytes that the depot has.
    :param patience_s: how long to try again while the depot does not answer, counted anew for each chunk.
    :raises errors.Unavailable: no answer within *patience_s*.
    :raises errors.DiskFull: the depot's disk is full. InvalidImage: it has more bytes than the file, or takes
        no more. ImageNotFound: deleted meanwhile.
    """
    total = path.stat().st_size
    with path.open("rb") as source, closing(_Sender(source, image_id, info)) as sender:
        sent = retry.while_unavailable(runtime, sender.ask, patience_s=patience_s)
        progress(sent)
        while sent < total:
            sent = retry.while_unavailable(runtime, partial(sender.send, sent), patience_s=patience_s)
            progress(sent)
    if sent > total:
        raise errors.InvalidImage(image=image_id, reason=f"the depot has {sent} bytes, the file only {total}")


class _Sender:
    """Sends chunks from a file, with a new token when the old one expires."""

    def __init__(self, source: BinaryIO, image_id: str, info: Callable[[], DepotInfo]) -> None:
        self._source = source
        self._image_id = image_id
        self._ask_info = info
        self._info = info()
        self._door = self._connect()

    def ask(self) -> int:
        """How many bytes the depot has."""
        return self._leave_renewed(lambda: self._door.offset("HEAD"))

    def send(self, at: int) -> int:
        """Send the chunk that begins at *at*; how many bytes the depot has then."""
        self._source.seek(at)
        chunk = self._source.read(self._info.chunk_bytes)
        try:
            return self._leave_renewed(lambda: self._door.offset("PUT", f"?offset={at}", chunk))
        except errors.OffsetMismatch as exc:
            # An earlier try arrived though its answer was lost, or the depot lost unsynced bytes in a crash.
            return int(exc.kwargs["size_bytes"])

    def close(self) -> None:
        self._door.close()

    def _connect(self) -> DepotDoor:
        return DepotDoor(self._info.url, self._image_id, self._info.token)

    def _leave_renewed(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except errors.TokenRefused:
            self._info = self._ask_info()
            self._door.close()
            self._door = self._connect()
            return work()


class DepotDoor:
    """One image in the depot, by HTTP. One connection, opened anew after each failure.

    :param url: of the depot, as :class:`drover.rpc.conductor.DepotInfo` has it.
    """

    def __init__(self, url: str, image_id: str, token: str) -> None:
        self._url = url
        self._image_id = image_id
        self._token = token
        self._connection: http.client.HTTPConnection | None = None

    def offset(self, method: str, query: str = "", body: bytes = b"") -> int:
        """A request whose answer is how many bytes the depot has.

        :raises errors.Unavailable: no answer. The depot's own errors: TokenRefused, OffsetMismatch and others.
        """
        reply, text = self.ask(method, query, body)
        if reply.status == HTTPStatus.NO_CONTENT and OFFSET_HEADER in reply.headers:
            return int(reply.headers[OFFSET_HEADER])
        raise refusal(reply, text)

    def ask(self, method: str, rest: str, body: bytes = b"") -> tuple[http.client.HTTPResponse, bytes]:
        """Any request on the image; *rest* follows its path. The answer, with its body.

        :raises errors.Unavailable: no answer.
        """
        try:
            return self._exchange(method, rest, body)
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            raise errors.Unavailable(what="depot", detail=f"{self._url}: {exc!r}") from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, method: str, rest: str, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        base = urlsplit(self._url)
        headers = {"Authorization": f"Bearer {self._token}"}
        if self._connection is None:
            kind = http.client.HTTPSConnection if base.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(base.netloc, timeout=_STALL_S)
        self._connection.request(method, f"{base.path}/v1/images/{self._image_id}{rest}", body, headers)
        reply = self._connection.getresponse()
        with closing(reply):
            text = reply.read(_REPLY_BYTES)
            if reply.will_close or not reply.isclosed():
                # The depot hangs up, or a stranger says more than we read: go on with a new connection.
                self.close()
        return reply, text


def refusal(reply: http.client.HTTPResponse, text: bytes) -> errors.DroverError:
    """The depot's typed error, or what a stranger in its place (a proxy) means."""
    try:
        # A HEAD has no body: the error travels in a header.
        data: Any = json.loads(text or reply.headers.get("X-Drover-Error", ""))
    except ValueError:
        data = None
    if isinstance(data, dict) and "code" in data:
        return errors.from_dict(data)
    detail = f"HTTP {reply.status} {reply.reason}"
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return errors.Unavailable(what="depot", detail=detail)
    return errors.BadRequest(method="depot", reason=detail)
