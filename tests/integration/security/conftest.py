"""A fleet whose agents have users of their own, made as an operator would, and a stranger's hands on its broker."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drover.conf import load
from drover.conf.bus import BusSettings
from drover.lab.rabbitmq import PrivateRabbit
from drover.lab.spec import Driver
from drover.runtime import program
from tests.fleet import Fleet, fleet

kombu: Any = importlib.import_module("kombu")  # half typed

HOSTS = ("host1", "host2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A fleet with two hosts, and where the logins of their agents lie."""

    fleet: Fleet
    secrets: Path
    broker: PrivateRabbit

    def url(self, host: str) -> str:
        """The login of a host's agent."""
        return load([str(self.secrets / f"{host}.conf")]).get(BusSettings).transport_url

    @contextmanager
    def channel(self, host: str) -> Iterator[Any]:
        """A channel of py-amqp, logged in as a host's agent; what is wrong is told with each publish."""
        url = self.url(host).replace("rabbit://", "amqp://")
        with kombu.Connection(url, transport_options={"confirm_publish": True}) as connection:
            yield connection.channel()


@pytest.fixture(scope="package")
def guarded() -> Iterator[Guarded]:
    with fleet(Driver.FAKE, hosts=len(HOSTS)) as made, ExitStack() as stack:
        secrets = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "logins"
        hosts = [word for host in HOSTS for word in ("--host", host)]
        printed = made.drover("broker", "definitions", *hosts, "--secrets", str(secrets))
        assert printed.returncode == 0, printed.stderr
        assert json.loads(printed.stdout)["topic_permissions"]
        spec, layout = made.lab.spec(), made.lab.layout
        broker = PrivateRabbit(layout.rabbitmq, made.runtime, port=spec.broker_port, dist_port=spec.broker_dist_port)
        broker.control("import_definitions", text=printed.stdout)
        for host in HOSTS:
            made.lab.kill(f"{host}.agent", program.TERM)
            made.until(lambda name=f"{host}.agent": name not in _up(made), "the end of the lab's own agent")  # type: ignore[misc]
            stack.callback(_end, _agent(made, host, secrets))
        made.until(lambda: made.rows("SELECT 1 FROM host HAVING min(session) > 1"), "both to register again")
        # Between two agents a host may have been silent for too long, and gets nothing until a conductor has looked.
        made.until(lambda: made.rows("SELECT 1 FROM host_capacity HAVING min(up) = 1"), "both to be up again")
        yield Guarded(fleet=made, secrets=secrets, broker=broker)


def _up(made: Fleet) -> set[str]:
    return {part.name for part in made.lab.status() if part.state == "up"}


def _agent(made: Fleet, host: str, secrets: Path) -> subprocess.Popen[bytes]:
    """The lab's agent with a login of its own, in the words of a configuration file that wins over the lab's."""
    command = [str(Path(sys.executable).with_name("drover-agent"))]
    for file in (made.lab.layout.config(f"{host}.agent"), secrets / f"{host}.conf"):
        command += ["--config-file", str(file)]
    with (made.lab.layout.logs / f"{host}.guarded.log").open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def _end(agent: subprocess.Popen[bytes]) -> None:
    agent.terminate()
    agent.wait(60)
