"""Values that the tests of this package are about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from drover.burnin.audit import View
from drover.burnin.guest import Guest
from drover.objects.catalog import Flavor, Port
from drover.objects.host import Host, Inventory, Resources
from drover.objects.instance import Instance
from drover.objects.operation import ErrorInfo, Operation
from drover.states import Action, OperationState, PowerState, VmState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FLAVOR = Flavor(id="f1", name="small", vcpus=1, memory_mib=128, disk_gib=1)
OURS, OTHERS = "burnin-1", "default"


def instance(uuid: str, **given: Any) -> Instance:
    """Of the run, active on h1."""
    values: dict[str, Any] = {
        "name": f"n{uuid}",
        "project_id": OURS,
        "user_id": "burnin",
        "flavor": FLAVOR,
        "image_id": "i1",
        "vm_state": VmState.ACTIVE,
        "power_state": PowerState.RUNNING,
        "host": "h1",
        "created_at": NOW,
    }
    return Instance(uuid=uuid, **{**values, **given})


def port(instance_uuid: str, ip: str, mac: str) -> Port:
    return Port(id=f"p-{ip}-{mac}", instance_uuid=instance_uuid, network_id="w", network_name="net", mac=mac, ip=ip)


def guest(uuid: str, host: str = "h1", **given: Any) -> Guest:
    """Running, of epoch 1."""
    values: dict[str, Any] = {"name": f"drover-{uuid}", "power_state": PowerState.RUNNING, "epoch": 1, "process": 7}
    return Guest(host=host, uuid=uuid, **{**values, **given})


def host(name: str = "h1", *, used: Resources, up: bool = True, foreign: tuple[str, ...] = ()) -> Host:
    inventory = Inventory(vcpus=4, memory_mib=4096, disk_gib=10, vcpus_ratio=1.0)
    return Host(
        name=name,
        host_uuid="u",
        machine_id="m",
        boot_id="b",
        session=1,
        up=up,
        inventory=inventory,
        capacity=inventory.capacity(),
        used=used,
        foreign_domains=foreign,
    )


def view(*instances: Instance, guests: tuple[Guest, ...] | None = (), **given: Any) -> View:
    """One host that has counted what its instances have."""
    here = [it for it in instances if it.host == "h1"]
    used = Resources(vcpus=len(here), memory_mib=128 * len(here), disk_gib=len(here))
    values: dict[str, Any] = {"hosts": (host(used=used),), "everyone": instances, "project": OURS, "guests": guests}
    return View(at=NOW, **{**values, **given})


def operation(action: Action, state: OperationState, code: str = "", **given: Any) -> Operation:
    values: dict[str, Any] = {
        "id": "op1",
        "instance_uuid": "a",
        "attempt": 1,
        "created_at": NOW,
        "finished_at": NOW,
        "error": ErrorInfo(code=code, message=code) if code else None,
    }
    return Operation(action=action, state=state, **{**values, **given})
