"""The user of one agent on a real broker: a fleet works with such users, and they can do nothing to each other."""

from __future__ import annotations

import json
from typing import Any

import amqp
import pytest

from drover import errors
from drover.conf.bus import BusSettings
from drover.rpc import route
from drover.rpc.agent import CONTRACT as AGENT
from drover.rpc.bus import Address, Message
from drover.rpc.conductor import CONTRACT
from drover.rpc.contract import client
from drover.rpc.transport import RabbitBus
from drover.states import OperationState
from tests.integration.security.conftest import HOSTS, Guarded

REPLIES = route.reply_queue(route.agent_bus("host1"), "0" * 32)
OTHERS_REPLIES = route.reply_queue(route.agent_bus("host2"), "0" * 32)
CONTEXT = {"request_id": "req-forged"}


def test_a_fleet_of_such_users_builds_and_deletes(guarded: Guarded) -> None:
    fleet = guarded.fleet
    built = fleet.create(6)
    ended = fleet.wait(built.operation_ids)
    assert {op.state for op in ended} == {OperationState.SUCCEEDED}
    assert {op.host for op in ended} == set(HOSTS)
    for host in HOSTS:
        agent = client(AGENT, fleet.bus, server=host, timeout_s=60.0)
        assert agent.ping(fleet.context()) == host
    deleted = fleet.delete([op.instance_uuid for op in ended])
    assert {op.state for op in deleted} == {OperationState.SUCCEEDED}


@pytest.mark.parametrize("queue", ["agent.host2", "conductor", "conductor.conductor", "scheduler"])
@pytest.mark.parametrize("deed", ["consume", "get", "purge", "delete", "declare", "bind"])
def test_an_agent_can_do_nothing_with_the_queue_of_another(guarded: Guarded, queue: str, deed: str) -> None:
    with guarded.channel("host1") as channel, pytest.raises(amqp.AccessRefused):
        match deed:
            case "consume":
                channel.basic_consume(queue)
            case "get":
                channel.basic_get(queue)
            case "purge":
                channel.queue_purge(queue)
            case "delete":
                channel.queue_delete(queue)
            case "declare":
                channel.queue_declare(queue)
            case "bind":
                channel.queue_bind(queue, route.TO_AGENTS, "agent.host1")


@pytest.mark.parametrize("exchange", [route.TO_AGENTS, "", "amq.fanout", "amq.headers"])
def test_an_agent_can_order_nothing_of_another(guarded: Guarded, exchange: str) -> None:
    """The default exchange leads to every queue there is; oslo.messaging would send replies by it."""
    with guarded.channel("host1") as channel, pytest.raises(amqp.AccessRefused):
        _publish(channel, exchange, "agent.host2", "agent.host1")


def test_what_an_agent_may_write_to_leads_to_no_agent(guarded: Guarded) -> None:
    with guarded.channel("host1") as channel:
        returned: list[Any] = []
        channel.events["basic_return"].add(lambda *args: returned.append(args))
        for key in ("agent.host2", "agent.host1", OTHERS_REPLIES):
            _publish(channel, route.TO_OTHERS, key, "agent.host1")
        assert len(returned) == 3


@pytest.mark.parametrize("key", ["agent.host2", "#", "agent.*", "agent.#", "*.*", OTHERS_REPLIES, "reply.#"])
def test_an_agent_cannot_overhear_another(guarded: Guarded, key: str) -> None:
    with guarded.channel("host1") as channel:
        channel.queue_declare(REPLIES, exclusive=True)
        with pytest.raises(amqp.AccessRefused):
            channel.queue_bind(REPLIES, route.TO_AGENTS, key)


def test_an_agent_cannot_overhear_requests(guarded: Guarded) -> None:
    with guarded.channel("host1") as channel:
        channel.queue_declare(REPLIES, exclusive=True)
        with pytest.raises(amqp.AccessRefused):
            channel.queue_bind(REPLIES, route.TO_OTHERS, "conductor")


@pytest.mark.parametrize("detour", ["alternate", "binding", "dead letters"])
def test_no_detour_leads_to_another_agent(guarded: Guarded, detour: str) -> None:
    """An agent may make exchanges and queues of its own names; these lead nowhere either."""
    with guarded.channel("host1") as channel, pytest.raises(amqp.AccessRefused):
        match detour:
            case "alternate":
                arguments = {"alternate-exchange": route.TO_AGENTS}
                channel.exchange_declare("agent.host1", "topic", auto_delete=True, arguments=arguments)
            case "binding":
                channel.exchange_declare("agent.host1", "topic", auto_delete=True)
                channel.exchange_bind(route.TO_AGENTS, "agent.host1", "#")
            case "dead letters":
                arguments = {
                    "x-dead-letter-exchange": route.TO_AGENTS,
                    "x-dead-letter-routing-key": "agent.host2",
                }
                channel.queue_declare(REPLIES, exclusive=True, arguments=arguments)


