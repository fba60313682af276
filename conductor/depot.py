"""The image depot: an HTTP server that takes image bytes from users and gives them to agents.

    HEAD /v1/images/{id}            write token   204, Upload-Offset: bytes that are here
    PUT  /v1/images/{id}?offset=N   write token   204, Upload-Offset; 409 when N is not where the bytes end
    DELETE /v1/images/{id}          write token   204, Upload-Offset: bytes that were not checked are forgotten
    POST /v1/images/{id}/complete   write token   200: active; 202: being checked, ask again; 422: refused.
                                                  With ?size_bytes=N&sha256=HEX the bytes are compared to that
    GET  /v1/images/{id}            read token    200 or 206 (one Range)

A refusal is a :class:`drover.errors.DroverError` as JSON, for HEAD in the header ``X-Drover-Error``. With a
certificate the depot speaks TLS alone.
"""

from __future__ import annotations

import socketserver
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from conductor.completion import Completion, forget_deleted
from conductor.depot_request import DepotHandler
from conductor.depot_store import DepotStore
from drover import errors, log
from drover.conf.depot import DepotSettings
from drover.db import image as image_rows
from drover.db.engine import Database
from drover.depot import TokenPurpose, check_token
from drover.objects.catalog import ImageStatus
from drover.runtime import Runtime, Task
from drover.units import GIB

__all__ = ["Depot"]

LOG = log.get(__name__)

#: connections that may wait for a worker; further ones are closed at once, and clients come back
_WAITING = 256
#: seconds without a byte of a TLS handshake
_HANDSHAKE_S = 10.0
#: seconds between two sweeps
_SWEEP_EVERY_S = 600.0
#: seconds that :meth:`Depot.stop` gives to requests that run
_DRAIN_S = 10.0


