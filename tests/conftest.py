"""Parts that many tests share, started once when the first test asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from drover.lab.rabbitmq import PrivateRabbit
from drover.runtime.threads import ThreadRuntime
from tests.broker import started_broker
from tests.machine import Machine, running_machine
from tests.needs import require

# Its bounds of time fail whatever is tested when a machine is busy; how long things take is for tests/bench.
settings.register_profile("drover", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("drover")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regen", action="store_true", help="write the golden files anew instead of comparing with them")


@pytest.fixture(scope="session")
def runtime() -> ThreadRuntime:
    """The production runtime, its chance seeded."""
    return ThreadRuntime(seed=1)


@pytest.fixture(scope="session")
def rabbitmq(runtime: ThreadRuntime) -> Iterator[PrivateRabbit]:
    """A broker of this test run's own, which tests may kill but must start again."""
    with started_broker(runtime) as started:
        yield started


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq: PrivateRabbit) -> str:
    """Its transport URL."""
    return rabbitmq.url


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A hypervisor host of this test run's own, in namespaces, with a libvirtd that tests may kill."""
    require("root", "netns", "libvirt", "qemu", "qemu-img")
    with running_machine() as host:
        yield host
