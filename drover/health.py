"""``GET /healthz`` of a service: its parts, looked at one by one beside each other, and answered from memory.

200 when every part is well, 503 when one is not, with the same JSON document: which, since when, and why. The answer
never waits for a part: one that hangs is told by the age of its last look.
"""

from __future__ import annotations

import socketserver
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from drover import __version__, errors, log
from drover.conf.health import HealthSettings
from drover.objects import codec
from drover.rpc.bus import Address, Bus, Message
from drover.runtime import Runtime, Task
from drover.runtime.process import Service

__all__ = ["Health", "HealthReport", "Part", "Probe", "Told", "reaches_broker"]

LOG = log.get(__name__)

#: looks at a part; raises what is wrong with it
Probe = Callable[[], object]

#: intervals without an answer after which a part is unhealthy
_OVERDUE = 3.0
_WORKERS = 2
#: seconds for one request: a client that trickles must not hold a worker
_REQUEST_S = 2.0
_STOP_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part as it was seen last."""

    ok: bool
    since: datetime  # as it is now
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """The document. ``facts`` are numbers that are neither well nor unwell."""

    version: int = 1
    service: str
    name: str
    release: str = __version__
    healthy: bool
    parts: dict[str, Part]
    facts: dict[str, float] = field(default_factory=dict)


codec.prepare(HealthReport)


class _Watched:
    """A part between two looks."""

    __slots__ = ("answered_s", "part")

    def __init__(self, part: Part, answered_s: float) -> None:
        self.part = part
        self.answered_s = answered_s  # monotonic


class Health:
    """A :class:`drover.runtime.process.Service` beside the one that it tells of.

    :param service: ``conductor``, ``scheduler`` or ``agent``; with *name* only told.
    :param probes: by the name of their part. Each runs in a task of its own.
    :param facts: asked with each request; must not wait.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: HealthSettings,
        service: str,
        name: str,
        probes: Mapping[str, Probe],
        facts: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._service = service
        self._name = name
        self._probes = probes
        self._facts = facts
        self._stop = runtime.event()
        self._gate = runtime.lock()  # protects _seen
        self._seen: dict[str, _Watched] = {}
        self._server: _Server | None = None
        self._tasks: list[Task] = []

    @property
    def port(self) -> int:
        """Where it listens; 0 before :meth:`start`, or when it is switched off."""
        return int(self._server.server_address[1]) if self._server else 0

    def start(self) -> None:
        """Listen, and look at the parts until :meth:`stop`.

        :raises errors.InvalidConfig: it cannot listen there.
        """
        settings = self._settings
        if not settings.listen:
            return
        port = int(getattr(settings, f"{self._service}_port"))
        try:
            self._server = _Server((settings.listen, port), partial(_Handler, self.report), self._runtime)
        except OSError as exc:
            raise errors.InvalidConfig(reason=f"[health] {settings.listen}:{port}, {exc}") from None
        now, now_s = self._runtime.clock.now(), self._runtime.clock.monotonic()
        for name, probe in self._probes.items():
            self._seen[name] = _Watched(Part(ok=False, since=now, detail="not looked at yet"), now_s)
            self._tasks.append(self._runtime.spawn(f"health-{name}", partial(self._watch, name, probe)))
        self._tasks.append(self._runtime.spawn("health", self._server.serve_forever))
        LOG.info("health listens", address=settings.listen, port=self.port)

    def stop(self) -> None:
        """Answer no more; a look that hangs is left behind."""
        self._stop.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for task in self._tasks:
            task.join(_STOP_S / len(self._tasks))

    def report(self) -> HealthReport:
        """Everything as it was seen last."""
        now, now_s = self._runtime.clock.now(), self._runtime.clock.monotonic()
        overdue_s = self._settings.interval_s * _OVERDUE
        parts: dict[str, Part] = {}
        with self._gate:
            for name, seen in sorted(self._seen.items()):
                age_s = now_s - seen.answered_s
                parts[name] = seen.part if age_s <= overdue_s else _overdue(seen.part, now, age_s)
        return HealthReport(
            service=self._service,
            name=self._name,
            healthy=all(part.ok for part in parts.values()),
            parts=parts,
            facts=dict(self._facts()),
        )

    def _watch(self, name: str, probe: Probe) -> None:
        while not self._stop.is_set():
            self._look(name, probe)
            self._stop.wait(self._settings.interval_s)

    def _look(self, name: str, probe: Probe) -> None:
        detail = ""
        try:
            probe()
        except Exception as exc:  # noqa: BLE001  whatever it is, the part is not well
            detail = " ".join(str(exc).split()) or type(exc).__name__
        now = self._runtime.clock.now()
        with self._gate:
            before = self._seen[name].part
            since = before.since if before.ok == (not detail) else now
            self._seen[name] = _Watched(
                Part(ok=not detail, since=since, detail=detail), self._runtime.clock.monotonic()
            )
        if before.ok and detail:
            LOG.warning("unhealthy", part=name, error=detail)


def _overdue(before: Part, now: datetime, age_s: float) -> Part:
    """A part that was well until its last answer, or not even then."""
    since = before.since if not before.ok else now - timedelta(seconds=age_s)
    return Part(ok=False, since=since, detail=f"no answer for {age_s:.1f} s")


class Told:
    """A :class:`drover.runtime.process.Service` with its health: told from before its start until after its stop."""

    def __init__(self, service: Service, health: Health) -> None:
        self._service = service
        self._health = health

    def start(self) -> None:
        self._health.start()
        self._service.start()

    def stop(self) -> None:
        self._service.stop()
        self._health.stop()


def reaches_broker(bus: Bus) -> Probe:
    """Sends a message that nobody reads: what the broker takes, it has taken."""
    return lambda: bus.cast(Address("nobody"), Message(method="health"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "drover"
    sys_version = ""
    timeout = _REQUEST_S

    def __init__(self, report: Callable[[], HealthReport], *args: Any) -> None:
        self._report = report
        super().__init__(*args)  # handles the whole connection

    def do_GET(self) -> None:
        self.close_connection = True
        if self.path != "/healthz":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        report = self._report()
        body = codec.to_json(report).encode()
        self.send_response(HTTPStatus.OK if report.healthy else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
        LOG.debug("health asked", client=self.client_address[0], request=format % args)


class _Server(socketserver.TCPServer):
    """Gives each connection to a small pool; what finds no worker is closed, and asks again."""

    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: Callable[..., _Handler], runtime: Runtime) -> None:
        self._pool = runtime.pool("health", _WORKERS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._pool.room():
            self._pool.submit(lambda: self._serve(request, client_address))
        else:
            self.shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        self._pool.close(_REQUEST_S)

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError as exc:
            LOG.debug("health connection lost", error=exc)
        finally:
            self.shutdown_request(request)