@pytest.mark.parametrize("exchange", [route.TO_AGENTS, route.TO_OTHERS, "amq.default"])
def test_an_agent_cannot_delete_what_all_need(guarded: Guarded, exchange: str) -> None:
    with guarded.channel("host1") as channel, pytest.raises(amqp.AccessRefused):
        channel.exchange_delete(exchange)


def test_an_agent_cannot_say_it_is_another(guarded: Guarded) -> None:
    for user in ("drover", "agent.host2"):
        with guarded.channel("host1") as channel, pytest.raises(amqp.PreconditionFailed):
            _publish(channel, route.TO_OTHERS, "conductor", user)


def test_the_conductor_refuses_what_an_agent_may_not_ask_for(guarded: Guarded) -> None:
    """RabbitMQ knows queues, not methods: what may be asked by whom is for the one who reads."""
    fleet = guarded.fleet
    bus = RabbitBus(fleet.runtime, BusSettings(transport_url=guarded.url("host1")), name=route.agent_bus("host1"))
    try:
        for method, args in (
            ("instance_list", {"query": {}}),
            ("host_fence", {"host": "host2", "reason": "mine"}),
            ("dispatched", {"operation_ids": []}),
            ("sync", {"request": {"host": "host2", "session": 1, "seq": 1}}),
            ("sync", {"request": {"host": ["host1"], "session": 1, "seq": 1}}),
            ("register", {"registration": {"identity": {"host": "host2"}}}),
            ("register", {}),
        ):
            with pytest.raises(errors.SenderRefused):
                bus.call(Address("conductor"), Message(method=method, args=args, context=CONTEXT), 30.0)
        for address in (Address("scheduler"), Address("conductor_wait")):
            with pytest.raises(errors.SenderRefused):
                bus.call(address, Message(method="ping", context=CONTEXT), 30.0)
    finally:
        bus.close()


def test_who_proves_nothing_is_refused(guarded: Guarded) -> None:
    """An agent that leaves its name away is no operator for that; nor is one with a dead letter in hand."""
    before = guarded.fleet.count("host")
    with guarded.channel("host1") as channel:
        replies = _replies(channel)
        for properties in ({}, {"user_id": "agent.host1", "application_headers": {"x-death": []}}):
            body = _request("host_list", guarded.fleet.runtime.uuid(), REPLIES)
            channel.basic_publish_confirm(
                amqp.Message(body, content_type="application/json", content_encoding="utf-8", **properties),
                exchange=route.TO_OTHERS,
                routing_key="conductor",
            )
            assert _next(guarded, channel, replies)["failure"]["class"] == "SenderRefused"
    assert guarded.fleet.count("host") == before


def test_every_host_goes_on(guarded: Guarded) -> None:
    """After all that."""
    fleet = guarded.fleet
    assert {host.name for host in client(CONTRACT, fleet.bus).host_list(fleet.context()) if host.up} == set(HOSTS)


def _publish(channel: Any, exchange: str, key: str, user: str) -> None:
    message = amqp.Message(_request("execute", "", "", orders=[]), content_type="application/json", user_id=user)
    channel.basic_publish_confirm(message, exchange=exchange, routing_key=key, mandatory=True)


def _request(method: str, msg_id: str, replies: str, **args: Any) -> str:
    body = {"method": method, "args": args, "version": "1.0", "_context_request_id": "req-forged"}
    if msg_id:
        body |= {"_msg_id": msg_id, "_reply_q": replies, "_unique_id": msg_id}
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(body)})


def _replies(channel: Any) -> list[dict[str, Any]]:
    """What comes to the agent's own queue of replies."""
    found: list[dict[str, Any]] = []
    channel.queue_declare(REPLIES, exclusive=True)
    channel.queue_bind(REPLIES, route.TO_AGENTS, REPLIES)
    channel.basic_consume(REPLIES, no_ack=True, callback=lambda m: found.append(json.loads(m.body)))
    return found


def _next(guarded: Guarded, channel: Any, replies: list[dict[str, Any]]) -> dict[str, Any]:
    deadline = guarded.fleet.runtime.clock.monotonic() + 60
    while not replies:
        assert guarded.fleet.runtime.clock.monotonic() < deadline
        channel.connection.drain_events(timeout=60)
    answer: dict[str, Any] = json.loads(replies.pop()["oslo.message"])
    answer["failure"] = json.loads(answer["failure"])
    return answer
