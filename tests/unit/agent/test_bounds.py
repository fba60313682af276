"""Tokens, the lease, back-off, claims and the inventory."""

from __future__ import annotations

import pytest

from agent.backoff import Backoff
from agent.claims import Claims
from agent.inventory import offered
from agent.lease import Lease
from agent.operations.token import Reason, Token
from drover import errors
from drover.conf.agent import AgentSettings
from drover.objects.host import Inventory, Resources
from tests.unit.agent.manual import manual_runtime


def test_token() -> None:
    runtime, clock = manual_runtime()
    token = Token(runtime, clock.monotonic() + 10)
    token.check()
    assert not token.cancelled()
    assert token.remaining_s() == 10
    token.set(Reason.DROPPED)
    token.set(Reason.SHUTDOWN)
    assert token.reason is Reason.DROPPED
    assert token.wait(3600)
    with pytest.raises(errors.OperationCancelled, match="dropped by the conductor"):
        token.check()


def test_token_of_a_used_up_budget() -> None:
    runtime, clock = manual_runtime()
    token = Token(runtime, clock.monotonic() + 10)
    clock.pass_by(10)
    assert token.reason is Reason.BUDGET
    assert token.wait(3600)


def test_lease_counts_from_the_sending() -> None:
    runtime, clock = manual_runtime()
    lease = Lease(runtime)
    assert not lease.valid()
    sent_at_s = clock.monotonic()
    clock.pass_by(4)
    lease.renew(sent_at_s, 15.0)
    clock.pass_by(10.5)
    assert lease.valid()
    clock.pass_by(0.5)
    assert not lease.valid()


def test_lease_wait_can_be_cancelled() -> None:
    runtime, clock = manual_runtime()
    token = Token(runtime, clock.monotonic() + 10)
    token.set(Reason.SHUTDOWN)
    with pytest.raises(errors.OperationCancelled):
        Lease(runtime).wait(token)


def test_backoff_doubles_up_to_its_most() -> None:
    backoff = Backoff(first_s=1.0, most_s=5.0)
    assert [backoff.failed("a", 0.0) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert not backoff.ready("a", 4.9)
    assert backoff.ready("a", 5.0)
    assert backoff.ready("b", 0.0)
    backoff.succeeded("a")
    assert backoff.ready("a", 0.0)
    assert backoff.failed("a", 0.0) == 1.0


def test_claims_refuse_what_the_host_knows_it_cannot_hold() -> None:
    runtime, _ = manual_runtime()
    claims = Claims(runtime, "h1", Resources(vcpus=4, memory_mib=1024, disk_gib=10))
    ask = Resources(vcpus=2, memory_mib=600, disk_gib=1)
    claims.check("a", ask)
    claims.keep("a", ask)
    claims.check("a", ask)  # its own claim does not stand in its way
    with pytest.raises(errors.ClaimRefused, match=r"h1.*memory_mib: 600 wanted, 600 of 1024 in use"):
        claims.check("b", ask)
    claims.release("a")
    claims.check("b", ask)


def test_claims_never_refuse_for_what_they_do_not_count() -> None:
    """A host whose ratios were lowered below its guests still takes what the database allows of other things."""
    runtime, _ = manual_runtime()
    claims = Claims(runtime, "h1", Resources(vcpus=1, memory_mib=100, disk_gib=0))
    claims.keep("a", Resources(vcpus=9, memory_mib=10))
    claims.check("b", Resources(vcpus=0, memory_mib=90, disk_gib=0))


def test_inventory_as_offered() -> None:
    found = Inventory(vcpus=8, memory_mib=16000, disk_gib=100, virt_types=("qemu",))
    settings = AgentSettings(vcpus_ratio=2.0, reserved_vcpus=1, reserved_memory_mib=1000, disk_ratio=1.5)
    inventory = offered(found, settings)
    assert inventory.capacity() == Resources(vcpus=14, memory_mib=15000, disk_gib=150)
    assert inventory.virt_types == ("qemu",)
    shared = offered(found, AgentSettings(total_vcpus=2, total_memory_mib=2000, total_disk_gib=7))
    assert (shared.vcpus, shared.memory_mib, shared.disk_gib) == (2, 2000, 7)
