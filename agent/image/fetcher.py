"""Where image bytes come from: http, https and file URLs.

Proxies of the environment are not used: agents and the depot share a management network.
"""

from __future__ import annotations

import http.client
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from http import HTTPStatus
from typing import BinaryIO, Protocol
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from drover import errors
from drover.objects.guest import ImageSource

__all__ = ["Fetcher", "HttpFetcher", "Stream"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_MOST_REDIRECTS = 5


class Stream(Protocol):
    """Bytes as they come."""

    @property
    def length(self) -> int | None:
        """How many there are, by the sender's word; ``None``: it does not say."""

    def read(self, most: int) -> bytes:
        """Some bytes, at most *most*; none at the end, and where the sender was cut.

        :raises errors.Unavailable: the connection broke, or stalled for too long.
        """


class Fetcher(Protocol):
    """The agent's port to image bytes."""

    def open(self, source: ImageSource) -> AbstractContextManager[Stream]:
        """Begin to read.

        :raises errors.Unavailable: no answer, or none now: try again.
        :raises errors.ImageFetchFailed: nothing there, or no leave.
        """


class HttpFetcher:
    """:class:`Fetcher` for http, https and file URLs.

    :param connect_s: seconds until a connection must stand.
    :param stall_s: seconds without a byte after which a read gives up.
    """

    def __init__(self, *, connect_s: float = 10.0, stall_s: float = 20.0) -> None:
        self._connect_s = connect_s
        self._stall_s = stall_s

    @contextmanager
    def open(self, source: ImageSource) -> Iterator[Stream]:
        """See :meth:`Fetcher.open`."""
        url = urlsplit(source.url)
        if url.scheme == "file":
            with _open_file(source, url) as file:
                yield _FileStream(file)
        else:
            connection, reply = self._get(source)
            # Both: a reply without a length takes the socket over from its connection.
            with closing(connection), closing(reply):
                yield _HttpStream(reply)

    def _get(self, source: ImageSource) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Follow redirects, among http and https only; the token goes to the first host alone."""
        url, token = source.url, source.token
        for _ in range(_MOST_REDIRECTS + 1):
            connection, reply = self._request(source, urlsplit(url), token)
            if reply.status == HTTPStatus.OK:
                return connection, reply
            reply.close()
            connection.close()
            target = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or not target:
                raise _refusal(source, url, reply)
            target = urljoin(url, target)
            if urlsplit(target).netloc != urlsplit(url).netloc:
                token = ""
            url = target
        raise errors.ImageFetchFailed(
            image=source.id, detail=f"{_shown(source.url)}: more than {_MOST_REDIRECTS} redirects"
        )

    def _request(
        self, source: ImageSource, url: SplitResult, token: str
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        if url.scheme not in ("http", "https") or not url.hostname:
            raise errors.ImageFetchFailed(image=source.id, detail=f"{_shown(url.geturl())}: neither http nor https")
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection: http.client.HTTPConnection | None = None
        try:
            connection = kind(url.netloc, timeout=self._connect_s)
            connection.connect()
            connection.sock.settimeout(self._stall_s)
            connection.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""), headers=headers)
            return connection, connection.getresponse()
        except (OSError, ValueError, http.client.HTTPException) as exc:
            if connection is not None:
                connection.close()
            raise errors.Unavailable(what=_shown(url.geturl()), detail=repr(exc)) from None


def _refusal(source: ImageSource, url: str, reply: http.client.HTTPResponse) -> errors.DroverError:
    detail = f"HTTP {reply.status} {reply.reason}"
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR or reply.status in _TRY_LATER:
        return errors.Unavailable(what=_shown(url), detail=detail)
    return errors.ImageFetchFailed(image=source.id, detail=f"{_shown(url)}: {detail}")


def _shown(url: str) -> str:
    """Without what follows ``?``: there stands the signature of a signed URL, which is as good as a password."""
    return url.partition("?")[0]


class _HttpStream:
    def __init__(self, reply: http.client.HTTPResponse) -> None:
        self._reply = reply
        self.length = reply.length

    def read(self, most: int) -> bytes:
        try:
            return self._reply.read1(most)
        except (OSError, ValueError, http.client.HTTPException) as exc:  # ValueError: a chunk length that is none
            raise errors.Unavailable(what="image source", detail=repr(exc)) from None


class _FileStream:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.length: int | None = os.fstat(file.fileno()).st_size

    def read(self, most: int) -> bytes:
        return self._file.read(most)


def _open_file(source: ImageSource, url: SplitResult) -> BinaryIO:
    try:
        # O_NONBLOCK: a FIFO in its place must not hold the build for ever.
        handle = os.open(unquote(url.path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as exc:
        raise errors.ImageFetchFailed(image=source.id, detail=f"{source.url}: {exc}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise errors.ImageFetchFailed(image=source.id, detail=f"{source.url}: no regular file")
    return os.fdopen(handle, "rb")
