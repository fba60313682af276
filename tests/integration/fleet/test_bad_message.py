"""Malformed calls and rubbish on every queue: typed errors, no dead server, nothing written, and the fleet goes on."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from drover import errors
from drover.conf import load
from drover.conf.bus import BusSettings
from drover.rpc.bus import Address, Message
from drover.rpc.route import exchange_of
from tests import promise
from tests.fleet import FLAVOR, IMAGE, NETWORK, Fleet

kombu: Any = importlib.import_module("kombu")  # half typed

MIB = 1024 * 1024
SERVERS = [Address("conductor"), Address("conductor_wait"), Address("scheduler"), Address("agent", "host1")]
TABLES = (
    "flavor",
    "network",
    "image",
    "instance",
    "instance_secret",
    "operation",
    "allocation",
    "port",
    "host",
    "alarm",
)
CONTEXT = {"request_id": "req-bad"}
REQUEST = {"name": "web", "flavor": FLAVOR, "image": IMAGE, "networks": [NETWORK]}
SYNC = {"host": "host1", "session": 1, "seq": 1}
IDENTITY = {"host": "host9", "host_uuid": "u", "machine_id": "m", "boot_id": "b"}
INVENTORY = {"vcpus": 1, "memory_mib": 1, "disk_gib": 1}


@pytest.fixture
def nothing_written(fake: Fleet) -> Iterator[None]:
    """The database is as it was, and the conductors put nothing aside."""
    before = {name: fake.count(name) for name in TABLES}
    yield
    assert {name: fake.count(name) for name in TABLES} == before
    assert list((fake.lab.layout.directory / "dead-letter").glob("*")) == []


def _call(fleet: Fleet, address: Address, method: str, args: dict[str, Any], **envelope: Any) -> Any:
    message = Message(method=method, args=args, **{"context": CONTEXT, **envelope})
    return fleet.bus.call(address, message, timeout_s=30.0)


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize("address", SERVERS, ids=str)
def test_what_no_contract_has_is_refused(fake: Fleet, address: Address) -> None:
    for method in ("nothing", "__init__", "_core", "dispatch", ""):
        with pytest.raises((errors.UnknownMethod, errors.BadRequest)):
            _call(fake, address, method, {})
    method = {"conductor_wait": "operation_wait"}.get(address.topic, "ping")
    with pytest.raises(errors.BadRequest):
        _call(fake, address, method, {"surprise": 1})
    with pytest.raises(errors.UnsupportedVersion):
        _call(fake, address, method, {}, version="9.0")
    with pytest.raises(errors.BadRequest):
        _call(fake, address, method, {}, context={})
    with pytest.raises(errors.MessageTooLarge):
        _call(fake, address, method, {"surprise": "x" * (16 * MIB)})


MALFORMED = [
    ("instance_create", {}),
    ("instance_create", {"request": []}),
    ("instance_create", {"request": {"name": "web"}}),
    ("instance_create", {"request": {**REQUEST, "count": "3"}}),
    ("instance_create", {"request": {**REQUEST, "networks": NETWORK}}),
    ("instance_create", {"request": {**REQUEST, "name": None}}),
    ("instance_action", {"instance": "x", "action": "explode", "params": {}}),
    ("instance_action", {"instance": "x", "action": "reboot", "params": {"type": 1}}),
    ("instance_list", {"query": {"limit": "all"}}),
    ("host_list", {"query": {"state": "sideways"}}),
    ("sync", {"request": {"host": "host1"}}),
    ("sync", {"request": {**SYNC, "held": [{"operation_id": 1}]}}),
    ("sync", {"request": {**SYNC, "results": [{"outcome": "maybe"}]}}),
    ("register", {"registration": {"identity": IDENTITY}}),
]


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(("method", "args"), MALFORMED, ids=lambda value: str(value)[:50])
def test_wrong_types_and_missing_arguments_are_named(fake: Fleet, method: str, args: dict[str, Any]) -> None:
    with pytest.raises(errors.BadRequest, match=method):
        _call(fake, Address("conductor"), method, args)


#: well-formed, and nothing that a database could take
IMPOSSIBLE = [
    ("instance_create", {"request": {**REQUEST, "count": 2**70}}),
    ("instance_create", {"request": {**REQUEST, "user_data": "\0"}}),
    ("instance_create", {"request": {**REQUEST, "flavor": "\0"}}),
    ("instance_create", {"request": {**REQUEST, "idempotency_key": "\0"}}),
    ("instance_create", {"request": {**REQUEST, "user_data": "\ud800"}}),
    ("instance_show", {"instance": "\0"}),
    ("instance_show", {"instance": "x" * MIB}),
    ("instance_list", {"query": {"limit": 2**63}}),
    ("instance_list", {"query": {"limit": -1}}),
    ("instance_list", {"query": {"marker": "\0"}}),
    ("host_list", {"query": {"limit": -1}}),
    ("image_list", {"query": {"marker": "\0"}}),
    ("flavor_list", {"query": {"name": "\0"}}),
    ("operation_show", {"operation": "\0"}),
    ("flavor_create", {"flavor": {"id": "", "name": "\0", "vcpus": 1, "memory_mib": 1, "disk_gib": 1}}),
    ("flavor_create", {"flavor": {"id": "", "name": "big", "vcpus": 2**40, "memory_mib": 64, "disk_gib": 1}}),
    ("flavor_create", {"flavor": {"id": "x" * 300, "name": "long", "vcpus": 1, "memory_mib": 64, "disk_gib": 1}}),
    ("image_create", {"image": {"id": "x" * 300, "name": "long", "url": "http://127.0.0.1/x"}}),
    ("host_set_enabled", {"host": "host1", "enabled": False, "reason": "\0"}),
    ("keypair_create", {"name": "\0", "public_key": "ssh-ed25519 AAAA"}),
    ("sync", {"request": {**SYNC, "session": 2**70}}),
    ("sync", {"request": {**SYNC, "host": "\0"}}),
    ("register", {"registration": {"identity": {**IDENTITY, "host": "h" * 300}, "inventory": INVENTORY}}),
    ("register", {"registration": {"identity": {**IDENTITY, "host": "\0"}, "inventory": INVENTORY}}),
    ("register", {"registration": {"identity": IDENTITY, "inventory": {**INVENTORY, "vcpus": 2**40}}}),
]


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(("method", "args"), IMPOSSIBLE, ids=lambda value: str(value)[:50].replace("\0", "NUL"))
def test_what_cannot_be_is_refused_for_good_and_not_as_a_fault_of_ours(
    fake: Fleet, method: str, args: dict[str, Any]
) -> None:
    with pytest.raises(errors.DroverError) as caught:
        _call(fake, Address("conductor"), method, args)
    assert caught.value.exit_code in (2, 3, 4), repr(caught.value)
    assert not caught.value.retryable


@pytest.mark.usefixtures("nothing_written")
def test_a_stranger_cannot_speak_for_a_host(fake: Fleet) -> None:
    with pytest.raises(errors.StaleSession):
        _call(fake, Address("conductor"), "sync", {"request": {**SYNC, "session": 0}})
    with pytest.raises(errors.StaleSession):
        _call(fake, Address("conductor"), "sync", {"request": {**SYNC, "host": "nowhere"}})
    taken = {"identity": {**IDENTITY, "host": "host1"}, "inventory": INVENTORY}
    with pytest.raises(errors.HostNameTaken):
        _call(fake, Address("conductor"), "register", {"registration": taken})


# --- rubbish -----------------------------------------------------------------------------------------------


def _envelope(**body: Any) -> bytes:
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(body)}).encode()


RUBBISH: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{]", "application/json"),
    "binary": (bytes(range(256)), "application/json"),
    "a list": (b"[1, 2]", "application/json"),
    "no envelope": (b'{"hello": 1}', "application/json"),
    "another envelope": (b'{"oslo.version": "9.0", "oslo.message": "{}"}', "application/json"),
    "no method": (_envelope(args={}), "application/json"),
    "a private method": (_envelope(method="__init__", args={}, _context_request_id="r"), "application/json"),
    "arguments a list": (_envelope(method="ping", args=[1]), "application/json"),
    "no context": (_envelope(method="dispatched", args={"operation_ids": ["x"]}), "application/json"),
    "pickle": (b"\x80\x04K\x01.", "application/x-python-serialize"),
    "deep": (b"[" * 100_000, "application/json"),
    "12 MiB": (_envelope(method="ping", args={"x": "y" * (12 * MIB)}, _context_request_id="r"), "application/json"),
}


def _publish(fleet: Fleet, key: str, body: bytes, content_type: str) -> None:
    url = load([str(fleet.lab.config_file)]).get(BusSettings).transport_url.replace("rabbit://", "amqp://")
    with kombu.Connection(url, transport_options={"confirm_publish": True}) as connection:
        producer = connection.Producer()
        producer.publish(
            body,
            exchange=exchange_of(key),
            routing_key=key,
            content_type=content_type,
            content_encoding="utf-8",
            mandatory=True,
            user_id="drover",
        )


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize("key", ["conductor", "conductor_wait.conductor", "scheduler", "agent.host1"])
def test_rubbish_on_a_queue_kills_nothing(fake: Fleet, key: str) -> None:
    before = {part.name: part.pid for part in fake.lab.status()}
    for body, content_type in RUBBISH.values():
        _publish(fake, key, body, content_type)
    with pytest.raises(Exception, match="PRECONDITION_FAILED"):
        _publish(fake, key, b"x" * (20 * MIB), "application/json")
    topic, _, server = key.partition(".")
    with pytest.raises(errors.UnknownMethod):  # it is answered, after all that
        _call(fake, Address(topic, server), "nothing", {})
    assert {part.name: part.pid for part in fake.lab.status()} == before


def test_after_all_that_the_fleet_works(fake: Fleet) -> None:
    built = fake.create(6)
    fake.wait(built.operation_ids)
    assert len(promise.at_rest(fake)) == 6
    fake.delete(built.instance_uuids)
    promise.empty(fake)
