from __future__ import annotations

import json

from drover.cli.page import ROWS
from drover.objects.page import HostFilter, HostState
from tests.functional.cli.conftest import Drover
from tests.functional.cli.sample import NOW, host, instance, operation
from tests.functional.cli.scripted import Scripted


def test_host_list_and_show(drover: Drover) -> None:
    lines = drover("host", "list").out.splitlines()
    assert lines[1].split()[:4] == ["host-1", "up", "1", "4/32"]
    assert "down" in lines[3]
    assert "up, disabled" in lines[4]
    assert "new disk" in lines[4]
    shown = drover("host", "show", "host-1").out
    assert "5000 of 15872 MiB claimed (32%)" in shown
    assert "(total 16384 - reserved 512) x 1" in shown


def test_a_host_list_is_filtered_by_the_conductor(drover: Drover, scripted: Scripted) -> None:
    options = ("--name", "host-", "--state", "disabled", "--zone", "az1", "--aggregate", "ssd", "--marker", "host-1")
    assert "host-2" in drover("host", "list", *options).out
    assert scripted.asked_of("host_list") == [
        {
            "query": HostFilter(
                name="host-",
                state=HostState.DISABLED,
                availability_zone="az1",
                aggregate="ssd",
                marker="host-1",
                limit=ROWS,
            )
        }
    ]
    refused = drover("host", "list", "--state", "sideways")
    assert refused.status == 2
    assert "'sideways'" in refused.err


def test_a_large_fleet_comes_in_several_messages(drover: Drover, scripted: Scripted) -> None:
    scripted.hosts = [host(n) for n in range(1000, 1000 + 2 * ROWS)]
    page = drover("host", "list", "--format", "json")
    assert len(json.loads(page.out)) == 100
    assert page.err == "warning: there are more: --marker host-1099, or --all\n"
    rest = drover("host", "list", "--limit", "1000", "--marker", "host-1099", "--format", "json")
    assert [it["name"] for it in json.loads(rest.out)] == [f"host-{n}" for n in range(1100, 1200)]
    assert rest.err == ""

    everything = drover("host", "list", "--all", "--format", "json")
    assert [it["name"] for it in json.loads(everything.out)] == [it.name for it in scripted.hosts]
    assert everything.err == ""
    assert all(asked["query"].limit == ROWS for asked in scripted.asked_of("host_list"))


def test_host_enable_disable_adopt(drover: Drover, scripted: Scripted) -> None:
    assert drover("host", "disable", "host-1", "--reason", "new disk").status == 0
    assert drover("host", "enable", "host-1").status == 0
    assert scripted.asked_of("host_set_enabled") == [
        {"host": "host-1", "enabled": False, "reason": "new disk"},
        {"host": "host-1", "enabled": True, "reason": ""},
    ]
    assert drover("host", "adopt", "host-2").status == 0
    assert scripted.asked_of("host_adopt") == [{"host": "host-2"}]


def test_disabling_needs_a_reason(drover: Drover, scripted: Scripted) -> None:
    result = drover("host", "disable", "host-1")
    assert result.status == 2
    assert "--reason" in result.err
    assert scripted.asked == []


def test_unknown_host(drover: Drover) -> None:
    result = drover("host", "show", "nope")
    assert (result.status, result.err) == (3, "error: HostNotFound: no host 'nope'\n")


def test_services_and_alarms(drover: Drover) -> None:
    assert json.loads(drover("service", "list", "--format", "json").out)[0]["name"] == "c1"
    alarms = drover("alarm", "list").out
    assert "orphan-domain" in alarms
    assert f"{NOW:%Y-%m-%d %H:%M:%S}Z" in alarms


def test_operations(drover: Drover, scripted: Scripted) -> None:
    it = operation(instance(1))
    scripted.operations[it.id] = it

    assert it.id in drover("operation", "list", "--unfinished", "--state", "queued").out
    query = scripted.asked_of("operation_list")[0]["query"]
    assert (query.unfinished, query.state) == (True, "queued")
    assert "300 s waiting, 600 s running" in drover("operation", "show", it.id).out
    waited = drover("operation", "wait", it.id, "--format", "json")
    assert json.loads(waited.out)[0]["state"] == "succeeded"
    assert drover("operation", "wait", "nope").status == 3


def test_why_tells_each_decision_with_its_numbers(drover: Drover) -> None:
    shown = drover("why", "db-1").out
    assert "NoValidHost: no valid host for db-1" in shown
    assert "attempt 1" in shown
    assert "attempt 2" in shown
    memory = next(line for line in shown.splitlines() if line.split()[:2] == ["memory", "0"])
    assert memory.split()[-1] == "-1"
    refusal = next(line for line in shown.splitlines() if line.split()[:2] == ["host-1", "memory"])
    assert "512 of 15872 MiB free, 4096 wanted" in refusal
    assert "up; 28 vcpus, 10872 MiB, 190 GiB free" in refusal
    best = next(line for line in shown.splitlines() if line.split()[:1] == ["host-2"])
    assert best.split() == ["host-2", "1.000", "0.820", "1.820", "chosen"]


def test_trace_places_the_steps_of_all_services_on_one_line_of_time(drover: Drover) -> None:
    lines = drover("trace", "web-1").out.splitlines()
    assert "succeeded on host-2 in 1.840 s" in lines[0]
    steps = [line.split() for line in lines[4:]]
    offsets = [float(step[0]) for step in steps]
    assert offsets == sorted(offsets)
    assert [step[2:4] for step in steps][:2] == [["0.012", "s"], ["0.002", "s"]]
    assert any("debian-12, 18.0 MiB fetched" in line for line in lines)


def test_explanations_as_data(drover: Drover) -> None:
    assert len(json.loads(drover("why", "db-1", "--format", "json").out)["decisions"]) == 2
    logs = json.loads(drover("trace", "web-1", "--format", "json").out)["logs"]
    assert [log["service"] for log in logs] == ["conductor@c1", "scheduler@s1", "agent@host-2"]


def test_times_are_utc(drover: Drover) -> None:
    shown = drover("instance", "show", "web-1").out
    assert NOW.strftime("%Y-%m-%d %H:%M:%SZ") in shown
