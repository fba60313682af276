"""The health of a service whose RabbitMQ and PostgreSQL are killed and come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest

from drover.conf.bus import BusSettings
from drover.conf.database import DatabaseSettings
from drover.conf.health import HealthSettings
from drover.db import migration
from drover.db.engine import Database
from drover.db.notice import answers
from drover.health import Health, Probe, reaches_broker
from drover.lab.postgres import PrivatePostgres
from drover.lab.rabbitmq import PrivateRabbit
from drover.rpc.transport import RabbitBus
from drover.runtime.threads import ThreadRuntime
from tests.broker import started_broker
from tests.postgres import started_postgres
from tests.unit.drover.test_health import ask, until


@pytest.fixture
def server() -> Iterator[PrivatePostgres]:
    with started_postgres(durable=True) as server:
        yield server


@pytest.fixture
def broker(runtime: ThreadRuntime) -> Iterator[PrivateRabbit]:
    with started_broker(runtime) as started:
        yield started


def test_the_part_that_is_killed_is_told_until_it_is_back(
    server: PrivatePostgres, broker: PrivateRabbit, runtime: ThreadRuntime
) -> None:
    database = Database(server.url, DatabaseSettings(), runtime)
    migration.upgrade(database)
    settings = HealthSettings(listen="127.0.0.1", conductor_port=0, interval_s=0.3)
    with (
        closing(database),
        closing(RabbitBus(runtime, BusSettings(transport_url=broker.url, send_retries=0), name="c1")) as bus,
    ):
        probes: dict[str, Probe] = {"bus": reaches_broker(bus), "database": partial(answers, database)}
        health = Health(runtime, settings, "conductor", "c1", probes)
        health.start()
        try:
            until(health, 200)
            server.kill9()
            parts = until(health, 503)["parts"]
            assert (parts["bus"]["ok"], parts["database"]["ok"]) == (True, False)
            assert parts["database"]["detail"].startswith("database unavailable")
            server.start()
            until(health, 200)
            broker.kill9()
            parts = until(health, 503)["parts"]
            assert (parts["bus"]["ok"], parts["database"]["ok"]) == (False, True)
            broker.start()
            until(health, 200)
            assert ask(health)[1]["healthy"]
        finally:
            health.stop()
