"""The ``drover-agent`` process."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from agent.identity import LinuxMachine
from agent.service import Agent, Ports
from agent.state_dir import FileStateDir
from agent.virt import registry
from drover import errors, log
from drover.conf import Configuration, load
from drover.conf.agent import AgentSettings
from drover.conf.bus import BusSettings
from drover.conf.health import HealthSettings
from drover.conf.log import LogSettings
from drover.conf.registry import all_groups
from drover.conf.times import TimeSettings
from drover.health import Health, Told, reaches_broker
from drover.rpc.bus import Bus
from drover.rpc.connect import connect
from drover.runtime import Runtime, points
from drover.runtime.process import Fatal, run
from drover.runtime.threads import ThreadRuntime

__all__ = ["serve"]


def serve() -> int:
    """Read the configuration, work until SIGTERM, drain."""
    parser = argparse.ArgumentParser(prog="drover-agent", description="Drover's agent on a hypervisor host.")
    parser.add_argument("--config-file", action="append", default=[], help="may be repeated; later ones win")
    options = parser.parse_args()
    runtime, fatal = ThreadRuntime(), Fatal()
    try:
        configuration = load(options.config_file, known=all_groups())
        logs = configuration.get(LogSettings)
        log.setup("agent", level=logs.level, file=logs.file)
        bus, agent = _compose(runtime, configuration, fatal)
        probes = {"bus": reaches_broker(bus), "hypervisor": agent.check_hypervisor, "sync": agent.check_sync}
        health = Health(runtime, configuration.get(HealthSettings), "agent", agent.host, probes, agent.facts)
    except errors.DroverError as exc:
        print(f"error: {exc.code}: {exc}", file=sys.stderr)  # noqa: T201  the log may not be there yet
        return exc.exit_code
    code = run(Told(agent, health), runtime, f"agent {agent.host}", fatal=fatal)
    bus.close()
    return code


def _compose(runtime: Runtime, configuration: Configuration, fatal: Fatal) -> tuple[Bus, Agent]:
    settings = configuration.get(AgentSettings)
    machine = LinuxMachine(settings.machine_id_file, settings.boot_id_file)
    host = settings.host or machine.host_name()
    bus = connect(runtime, configuration.get(BusSettings), f"agent-{host}")
    backend = registry.load(settings.driver)(runtime, configuration, settings.state_dir, host)
    ports = Ports(bus=bus, backend=backend, state_dir=FileStateDir(Path(settings.state_dir)), machine=machine)
    stops = points.from_environment(runtime, os.environ)
    return bus, Agent(runtime, ports, settings, configuration.get(TimeSettings), fatal=fatal, points=stops)
