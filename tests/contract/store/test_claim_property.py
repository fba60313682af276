"""Whatever is claimed and given back, in whatever order: nothing is given twice, and no rule is broken."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select, update

from drover.conf.database import DatabaseSettings
from drover.db import claim
from drover.db.claim import Claim, ClaimState
from drover.db.engine import Database
from drover.db.host_table import change_stamp
from drover.db.schema import allocation, host_capacity, metadata
from drover.hardware import fit
from drover.objects import codec
from drover.objects.group import GroupPolicy, ServerGroup
from drover.objects.hardware import Cell, CellAsk, DeviceAsk, Hardware, HardwareAsk, HardwareClaim, PciDevice
from drover.objects.host import Resources
from drover.runtime.threads import ThreadRuntime
from tests.contract.store.claim_rows import ASK, NOW, add_builds, add_group, add_host, sums, used

HOSTS = ("a", "b", "c")
PLACES = 5
_GPU = ("10de", "1db6")
OFFER = Hardware(
    cells=tuple(
        Cell(id=n, cpus=(2 * n, 2 * n + 1), cores=((2 * n, 2 * n + 1),), memory_mib=1024, pages={2048: 256})
        for n in range(2)
    ),
    devices=(PciDevice(address="0000:01:00.0", vendor_id=_GPU[0], product_id=_GPU[1]),),
)
ASKS = (
    HardwareAsk(),
    HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=512),), dedicated=True),
    HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=256),) * 2, dedicated=True),
    HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=512),), page_kib=2048),
    HardwareAsk(devices=(DeviceAsk(alias="gpu", count=1, ids=(_GPU,)),)),
)
GROUPS = {
    "apart": ServerGroup(id="apart", name="apart", policy=GroupPolicy.ANTI_AFFINITY, max_per_host=2),
    "together": ServerGroup(id="together", name="together", policy=GroupPolicy.AFFINITY),
}
_BUILDS = 40


class Claims(RuleBasedStateMachine):
    """Hosts a, b and c; builds are claimed one after the other, alone or in batches."""

    @initialize()
    def prepare(self) -> None:
        self.database = Database("sqlite://", DatabaseSettings(), ThreadRuntime())
        with self.database.write() as conn:
            metadata.create_all(conn)
        for name in HOSTS:
            add_host(self.database, name, places=PLACES, hardware=codec.to_json(OFFER))
        for group in GROUPS.values():
            add_group(self.database, group.id, group.policy, max_per_host=group.max_per_host)
        add_builds(self.database, [f"o{number:02}" for number in range(_BUILDS)])
        self.left = [f"o{number:02}" for number in range(_BUILDS)]
        self.closed: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()

    @rule(
        wishes=st.lists(
            st.tuples(
                st.sampled_from(ASKS),
                st.sampled_from((None, *GROUPS.values())),
                st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3, unique=True),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def claim_some(self, wishes: list[tuple[HardwareAsk, ServerGroup | None, list[str]]]) -> None:
        claims = [
            Claim(
                operation_id=each,
                attempt=1,
                instance_uuid=f"i-{each}",
                candidates=tuple(hosts),
                ask=ASK,
                hardware=hardware,
                group=group,
            )
            for each, (hardware, group, hosts) in zip(self.left, wishes, strict=False)
        ]
        with self.database.write() as conn:
            outcomes = claim.claim(conn, claims, NOW)
        for request, outcome in zip(claims, outcomes, strict=True):
            if outcome.state is ClaimState.CLAIMED:
                self.left.remove(request.operation_id)
                assert outcome.host not in self.closed
            else:
                assert outcome.state is ClaimState.LOST
                assert not any(self.might_have(request, host) for host in request.candidates)

    @rule(number=st.integers(0, _BUILDS))
    def release_one(self, number: int) -> None:
        rows = self.rows()
        if rows:
            row = rows[number % len(rows)]
            with self.database.write() as conn:
                assert claim.release(conn, instance_uuid=row.instance_uuid, host=row.host, epoch=row.epoch)

    @rule(host=st.sampled_from(HOSTS), column=st.sampled_from(("draining", "enabled", "up")))
    def close_or_open(self, host: str, column: str) -> None:
        opening = host in self.closed
        values: dict[str, Any] = {"draining": 0, "enabled": 1, "up": 1}
        with self.database.write() as conn:
            values = values if opening else {column: int(column == "draining")}
            of_host = update(host_capacity).where(host_capacity.c.host == host)
            conn.execute(of_host.values(change=change_stamp(conn), **values))
        self.closed ^= {host}

    def rows(self) -> list[Any]:
        with self.database.read() as conn:
            return list(conn.execute(select(allocation).order_by(allocation.c.instance_uuid)))

    def might_have(self, request: Claim, host: str) -> bool:
        """Whether a request that was refused would find its place there now."""
        rows = self.rows()
        here = [row for row in rows if row.host == host]
        taken = [codec.from_json(row.hardware, HardwareClaim) for row in here if row.hardware]
        members = Counter(row.host for row in rows if request.group and row.group_id == request.group.id)
        if host in self.closed or len(here) >= PLACES or fit(OFFER, taken, request.hardware) is None:
            return False
        if request.group is not None and request.group.policy is GroupPolicy.AFFINITY:
            return not members or set(members) == {host}
        return request.group is None or members[host] < request.group.max_per_host

    @invariant()
    def what_is_used_is_what_is_placed(self) -> None:
        if hasattr(self, "database"):
            assert used(self.database) == sums(self.database)
            most = Resources(
                vcpus=PLACES * ASK.vcpus, memory_mib=PLACES * ASK.memory_mib, disk_gib=PLACES * ASK.disk_gib
            )
            assert all(
                each.vcpus <= most.vcpus and each.memory_mib <= most.memory_mib and each.disk_gib <= most.disk_gib
                for each in used(self.database).values()
            )

    @invariant()
    def no_piece_is_given_twice(self) -> None:
        if not hasattr(self, "database"):
            return
        rows = [(row.host, codec.from_json(row.hardware, HardwareClaim)) for row in self.rows() if row.hardware]
        pieces = [(host, str(cpu)) for host, each in rows for cell in each.cells for cpu in cell.cpus]
        pieces += [(host, address) for host, each in rows for address in each.devices]
        assert len(set(pieces)) == len(pieces)
        pages = Counter[tuple[str, int]]()
        for host, each in rows:
            for cell in each.cells:
                pages[host, cell.cell] += cell.memory_mib // 2 if cell.page_kib else 0
        assert all(count <= 256 for count in pages.values())

    @invariant()
    def groups_keep_their_rules(self) -> None:
        if not hasattr(self, "database"):
            return
        rows = self.rows()
        apart = Counter(row.host for row in rows if row.group_id == "apart")
        assert all(count <= 2 for count in apart.values())
        assert len({row.host for row in rows if row.group_id == "together"}) <= 1


Claims.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestClaims = Claims.TestCase
