"""oslo.messaging's driver for RabbitMQ, with queues and exchanges of :mod:`drover.rpc.route` and signed messages.

Imported by :mod:`drover.rpc.transport` alone, which keeps eventlet out first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import amqp
import oslo_messaging
from kombu import entity
from oslo_config import cfg
from oslo_messaging import opts as messaging_options
from oslo_messaging._drivers import amqpdriver, base, impl_rabbit
from oslo_messaging._drivers import common as driver_common
from oslo_messaging._metrics import client as metrics
from oslo_messaging._tracing import client as tracing

from drover.conf.bus import BusSettings
from drover.rpc import route

__all__ = ["RabbitDriver", "configuration", "sender_of"]

# After every message the library wakes up 13 times within 8 s (after 1, 2, 4 … ms) to send acknowledgements that
# workers left behind. Those of RPC go out on receipt, so each wake-up is 0.2 ms of CPU for nothing.
amqpdriver.ACK_REQUEUE_EVERY_SECONDS_MIN = amqpdriver.ACK_REQUEUE_EVERY_SECONDS_MAX


def configuration(settings: BusSettings) -> cfg.ConfigOpts:
    """A ConfigOpts of our own, with the options the library would else look up in the process-wide one."""
    conf = cfg.ConfigOpts()
    conf(args=[], project="drover", default_config_files=[], default_config_dirs=[])
    for group, options in messaging_options.list_opts():
        conf.register_opts(options, group=group)
    conf.register_opts(tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")
    conf.register_opts(metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    values: dict[str, Any] = {
        "rpc_conn_pool_size": settings.conn_pool_size,
        "rabbit_retry_backoff": 0,
        "kombu_reconnect_delay": 0.0,
        # how long a reply waits for the queue of a caller that is gone, and that queue for its caller
        "kombu_missing_consumer_retry_timeout": 15,
        "rabbit_transient_queues_ttl": 300,
        "ssl": settings.ssl,
        "ssl_ca_file": settings.ssl_ca_file,
        "ssl_cert_file": settings.ssl_cert_file,
        "ssl_key_file": settings.ssl_key_file,
    }
    for name, value in values.items():
        conf.set_override(name, value, group="oslo_messaging_rabbit")
    return conf


def sender_of(incoming: Any) -> str:
    """The user that sent a message of a listener, by the broker's word; empty when it does not vouch for it.

    A dead letter keeps its sender, but comes here by the will of whoever let it die.
    """
    raw = incoming.message._raw_message  # noqa: SLF001
    return "" if "x-death" in (raw.headers or {}) else str(raw.properties.get("user_id", ""))


class RabbitDriver(impl_rabbit.RabbitDriver):  # type: ignore[misc]
    """:param bus: this process's name on the bus."""

    def __init__(self, conf: cfg.ConfigOpts, url: oslo_messaging.TransportURL, bus: str) -> None:
        super().__init__(conf, url, allowed_remote_exmods=["drover.errors"])
        self._connection_pool.connection_cls = _Connection
        self._bus = bus

    def listen(self, target: oslo_messaging.Target, batch_size: int, batch_timeout: float | None) -> Any:
        """The library would also make a fanout queue for each server, which nobody writes to."""
        connection = self._get_connection(driver_common.PURPOSE_LISTEN)
        listener = amqpdriver.RpcAMQPListener(self, connection)
        try:
            for queue in route.queues(target.topic, target.server):
                connection.read(queue, listener)
        except BaseException:  # a reader that nobody listens to would take what others wait for
            connection.close()
            raise
        return base.PollStyleListenerAdapter(listener, batch_size, batch_timeout)

    def make_reply_queue(self) -> None:
        """What the first call does otherwise."""
        self._get_reply_q()

    def count(self, queues: Sequence[str]) -> list[tuple[int, int]]:
        """(messages, readers) of each; of one that is not there: none."""
        with self._get_connection() as connection:
            return [connection.count(queue) for queue in queues]

    def _get_reply_queue_name(self) -> str:
        unique: str = super()._get_reply_queue_name().removeprefix("reply_")
        return route.reply_queue(self._bus, unique)


class _Connection(impl_rabbit.Connection):  # type: ignore[misc]
    def count(self, queue: str) -> tuple[int, int]:
        """On a channel of its own: the broker closes the one on which a queue was not found.

        The thread that sends heartbeats reads, too, and would take the answer.
        """
        with self._connection_lock, self.connection.channel() as channel:
            try:
                state = channel.queue_declare(queue, passive=True)
            except amqp.NotFound:
                return 0, 0
            return state.message_count, state.consumer_count

    def read(self, queue: str, callback: Callable[[Any], None], ttl_s: int = 0) -> None:
        """Declare, bind and consume *queue*; after *ttl_s* without a consumer (0: never) it is gone."""
        consumer = impl_rabbit.Consumer(
            exchange_name=route.exchange_of(queue),
            queue_name=queue,
            routing_key=queue,
            type="direct",
            durable=False,
            exchange_auto_delete=False,
            queue_auto_delete=False,
            # While the library waits for the broker to confirm a second reader, it takes what comes for the first one,
            # and hands that on when the next message comes, or five seconds later.
            nowait=True,
            callback=callback,
            rabbit_queue_ttl=ttl_s,
            enable_cancel_on_failover=self.enable_cancel_on_failover,
        )
        self.declare_consumer(consumer)

    def stop_consuming(self) -> None:
        """The reader sees that it is to stop when its wait ends, seconds later: an answer of the broker ends it now."""
        super().stop_consuming()
        if self.channel is None:
            return
        with contextlib.suppress(OSError, amqp.AMQPError):  # nobody answers: it waits to the end
            self.channel.send_method(amqp.spec.Basic.Qos, "lBb", (0, self.rabbit_qos_prefetch_count, False))

    def declare_direct_consumer(self, topic: str, callback: Callable[[Any], None]) -> None:
        """For replies."""
        self.read(topic, callback, self.rabbit_transient_queues_ttl)

    def direct_send(self, msg_id: str, msg: Any) -> None:
        """A reply; *msg_id* is its queue.

        :raises oslo_messaging.MessageUndeliverable: there is no such queue.
        """
        options = oslo_messaging.TransportOptions(at_least_once=True)
        publish = self._publish_and_raises_on_missing_exchange
        self._ensure_publishing(publish, _exchange(msg_id), msg, routing_key=msg_id, transport_options=options)

    def topic_send(
        self,
        exchange_name: str,  # noqa: ARG002  the key tells
        topic: str,
        msg: Any,
        timeout: float | None = None,
        retry: int | None = None,
        transport_options: Any = None,
    ) -> None:
        """A request."""
        self._ensure_publishing(
            self._publish,
            _exchange(topic),
            msg,
            routing_key=topic,
            timeout=timeout,
            retry=retry,
            transport_options=transport_options,
        )

    def _set_current_channel(self, new_channel: Any) -> None:
        changed = new_channel is not None and new_channel != self.channel
        super()._set_current_channel(new_channel)
        if changed:
            # The broker checks that messages are by whom they say they are.
            self._producer.publish = partial(self._producer.publish, user_id=self.connection.userid)


def _exchange(routing_key: str) -> Any:
    """Passive: it is the broker's own."""
    kind: Any = entity.Exchange  # half typed
    return kind(route.exchange_of(routing_key), passive=True, durable=False)
