"""What an operator does: prepares the fleet, adopts a host, settles a restored database."""

from __future__ import annotations

from dataclasses import replace

from drover import errors, retry
from drover.db import catalog, restored, server_group
from drover.db import image as images
from drover.objects.catalog import Flavor, Image, ImageStatus, Network, NetworkKind
from drover.objects.group import GroupPolicy, ServerGroup
from drover.rpc import conductor
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from tests.simulation.kernel import EPOCH
from tests.simulation.weather import USERS
from tests.simulation.world import World

__all__ = ["CTX", "GROUPS", "adopt", "prepare", "settle_restored"]

CTX = RequestContext(request_id="req-simulation")
#: policy, and most members on one host
GROUPS = {
    "together": (GroupPolicy.AFFINITY, 1),
    "apart": (GroupPolicy.ANTI_AFFINITY, 1),
    "pairs": (GroupPolicy.ANTI_AFFINITY, 2),
}


def prepare(world: World) -> None:
    """Flavors, server groups, an image and a network."""
    with world.store.database.write() as conn:
        small = Flavor(id="f", name="small", vcpus=1, memory_mib=512, disk_gib=1, created_at=EPOCH)
        catalog.put_flavor(conn, small)
        dedicated = {"hw:cpu_policy": "dedicated"}
        catalog.put_flavor(conn, replace(small, id="p", name="pinned", memory_mib=128, extra_specs=dedicated))
        for name, (policy, most) in GROUPS.items():
            group = ServerGroup(id=name, name=name, policy=policy, max_per_host=most, created_at=EPOCH)
            server_group.add(conn, group)
        image = Image(
            id="00000000-0000-0000-0000-0000000000aa",
            name="img",
            status=ImageStatus.ACTIVE,
            url="http://127.0.0.1/i",
            created_at=EPOCH,
        )
        images.add(conn, image, EPOCH)
        network = Network(
            id="n",
            name="net",
            kind=NetworkKind.NAT,
            cidr="10.1.0.0/24",
            gateway="10.1.0.1",
            bridge="drvn",
            first="10.1.0.2",
            last="10.1.0.254",
            mac_index=1,
            created_at=EPOCH,
        )
        catalog.put_network(conn, network)


def adopt(world: World, host: str) -> None:
    """``drover host adopt``, until a conductor answers."""
    api = client(conductor.CONTRACT, world.bus.attach(USERS, world.outside))

    def ask() -> None:
        try:
            api.host_adopt(CTX, host)
        except errors.HostNotFound:
            return  # it never registered: there is nobody's place to take

    retry.while_unavailable(world.outside, ask, patience_s=5000.0)


def settle_restored(world: World) -> None:
    """``drover db restored``."""
    restored.settle(world.store.database, world.outside.clock.now())