class Depot:
    """One server over the depot directory. Everything it knows is in the files and the database."""

    def __init__(self, runtime: Runtime, database: Database, settings: DepotSettings, depot_key: str) -> None:
        self.settings = settings
        self.runtime = runtime
        self.store = DepotStore(Path(settings.directory))
        self._database = database
        self._completion = Completion(database, runtime, settings)
        self._key = depot_key
        self._server: _Server | None = None
        self._task: Task | None = None
        self._stopping = runtime.event()
        self._sweeper: Task | None = None

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before :meth:`start`."""
        return int(self._server.server_address[1]) if self._server else 0

    def start(self) -> None:
        """Remove what a crash left behind, now and every ten minutes, listen, and serve until :meth:`stop`.

        :raises errors.InvalidConfig: it cannot listen there, the directory cannot be made, or the certificate is none.
        """
        address = (self.settings.listen_address, self.settings.listen_port)
        tls = _tls_context(self.settings)
        try:
            self.store.prepare()
            self._server = _Server(address, partial(DepotHandler, self), self.runtime, self.settings.workers)
            self._server.tls = tls
        except OSError as exc:
            raise errors.InvalidConfig(reason=f"[depot] {address[0]}:{address[1]}, {exc}") from None
        self._sweep()
        self._sweeper = self.runtime.spawn("depot-sweep", self._sweeps)
        self._task = self.runtime.spawn("depot", self._server.serve_forever)
        LOG.info("depot listens", address=address[0], port=self.port, directory=self.settings.directory)

    def stop(self) -> None:
        """Take no more connections and let the requests that run end, for ten seconds at most."""
        self._stopping.set()
        if self._server is not None and self._task is not None:
            self._server.shutdown()
            self._task.join()
            self._server.drain(_DRAIN_S)
            self._server.server_close()
            self._server = None
        if self._sweeper is not None:
            self._sweeper.join(_DRAIN_S)

    def _sweeps(self) -> None:
        """A task of its own: storage that hangs holds up nothing else."""
        while not self._stopping.wait(_SWEEP_EVERY_S):
            self._sweep()

    def _sweep(self) -> None:
        try:
            self.sweep()
        except (errors.Unavailable, OSError) as exc:
            LOG.warning("depot not swept, the next time will do", error=exc)

    def sweep(self) -> None:
        """Remove bytes of deleted and refused images: one was cut between its row and its files.

        What no record knows stays: the database may be an old copy, and the file an instance's only disk.
        """
        found = self.store.image_ids()
        with self._database.read() as conn:
            deleted = image_rows.deleted(conn, found)
            statuses = image_rows.statuses(conn, found)
        for image_id in sorted(deleted):
            self.store.remove(image_id)
        for image_id in sorted(statuses):
            if statuses[image_id] is ImageStatus.ERROR:
                self.store.remove_bytes(image_id)

    # what the handler asks

    def check_token(self, token: str, purpose: TokenPurpose, image_id: str) -> None:
        """:raises errors.TokenRefused: no leave."""
        check_token(self._key, token, purpose, image_id, self.runtime.clock.now())

    def receive(self, image_id: str, offset: int, chunk: bytes) -> int:
        """Add a chunk to a queued image; how many bytes are here then.

        :raises errors.ImageNotFound: no such image. InvalidImage: it takes no bytes, or they are too many.
            OffsetMismatch, DiskFull, Unavailable: see :meth:`DepotStore.append`.
        """
        with self._database.read() as conn:
            image = image_rows.find(conn, image_id)
        if image is None:
            raise errors.ImageNotFound(ref=image_id)
        if image.status is ImageStatus.ERROR or image.url:
            raise errors.InvalidImage(image=image_id, reason="it takes no bytes")
        limit = image.size_bytes or self.settings.max_image_gib * GIB
        if offset + len(chunk) > limit:
            raise errors.InvalidImage(image=image_id, reason=f"more than {limit} bytes")
        try:
            return self.store.append(image_id, offset, chunk)
        finally:
            if forget_deleted(self._database, self.store, image_id):
                raise errors.ImageNotFound(ref=image_id)

    def complete(self, image_id: str, size_bytes: int, sha256: str) -> ImageStatus:
        """All bytes were sent, so many with this hash (0, "": not said): ``active``, or ``queued`` while the check goes on.

        :raises drover.errors.InvalidImage: ImageNotFound, Unavailable: see :meth:`Completion.complete`.
        """
        return self._completion.complete(image_id, size_bytes=size_bytes, sha256=sha256).status


class _Server(socketserver.TCPServer):
    """TCPServer that gives each connection to a bounded pool. (HTTPServer would ask the DNS for our name.)"""

    allow_reuse_address = True
    request_queue_size = 128
    tls: ssl.SSLContext | None = None

    def __init__(
        self, address: tuple[str, int], handler: Callable[..., DepotHandler], runtime: Runtime, workers: int
    ) -> None:
        super().__init__(address, handler)
        self._pool = runtime.pool("depot", workers)
        self._gate = runtime.lock()  # protects _open
        self._most = workers + _WAITING
        self._open = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._gate:
            admitted = self._open < self._most
            self._open += admitted
        if admitted:
            self._pool.submit(lambda: self._serve(request, client_address))
        else:
            LOG.warning("depot is full, connection closed", client=client_address[0])
            self.shutdown_request(request)

    def drain(self, timeout_s: float) -> None:
        self._pool.close(timeout_s)

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            if self.tls is not None:
                request.settimeout(_HANDSHAKE_S)
                request = self.tls.wrap_socket(request, server_side=True)
            self.finish_request(request, client_address)
        except OSError as exc:
            LOG.debug("depot connection lost", client=client_address[0], error=exc)
        finally:
            self.shutdown_request(request)
            with self._gate:
                self._open -= 1


def _tls_context(settings: DepotSettings) -> ssl.SSLContext | None:
    """:raises errors.InvalidConfig: certificate or key cannot be read, or do not belong together."""
    if not settings.tls_cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file or None)
    except OSError as exc:
        raise errors.InvalidConfig(reason=f"[depot] tls_cert_file {settings.tls_cert_file}: {exc}") from None
    return context
