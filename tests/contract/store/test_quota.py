"""Quotas in the create transaction, on each database, and raced for on PostgreSQL by two conductors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa

from drover import errors
from drover.conf.times import TimeSettings
from drover.db import quota
from drover.db.engine import Database
from drover.db.schema import instance
from drover.objects.catalog import Network, NetworkKind
from drover.objects.instance import CreateReply, CreateRequest
from drover.objects.quota import UNLIMITED, Amounts, QuotaChange
from drover.runtime.threads import ThreadRuntime
from drover.states import Action
from tests.contract.store.test_claim_race import THREADS, at_once
from tests.functional.conductor.conftest import CTX, Fleet

TIMES = TimeSettings(join_window_s=0.002)


@pytest.fixture
def fleet(db: Database, runtime: ThreadRuntime) -> Iterator[Fleet]:
    made = Fleet(db, runtime, TIMES)
    made.prepare()
    yield made
    made.close()


def limit(fleet: Fleet, project: str = "default", **limits: int) -> None:
    fleet.api.quota_set(CTX, project, QuotaChange(**limits))


def used(fleet: Fleet, project: str = "default") -> Amounts:
    return fleet.api.quota_show(CTX, project).used


def test_a_quota_is_enforced_and_its_refusal_writes_nothing(fleet: Fleet) -> None:
    limit(fleet, vcpus=2)
    fleet.create("web", count=2)
    assert used(fleet) == Amounts(instances=2, vcpus=2, memory_mib=1024, disk_gib=2, addresses=2)
    with pytest.raises(errors.QuotaExceeded) as refused:
        fleet.create("db")
    assert refused.value.kwargs == {"project": "default", "resource": "vcpus", "limit": 2, "used": 2, "asked": 1}
    assert used(fleet).instances == 2
    limit(fleet, vcpus=UNLIMITED)
    fleet.create("db")


def test_all_or_nothing_without_a_minimum_and_as_many_as_fit_with_one(fleet: Fleet) -> None:
    limit(fleet, addresses=2)
    with pytest.raises(errors.QuotaExceeded):
        fleet.create("web", count=3)
    assert used(fleet) == Amounts()
    assert fleet.create("web", count=3, min_count=1).names == ("web-1", "web-2")
    assert fleet.create("lone", networks=()).names == ("lone",)  # has no address


def test_a_repeated_request_is_counted_once_and_answered_when_the_quota_is_full(fleet: Fleet) -> None:
    limit(fleet, instances=1)
    first = fleet.create(idempotency_key="k")
    assert fleet.create(idempotency_key="k") == first
    with pytest.raises(errors.QuotaExceeded):
        fleet.create(idempotency_key="other")


def test_an_instance_counts_until_the_transaction_that_deletes_it(fleet: Fleet) -> None:
    limit(fleet, instances=1)
    reply = fleet.create()
    host = fleet.agent()
    fleet.place(reply)
    (order,) = host.sync().orders
    assert host.begin(order)
    host.end(order)
    fleet.api.instance_action(CTX, reply.instance_uuids[0], Action.DELETE, {})
    with pytest.raises(errors.QuotaExceeded):
        fleet.create("next")  # it may still run
    (order,) = host.sync().orders
    host.sync()
    host.end(order)
    assert used(fleet) == Amounts()
    fleet.create("next")


@pytest.mark.parametrize("vm_state", ["shelved_offloaded", "soft-delete", "error", "stopped"])
def test_what_is_not_deleted_counts(fleet: Fleet, vm_state: str) -> None:
    limit(fleet, instances=1)
    fleet.create()
    with fleet.database.write() as conn:
        conn.execute(sa.update(instance).values(vm_state=vm_state, host=""))
    with pytest.raises(errors.QuotaExceeded):
        fleet.create("next")


def test_projects_do_not_count_for_each_other(fleet: Fleet) -> None:
    limit(fleet, instances=1)
    limit(fleet, "other", instances=0)
    fleet.create()
    with pytest.raises(errors.QuotaExceeded) as refused:
        fleet.api.instance_create(
            replace(CTX, project_id="other"), CreateRequest(name="x", flavor="small", image="img", networks=())
        )
    assert refused.value.kwargs["project"] == "other"
    assert [it.project_id for it in fleet.api.quota_list(CTX)] == ["default", "other"]
    assert not fleet.api.quota_show(CTX, "third").limited


def test_limits_that_are_not_named_stay(fleet: Fleet) -> None:
    limit(fleet, instances=3, vcpus=4)
    limit(fleet, vcpus=5)
    limits = fleet.api.quota_show(CTX, "default").limits
    assert (limits.instances, limits.vcpus, limits.disk_gib) == (3, 5, UNLIMITED)
    for project, change in (("", QuotaChange(vcpus=1)), ("x" * 65, QuotaChange(vcpus=1)), ("p", QuotaChange())):
        with pytest.raises(errors.BadInput):
            fleet.api.quota_set(CTX, project, change)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(*arguments: object) -> None:
        seen.append(str(arguments[2]))

    engine = database._backend.writer
    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


def test_a_project_without_a_quota_pays_for_none(fleet: Fleet) -> None:
    limit(fleet, "other", instances=1)
    fleet.create("first")
    with statements(fleet.database) as seen:
        fleet.create("second")
    about = [statement for statement in seen if "quota" in statement]
    assert len(about) == 1
    assert about[0].startswith("SELECT flavor.")


# --- races -------------------------------------------------------------------------------------------------------


def test_racing_creators_fill_a_quota_and_never_pass_it(pg: Database, runtime: ThreadRuntime) -> None:
    """Eight threads, two conductors, two projects that share transactions; no error but the refusal comes out."""
    fleets = [Fleet(pg, runtime, TIMES), Fleet(pg, runtime, TIMES)]
    fleets[0].prepare()
    fleets[0].api.network_create(
        CTX, Network(id="", name="wide", kind=NetworkKind.NAT, cidr="10.64.0.0/22", gateway="10.64.0.1")
    )
    limits = {"p1": {"vcpus": 41, "addresses": 90}, "p2": {"instances": 37}}
    for project, named in limits.items():
        limit(fleets[0], project, **named)
    made: list[CreateReply] = []

    def race(number: int) -> None:
        fleet = fleets[number % 2]
        left = {"p1": 3, "p2": 3}  # instances of one request: fewer when they do not fit
        turn = number
        while left:
            turn += 1
            project = sorted(left)[turn % len(left)]
            request = CreateRequest(
                name=f"n{number}-{turn}", flavor="small", image="img", networks=("wide",), count=left[project]
            )
            try:
                made.append(fleet.api.instance_create(replace(CTX, project_id=project), request))
            except errors.QuotaExceeded:
                left[project] -= 1
                if not left[project]:
                    del left[project]

    at_once(race, THREADS)
    assert used(fleets[0], "p1").vcpus == 41
    assert used(fleets[0], "p2").instances == 37
    assert sum(len(reply.instance_uuids) for reply in made) == 41 + 37
    for fleet in fleets:
        fleet.close()


def test_a_limit_that_is_lowered_meanwhile_counts_at_once(pg: Database, runtime: ThreadRuntime) -> None:
    """Who set it and was answered knows that no create passes it any more."""
    fleet = Fleet(pg, runtime, TIMES)
    fleet.prepare()
    limit(fleet, instances=1000)
    over: list[int] = []

    def race(number: int) -> None:
        for turn in range(20):
            if number:
                try:
                    fleet.create(f"n{number}-{turn}", networks=())
                except errors.QuotaExceeded:
                    return
            elif turn == 5:
                limit(fleet, instances=10)
                with pg.read() as conn:
                    over.append(quota.get(conn, "default").used.instances)

    at_once(race, 4)
    assert used(fleet).instances == max(10, *over)
    fleet.close()
