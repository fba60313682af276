"""Values as a small fleet would have them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from drover.objects.audit import Finding
from drover.objects.catalog import Flavor, Image, ImageFormat, ImageStatus, Network, NetworkKind, Port
from drover.objects.host import Host, HostUsage, Inventory, Resources
from drover.objects.instance import Instance, InstanceUsage
from drover.objects.operation import Decision, ErrorInfo, Operation, ServiceLog, StepRecord
from drover.objects.preview import Consequence, Cure, Option, Recovery
from drover.states import Action, OperationState, PowerState, VmState

NOW = datetime(2025, 11, 22, 13, 46, 3, tzinfo=UTC)


def uuid(n: int) -> str:
    return f"5b0e1c1d-0000-4000-8000-{n:012d}"


SMALL = Flavor(id=uuid(1), name="small", vcpus=1, memory_mib=512, disk_gib=5, created_at=NOW)
DEBIAN = Image(
    id=uuid(2),
    name="debian-12",
    status=ImageStatus.ACTIVE,
    format=ImageFormat.QCOW2,
    size_bytes=18_900_000,
    virtual_size_bytes=2 << 30,
    sha256="ab" * 32,
    created_at=NOW,
)
LAN = Network(
    id=uuid(3),
    name="lan",
    kind=NetworkKind.NAT,
    cidr="10.20.0.0/24",
    gateway="10.20.0.1",
    first="10.20.0.10",
    last="10.20.0.250",
    bridge="drv0",
    dns=("10.20.0.1",),
    created_at=NOW,
)


def host(n: int, **changes: Any) -> Host:
    it = Host(
        name=f"host-{n}",
        host_uuid=uuid(100 + n),
        machine_id="f" * 32,
        boot_id=uuid(200 + n),
        session=7,
        address=f"10.77.0.{n}",
        version="0.1.0",
        up=True,
        inventory=Inventory(
            vcpus=8,
            memory_mib=16384,
            disk_gib=200,
            reserved=Resources(memory_mib=512),
            virt_types=("kvm", "qemu"),
            hypervisor="QEMU 7.2.17, libvirt 9.0.0",
        ),
        capacity=Resources(vcpus=32, memory_mib=15872, disk_gib=200),
        used=Resources(vcpus=4 * n, memory_mib=5000 * n, disk_gib=10 * n),
        usage=HostUsage(cpu_percent=12.5 * n, load_1m=0.4, memory_used_mib=2048, memory_total_mib=16384, at=NOW),
        instances=n,
        last_sync_at=NOW,
        registered_at=NOW,
    )
    return replace(it, **changes)


def instance(n: int, **changes: Any) -> Instance:
    it = Instance(
        uuid=uuid(1000 + n),
        name=f"web-{n}",
        project_id="default",
        user_id="admin",
        flavor=SMALL,
        image_id=DEBIAN.id,
        image_name=DEBIAN.name,
        vm_state=VmState.ACTIVE,
        power_state=PowerState.RUNNING,
        host="host-1",
        ports=(
            Port(
                id=uuid(n),
                instance_uuid=uuid(1000 + n),
                network_id=LAN.id,
                network_name="lan",
                mac="52:54:00:00:00:01",
                ip=f"10.20.0.{9 + n}",
            ),
        ),
        usage=InstanceUsage(cpu_time_s=12.4, memory_mib=512, memory_rss_mib=230, disk_allocated_mib=88, at=NOW),
        created_at=NOW,
        launched_at=NOW + timedelta(seconds=2),
    )
    return replace(it, **changes)


def operation(it: Instance, action: Action = Action.BUILD, **changes: Any) -> Operation:
    base = Operation(
        id=it.uuid.replace("5b0e1c1d", "0b5e55ed"),
        instance_uuid=it.uuid,
        instance_name=it.name,
        action=action,
        state=OperationState.QUEUED,
        attempt=1,
        request_id="req-1",
        created_at=NOW,
    )
    return replace(base, **changes)


def refused() -> Operation:
    return operation(
        instance(9, name="db-1"),
        state=OperationState.FAILED,
        attempt=2,
        finished_at=NOW + timedelta(seconds=3.2),
        error=ErrorInfo(code="NoValidHost", message="no valid host for db-1: 4 hosts, none left after memory"),
    )


def succeeded() -> Operation:
    return operation(
        instance(1),
        state=OperationState.SUCCEEDED,
        host="host-2",
        finished_at=NOW + timedelta(seconds=1.84),
    )


DECISIONS = (
    Decision(
        operation_id=uuid(9),
        attempt=1,
        chosen="host-2",
        funnel=(("all", 4), ("up", 3), ("enabled", 2), ("vcpus", 2), ("memory", 2), ("disk", 2)),
        refused=(("host-3", "up", "no sync for 21 s"), ("host-4", "enabled", "disabled: new disk")),
        weights=(
            ("host-2", {"memory": 1.0, "vcpus": 0.82}, 1.82),
            ("host-1", {"memory": 0.31, "vcpus": 1.0}, 1.31),
        ),
        lost=("host-1",),
        at=NOW,
    ),
    Decision(
        operation_id=uuid(9),
        attempt=2,
        funnel=(("all", 4), ("up", 3), ("enabled", 2), ("excluded", 1), ("vcpus", 1), ("memory", 0)),
        refused=(
            ("host-1", "memory", "512 of 15872 MiB free, 4096 wanted"),
            ("host-2", "excluded", "the build failed there before"),
            ("host-3", "up", "no sync for 24 s"),
            ("host-4", "enabled", "disabled: new disk"),
        ),
        at=NOW + timedelta(seconds=3),
    ),
)


def _step(name: str, at_s: float, duration_s: float, outcome: str = "done", detail: str = "") -> StepRecord:
    return StepRecord(name=name, at_s=at_s, duration_s=duration_s, outcome=outcome, detail=detail)


LOGS = (
    ServiceLog(service="conductor@c1", attempt=1, started_at=NOW, steps=(_step("accept", 0.002, 0.012),)),
    ServiceLog(
        service="scheduler@s1",
        attempt=1,
        started_at=NOW + timedelta(seconds=0.020),
        steps=(_step("filter", 0.001, 0.002, detail="4 hosts, 2 left"), _step("claim", 0.003, 0.008)),
    ),
    ServiceLog(
        service="agent@host-2",
        attempt=1,
        started_at=NOW + timedelta(seconds=0.041),
        steps=(
            _step("claim", 0.0, 0.0005),
            _step("image", 0.001, 0.812, detail="debian-12, 18.0 MiB fetched"),
            _step("disk", 0.814, 0.041),
            _step("network", 0.856, 0.094),
            _step("config", 0.951, 0.013),
            _step("define", 0.965, 0.030),
            _step("permit", 0.996, 0.140),
            _step("start", 1.137, 0.640),
        ),
    ),
)

CONSEQUENCES = (
    Consequence(subject="build of web-7", effect="goes to another host"),
    Consequence(subject="instance web-1", effect="error, HostFenced; its disk stays on the host"),
)

RECOVERY = Recovery(
    instance=instance(1),
    diagnosis=("It is in error: HostFenced: host 'host-3' was fenced", "Its host host-3 is silent."),
    options=(
        Option(cure=Cure.RESET, refused="host host-3 is silent: nobody knows how it is"),
        Option(cure=Cure.DELETE, consequences=(Consequence(subject="instance web-1", effect="is deleted for good"),)),
        Option(cure=Cure.RETRY, refused="host-3 holds it"),
    ),
)

FINDINGS = (
    Finding(
        code="CapacityDrift",
        subject="host host-1",
        what="it counts 5 vcpus, 2560 MiB, 5 GiB as used; its placements add up to 4, 2048, 4",
        why="the scheduler refuses or overfills the host by the difference",
        cure="healed by counting anew",
        healable=True,
    ),
    Finding(
        code="HostDown",
        subject="host host-3",
        what="silent since 2025-11-22T13:40:00Z, with 3 instances",
        why="its agent does not sync: the machine, its network, or drover-agent is down",
        cure="bring it back; if the machine is off for good: drover host fence host-3 --attest REASON",
    ),
)
