"""Create: one key, one effect; bad input, one clear error and nothing written."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from drover import errors
from drover.objects.group import Hints
from drover.rpc.bus import Address, Message
from tests.functional.conductor.conftest import CTX, Fleet


def counted(fleet: Fleet) -> dict[str, int]:
    with fleet.database.read() as conn:
        tables = ("instance", "operation", "port", "allocation", "idempotency", "instance_secret")
        return {name: conn.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar_one() for name in tables}


def test_one_key_makes_one_set_of_instances(fleet: Fleet) -> None:
    first = fleet.create("web", count=3, idempotency_key="k1")
    assert fleet.create("web", count=3, idempotency_key="k1") == first
    assert first.names == ("web-1", "web-2", "web-3")
    assert counted(fleet)["instance"] == 3
    with pytest.raises(errors.IdempotencyMismatch):
        fleet.create("web", count=2, idempotency_key="k1")


def test_concurrent_creates_with_one_key_make_one_instance(fleet: Fleet) -> None:
    answers: list[object] = []

    def go() -> None:
        answers.append(fleet.create("web", idempotency_key="k"))

    tasks = [fleet.runtime.spawn(f"t{n}", go) for n in range(6)]
    assert all(task.join(60) for task in tasks)
    assert len(answers) == 6
    assert all(answer == answers[0] for answer in answers)
    assert counted(fleet)["instance"] == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"flavor": "nope"}, "FlavorNotFound"),
        ({"image": "nope"}, "ImageNotFound"),
        ({"networks": ("nope",)}, "NetworkNotFound"),
        ({"networks": ("net", "net")}, "InvalidNetwork"),
        ({"key_name": "nope"}, "KeypairNotFound"),
        ({"count": 0}, "InvalidCount"),
        ({"count": -1}, "InvalidCount"),
        ({"count": 5000}, "InvalidCount"),
        ({"count": 2, "min_count": 3}, "InvalidCount"),
        ({"count": 6}, "NoAddresses"),
        ({"name": "no_host_name"}, "InvalidName"),
        ({"name": ""}, "InvalidName"),
        ({"name": "-x"}, "InvalidName"),
        ({"user_data": "x" * 70000}, "InvalidUserData"),
        ({"idempotency_key": "x" * 300}, "BadInput"),
    ],
)
def test_bad_input_gets_its_code_and_writes_nothing(fleet: Fleet, changes: dict[str, Any], code: str) -> None:
    before = counted(fleet)
    with pytest.raises(errors.DroverError) as caught:
        fleet.create(**{"name": "vm", **changes})
    assert caught.value.code == code
    assert counted(fleet) == before


def test_a_minimum_takes_what_the_network_has(fleet: Fleet) -> None:
    reply = fleet.create("web", count=6, min_count=2)
    assert len(reply.instance_uuids) == 5
    with pytest.raises(errors.NoAddresses):
        fleet.create("more")


@pytest.mark.parametrize(
    ("request_", "params"),
    [
        ({"count": 1}, {}),
        ({"count": 3}, {"count": "3", "min_count": "3"}),
        ({"count": 3, "min_count": 2}, {"count": "3", "min_count": "2"}),
        ({"count": 6, "min_count": 2}, {"count": "5", "min_count": "2"}),  # addresses for five
        ({"count": 3, "hints": Hints(wait=True)}, {"count": "3", "min_count": "1"}),
    ],
)
def test_builds_of_one_request_say_how_many_find_hosts_together(
    fleet: Fleet, request_: dict[str, Any], params: dict[str, str]
) -> None:
    reply = fleet.create("web", **request_)
    shown = [fleet.api.operation_show(CTX, each).params for each in reply.operation_ids]
    assert shown == [params] * len(reply.names)


def test_the_addresses_of_a_batch_are_all_different(fleet: Fleet) -> None:
    fleet.create("web", count=5)
    with fleet.database.read() as conn:
        ips = [row.ip for row in conn.execute(sa.text("SELECT ip FROM port"))]
    assert len(set(ips)) == 5
    assert "10.9.0.1" not in ips


def test_user_data_is_nowhere_but_in_its_own_table(fleet: Fleet) -> None:
    fleet.create(user_data="#!/bin/sh\necho secret-word\n")
    with fleet.database.read() as conn:
        for table in ("instance", "operation", "operation_log", "idempotency", "decision"):
            rows = conn.execute(sa.text(f"SELECT * FROM {table}")).all()
            assert "secret-word" not in str(rows), table
        assert "secret-word" in str(conn.execute(sa.text("SELECT * FROM instance_secret")).all())


@pytest.mark.parametrize(
    ("method", "args", "code"),
    [
        ("no_such_method", {}, "UnknownMethod"),
        ("__init__", {}, "UnknownMethod"),
        ("instance_show", {}, "BadRequest"),
        ("instance_show", {"instance": 7}, "BadRequest"),
        ("instance_show", {"instance": "x", "more": 1}, "BadRequest"),
        ("instance_create", {"request": {"name": "x"}}, "BadRequest"),
        ("instance_action", {"instance": "x", "action": "explode", "params": {}}, "BadRequest"),
        ("sync", {"request": []}, "BadRequest"),
        ("instance_show", {"instance": "x" * 5_000_000}, "MessageTooLarge"),
    ],
)
def test_malformed_calls_get_a_typed_error(fleet: Fleet, method: str, args: dict[str, Any], code: str) -> None:
    with pytest.raises(errors.DroverError) as caught:
        fleet.bus.call(Address("conductor"), Message(method=method, args=args, context={"request_id": "r"}))
    assert caught.value.code == code
    assert fleet.api.ping(CTX) == "c1"
