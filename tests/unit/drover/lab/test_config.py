"""Every file a lab writes is one that Drover's processes take."""

from __future__ import annotations

from pathlib import Path

import pytest

from drover.conf import load
from drover.conf.agent import AgentSettings
from drover.conf.bus import BusSettings
from drover.conf.conductor import ConductorSettings
from drover.conf.depot import DepotSettings
from drover.conf.registry import all_groups
from drover.conf.times import TimeSettings
from drover.lab import config
from drover.lab.layout import Layout
from drover.lab.spec import Driver, LabSpec

LAYOUT = Layout(Path("/lab"))
BROKER = "rabbit://drover:secret@127.0.0.1:20000/drover"
URLS = (BROKER, "postgresql+psycopg://drover:secret@127.0.0.1:20003/drover")


def lab(driver: Driver, *, links: bool = True) -> LabSpec:
    return LabSpec(
        hosts=2,
        driver=driver,
        links=links,
        conductors=2,
        first_port=20000,
        settings={"times": {"sync_interval_s": "1"}},
    )


@pytest.mark.parametrize("driver", list(Driver))
def test_files_hold_only_what_this_release_knows(driver: Driver, tmp_path: Path) -> None:
    spec = lab(driver)
    files = [
        config.drover_config(BROKER),
        config.conductor_config(spec, LAYOUT, "conductor2", URLS),
        config.scheduler_config(spec, "scheduler", URLS),
        config.agent_config(spec, LAYOUT, "host2", BROKER),
    ]
    for number, sections in enumerate(files):
        path = tmp_path / f"{number}.conf"
        path.write_text(config.render(sections))
        load([str(path)], known=all_groups())


def test_settings_of_the_lab_reach_every_process(tmp_path: Path) -> None:
    path = tmp_path / "agent.conf"
    path.write_text(config.render(config.agent_config(lab(Driver.FAKE), LAYOUT, "host2", BROKER)))
    read = load([str(path)])
    assert read.get(TimeSettings).sync_interval_s == 1.0
    agent = read.get(AgentSettings)
    assert (agent.host, agent.driver, agent.state_dir) == ("host2", "fake", "/lab/hosts/host2/agent")
    assert agent.total_vcpus > 0


@pytest.mark.parametrize(
    ("spec", "seen"),
    [
        (lab(Driver.LIBVIRT), "10.77.0.254:20000"),
        (lab(Driver.FAKE), "127.0.0.1:20018"),
        (lab(Driver.FAKE, links=False), "127.0.0.1:20000"),
    ],
)
def test_an_agent_finds_the_broker_its_own_way(spec: LabSpec, seen: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.conf"
    path.write_text(config.render(config.agent_config(spec, LAYOUT, "host2", BROKER)))
    assert load([str(path)]).get(BusSettings).transport_url == f"rabbit://drover:secret@{seen}/drover"


def test_each_conductor_has_a_depot_of_its_own_that_agents_and_clients_reach(tmp_path: Path) -> None:
    depots = []
    for name in ("conductor", "conductor2"):
        path = tmp_path / f"{name}.conf"
        path.write_text(config.render(config.conductor_config(lab(Driver.LIBVIRT), LAYOUT, name, URLS)))
        read = load([str(path)])
        assert read.get(ConductorSettings).name == name
        depots.append(read.get(DepotSettings))
    assert [depot.url for depot in depots] == ["http://10.77.0.254:20004", "http://10.77.0.254:20005"]
    assert [depot.upload_url for depot in depots] == ["http://127.0.0.1:20004", "http://127.0.0.1:20005"]
    assert [depot.listen_port for depot in depots] == [20004, 20005]
