"""A real conductor over the in-process bus and SQLite, with agents played by the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from conductor.service import Conductor, ConductorOptions
from drover import errors, retry
from drover.conf.conductor import ConductorSettings
from drover.conf.database import DatabaseSettings
from drover.conf.times import TimeSettings
from drover.db import claim
from drover.db.engine import Database
from drover.db.schema import metadata
from drover.objects.catalog import Flavor, Image, Network, NetworkKind
from drover.objects.guest import Diagnostics
from drover.objects.host import HostIdentity, Inventory, RegisterReply, Registration, Resources
from drover.objects.instance import CreateReply, CreateRequest
from drover.objects.sync import Begun, Held, Order, Outcome, Result, SyncReply, SyncRequest
from drover.rpc import agent, conductor, scheduler
from drover.rpc.bus import Address
from drover.rpc.context import RequestContext
from drover.rpc.contract import Endpoint, client
from drover.rpc.embedded import EmbeddedBus
from drover.rpc.event import EventHub
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState

__all__ = ["CTX", "Fleet", "PlayedAgent"]

CTX = RequestContext(request_id="req-test", user_id="tester")
WANT = {"build": 4, "lifecycle": 4, "delete": 4, "snapshot": 4}


class _Scheduler:
    """Notes nudges; the test claims by itself."""

    def __init__(self) -> None:
        self.nudged: list[str] = []

    def schedule(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        self.nudged.extend(operation_ids)

    def ping(self, ctx: RequestContext) -> str:
        return "played"


@dataclass(slots=True)
class PlayedAgent:
    """Speaks as a host would, one sync at a time."""

    fleet: Fleet
    name: str
    session: int = 0
    seal: str = ""
    seq: int = 0
    cast: list[Order] = field(default_factory=list)
    nudges: int = 0

    def register(self, **identity: str) -> RegisterReply:
        who = HostIdentity(
            host=self.name,
            host_uuid=identity.get("host_uuid", f"uuid-{self.name}"),
            machine_id="m",
            boot_id=identity.get("boot_id", "b"),
        )
        inventory = Inventory(
            vcpus=4, memory_mib=8192, disk_gib=100, vcpus_ratio=1.0, virt_types=("qemu",), architecture="x86_64"
        )
        registration = Registration(identity=who, inventory=inventory)
        # Another boot of the host waits until the one before was silent for a lease.
        reply = retry.while_unavailable(
            self.fleet.runtime, lambda: self.fleet.api.register(CTX, registration), patience_s=30.0
        )
        self.session, self.seal, self.seq = reply.session, reply.seal, 0
        return reply

    def sync(self, **items: object) -> SyncReply:
        self.seq += 1
        values: dict[str, object] = {"seal": self.seal, "want": WANT, **items}
        request = SyncRequest(host=self.name, session=self.session, seq=self.seq, **values)  # type: ignore[arg-type]
        return self.fleet.api.sync(CTX, request)

    def begin(self, order: Order) -> bool:
        """Begin it and ask leave to start; whether it was granted."""
        begun = Begun(operation_id=order.operation_id, attempt=order.attempt, permit=True)
        reply = self.sync(begun=(begun,), held=(Held(operation_id=order.operation_id, attempt=order.attempt),))
        return reply.permits[0].granted

    def end(self, order: Order, outcome: Outcome = Outcome.SUCCEEDED, **changes: object) -> SyncReply:
        values: dict[str, object] = {"power_state": PowerState.RUNNING, **changes}
        result = Result(
            operation_id=order.operation_id,
            attempt=order.attempt,
            instance_uuid=order.instance_uuid,
            epoch=order.epoch,
            outcome=outcome,
            **values,  # type: ignore[arg-type]
        )
        return self.sync(results=(result,))

    # the agent's contract

    def execute(self, ctx: RequestContext, orders: tuple[Order, ...]) -> None:
        self.cast.extend(orders)
        self.nudges += not orders

    def console_log(self, ctx: RequestContext, instance_uuid: str, max_bytes: int = 65536) -> agent.ConsoleLog:
        return agent.ConsoleLog(text="")

    def diagnostics(self, ctx: RequestContext, instance_uuid: str) -> Diagnostics:
        raise errors.GuestNotFound(instance=instance_uuid)

    def ping(self, ctx: RequestContext) -> str:
        return self.name


class Fleet:
    """The conductor under test and what surrounds it."""

    def __init__(
        self,
        database: Database,
        runtime: ThreadRuntime,
        times: TimeSettings,
        settings: ConductorSettings = ConductorSettings(),  # noqa: B008  a frozen value
    ) -> None:
        self.runtime = runtime
        self.database = database
        self.times = times
        self.bus = EmbeddedBus(runtime)
        self.api = client(conductor.CONTRACT, self.bus)
        self.waiting = client(conductor.WAIT_CONTRACT, self.bus)
        self.scheduler = _Scheduler()
        self.serve_scheduler()
        options = ConductorOptions(conductor=settings, times=times, serve_depot=False)
        self.conductor = Conductor(runtime, self.bus, database, options, "c1")
        self.conductor.events = self.events = EventHub(runtime, "c1")
        self.conductor.start()

    def serve_scheduler(self) -> None:
        self.bus.serve(Address("scheduler", "s1"), Endpoint(scheduler.CONTRACT, cast("Any", self.scheduler)), 1)

    def agent(self, name: str = "h1") -> PlayedAgent:
        played = PlayedAgent(self, name)
        self.bus.serve(Address("agent", name), Endpoint(agent.CONTRACT, played), 1)
        played.register()
        return played

    def prepare(self) -> None:
        """A flavor ``small``, an image ``img`` and a network ``net`` with five addresses."""
        self.api.flavor_create(CTX, Flavor(id="", name="small", vcpus=1, memory_mib=512, disk_gib=1))
        self.api.image_create(CTX, Image(id="", name="img", url="http://127.0.0.1:1/img.qcow2"))
        self.api.network_create(
            CTX, Network(id="", name="net", kind=NetworkKind.NAT, cidr="10.9.0.0/29", gateway="10.9.0.1")
        )

    def create(self, name: str = "vm", **changes: object) -> CreateReply:
        values: dict[str, object] = {"flavor": "small", "image": "img", "networks": ("net",), **changes}
        return self.api.instance_create(CTX, CreateRequest(name=name, **values))  # type: ignore[arg-type]

    def place(self, reply: CreateReply, host: str = "h1", attempt: int = 1, *, tell: bool = True) -> None:
        """What a scheduler does."""
        ask = Resources(vcpus=1, memory_mib=512, disk_gib=1)
        claims = [
            claim.Claim(operation_id=op, attempt=attempt, instance_uuid=uuid, candidates=(host,), ask=ask)
            for op, uuid in zip(reply.operation_ids, reply.instance_uuids, strict=True)
        ]
        with self.database.write() as conn:
            claim.claim(conn, claims, self.runtime.clock.now())
        if tell:
            self.api.dispatched(CTX, reply.operation_ids)

    def close(self) -> None:
        self.conductor.stop()
        self.bus.close()


@pytest.fixture
def times() -> TimeSettings:
    return TimeSettings(join_window_s=0.0)


@pytest.fixture
def settings() -> ConductorSettings:
    return ConductorSettings()


@pytest.fixture
def fleet(times: TimeSettings, settings: ConductorSettings) -> Iterator[Fleet]:
    runtime = ThreadRuntime()
    database = Database("sqlite://", DatabaseSettings(), runtime)
    with database.write() as conn:
        metadata.create_all(conn)
    made = Fleet(database, runtime, times, settings)
    made.prepare()
    yield made
    made.close()
    database.close()
