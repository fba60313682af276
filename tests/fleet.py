"""A lab for tests that break it: a client that does not give up, and a look at its database by plain SQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psycopg
import psycopg.sql

from drover import retry
from drover.conf import load
from drover.conf.bus import BusSettings
from drover.conf.database import DatabaseSettings
from drover.lab.lab import Lab
from drover.lab.spec import Driver, LabSpec
from drover.objects.instance import CreateReply, CreateRequest
from drover.objects.operation import Operation
from drover.rpc.bus import Bus
from drover.rpc.conductor import CONTRACT, WAIT_CONTRACT, ConductorAPI, WaitAPI
from drover.rpc.connect import connect
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, RestartPolicy
from tests import guest
from tests.needs import require

__all__ = ["FLAVOR", "IMAGE", "NETWORK", "PATIENCE_S", "QUICK", "Fleet", "fleet", "logs_kept"]

T = TypeVar("T")

FLAVOR, IMAGE, NETWORK = "tiny", "boot-sector", "lab"
#: seconds that anything may take on a loaded machine before a test says that it is stuck
PATIENCE_S = 150.0
_LOOK_S = 0.01
#: where the logs of a lab lie that failed its test, in the checkout
_KEPT = Path(__file__).parents[1] / "build/labs"
#: everything that Drover only does after a while it does soon
QUICK: Mapping[str, Mapping[str, str]] = {
    "times": {
        "sync_interval_s": "1",
        "owner_lease_s": "2",
        "reap_interval_s": "0.5",
        "rpc_timeout_s": "4",
        "usage_interval_s": "2",
        "delete_budget_s": "10",
    },
}
#: builds of fake guests take long enough to be killed in the middle
_FAKE = {"fake": {"latency_min_s": "0.02", "latency_max_s": "0.1"}}


class Looks:
    """Looks at a database through one connection, made anew when the server was."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._kept: psycopg.Connection[tuple[Any, ...]] | None = None

    def rows(self, query: LiteralString | psycopg.sql.Composed, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if self._kept is not None:
            try:
                return self._kept.execute(query, values).fetchall()
            except psycopg.OperationalError:
                self.close()
        self._kept = psycopg.connect(self._url, connect_timeout=5, autocommit=True)
        return self._kept.execute(query, values).fetchall()

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A running lab, a client's way into it, and the tests' own way around it."""

    lab: Lab
    runtime: ThreadRuntime
    bus: Bus
    database_url: str
    looks: Looks
    timeout_s: float = 10.0  # of its calls

    @property
    def api(self) -> ConductorAPI:
        return client(CONTRACT, self.bus, timeout_s=self.timeout_s)

    @property
    def waiting(self) -> WaitAPI:
        return client(WAIT_CONTRACT, self.bus, timeout_s=10.0)

    def context(self) -> RequestContext:
        return RequestContext(request_id=f"req-{self.runtime.uuid()}")

    # a client that does not give up

    def patiently(self, work: Callable[[], T]) -> T:
        """Repeat *work* while a part of the lab is away; it must be a read, or carry an idempotency key."""
        return retry.while_unavailable(self.runtime, work, patience_s=PATIENCE_S)

    def create(
        self,
        count: int,
        *,
        name: str = "",
        key: str = "",
        image: str = IMAGE,
        restart: RestartPolicy = RestartPolicy.NEVER,
    ) -> CreateReply:
        """*count* instances by one request."""
        request = CreateRequest(
            name=name or f"g{self.runtime.uuid()[:8]}",
            flavor=FLAVOR,
            image=image,
            networks=(NETWORK,),
            count=count,
            restart=restart,
            idempotency_key=key or self.runtime.uuid(),
        )
        return self.patiently(lambda: self.api.instance_create(self.context(), request))

    def act(self, instance: str, action: Action, **params: str) -> Operation:
        key = self.runtime.uuid()
        return self.patiently(lambda: self.api.instance_action(self.context(), instance, action, params, key))

    def delete(self, instances: Sequence[str]) -> tuple[Operation, ...]:
        """Delete all and wait for the ends."""
        return self.wait([self.act(uuid, Action.DELETE).id for uuid in instances])

    def wait(self, operations: Sequence[str]) -> tuple[Operation, ...]:
        """Long polls until all have ended."""
        deadline = self.runtime.clock.monotonic() + PATIENCE_S
        while True:
            reply = self.patiently(lambda: self.waiting.operation_wait(self.context(), tuple(operations)))
            if reply.done:
                return reply.operations
            left = [op for op in reply.operations if op.finished_at is None]
            assert self.runtime.clock.monotonic() < deadline, f"stuck: {left}"

    def drover(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """The command line, as a user of this lab."""
        command, environment = self._command(arguments)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s)

    def drover_lines(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, told line by line while it runs; leaving the block as a context manager waits for its end."""
        command, environment = self._command(arguments)
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def _command(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        command = [str(Path(sys.executable).with_name("drover")), *arguments]
        return command, {**os.environ, "DROVER_CONFIG": str(self.lab.config_file), "NO_COLOR": "1", "COLUMNS": "200"}

    # around it

    def rows(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """What PostgreSQL says, by a connection of its own.

        :raises psycopg.OperationalError: it is down.
        """
        return self.looks.rows(query, values)

    def count(self, table: str) -> int:
        """Rows of one table."""
        [(rows,)] = self.looks.rows(
            psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(table)), ()
        )
        return int(rows)

    def until(self, look: Callable[[], T], what: str) -> T:
        """Look until the answer is true; the answer."""
        deadline = self.runtime.clock.monotonic() + PATIENCE_S
        while not (found := look()):
            assert self.runtime.clock.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
            self.runtime.sleep(_LOOK_S)
        return found

    def until_row(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Wait until *query* gives a row; looks many times a second by one connection."""
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            return self.until(lambda: conn.execute(query, values).fetchall(), f"{query} {values}")


@contextmanager
def fleet(
    driver: Driver,
    *,
    settings: Mapping[str, Mapping[str, str]] = QUICK,
    hosts: int = 3,
    conductors: int = 1,
    schedulers: int = 1,
) -> Iterator[Fleet]:
    """A lab with a flavor, an image and a network; gone without a trace after the block."""
    require("rabbitmq", "postgresql")
    if driver is Driver.LIBVIRT:
        require("root", "netns", "libvirt", "qemu", "qemu-img", "dnsmasq", "nftables")
    directory = Path(tempfile.mkdtemp(prefix="drv-"))  # short: UNIX sockets lie in it
    directory.chmod(0o755)  # RabbitMQ and PostgreSQL run as users of their own
    runtime = ThreadRuntime()
    lab = Lab(directory, runtime)
    chosen = {**(_FAKE if driver is Driver.FAKE else {}), **settings}
    spec = LabSpec(hosts=hosts, driver=driver, conductors=conductors, schedulers=schedulers, settings=chosen)
    try:
        with logs_kept(directory, _KEPT / directory.name):
            lab.up(spec)
            with _used(lab, runtime, float(settings.get("times", {}).get("rpc_timeout_s", "10"))) as made:
                yield made
    finally:
        lab.down()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _used(lab: Lab, runtime: ThreadRuntime, timeout_s: float) -> Iterator[Fleet]:
    bus = connect(runtime, load([str(lab.config_file)]).get(BusSettings), "test")
    database = load([str(lab.layout.config("conductor"))]).get(DatabaseSettings)
    url = database.connection.replace("postgresql+psycopg", "postgresql")
    looks = Looks(url)
    try:
        made = Fleet(lab=lab, runtime=runtime, bus=bus, database_url=url, looks=looks, timeout_s=timeout_s)
        _stock(made)
        yield made
    finally:
        looks.close()
        bus.close()


@contextmanager
def logs_kept(directory: Path, kept: Path) -> Iterator[None]:
    """When the block fails, copy every ``*.log`` below *directory* to *kept*: a lab goes, and its logs explain the failure."""
    try:
        yield
    except BaseException as exc:
        for log in directory.rglob("*.log"):
            copy = kept / log.relative_to(directory)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # what runs still may take it away
                shutil.copyfile(log, copy)
        exc.add_note(f"the logs of its lab: {kept}")
        raise


def _stock(made: Fleet) -> None:
    """The catalog, by the command line."""
    image = guest.write_image(made.lab.layout.directory / "guest.raw")
    for command in (
        ("flavor", "create", FLAVOR, "--vcpus", "1", "--memory", "32"),
        ("image", "create", IMAGE, "--file", str(image)),
        ("network", "create", NETWORK, "--kind", "bridge", "--bridge", "br0", "--cidr", "10.88.0.0/24"),
    ):
        done = made.drover(*command)
        assert done.returncode == 0, done.stderr
