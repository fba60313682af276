from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from drover import errors
from drover.objects.operation import ErrorInfo
from drover.states import Action, VmState
from tests.functional.cli.conftest import Drover, Flaky
from tests.functional.cli.sample import instance
from tests.functional.cli.scripted import Scripted, ScriptedAgent

CREATE = ("instance", "create", "db", "--flavor", "small", "--image", "debian-12", "--network", "lan")


def test_create_prints_name_uuid_and_operation(drover: Drover, scripted: Scripted) -> None:
    result = drover(*CREATE, "--count", "2", "--format", "json")

    assert result.status == 0
    rows = json.loads(result.out)
    assert [row["name"] for row in rows] == ["db-1", "db-2"]
    assert [row["operation_id"] for row in rows] == list(scripted.operations)
    assert {row["state"] for row in rows} == {"queued"}


def test_create_sends_everything_that_was_given(drover: Drover, scripted: Scripted, tmp_path: Path) -> None:
    user_data = tmp_path / "user-data"
    user_data.write_text("#!/bin/sh\necho žluť\n")
    options = ("--count", "3", "--min-count", "2", "--key", "me", "--user-data", str(user_data), "--metadata", "a=b=c")

    assert drover(*CREATE, "--network", "dmz", *options).status == 0

    request = scripted.asked_of("instance_create")[0]["request"]
    assert request.networks == ("lan", "dmz")
    assert (request.count, request.min_count, request.key_name) == (3, 2, "me")
    assert request.user_data == "#!/bin/sh\necho žluť\n"
    assert request.metadata == {"a": "b=c"}
    assert len(request.idempotency_key) == 36


def test_network_none_means_no_interface(drover: Drover, scripted: Scripted) -> None:
    assert drover(*CREATE[:-1], "none").status == 0
    assert scripted.asked_of("instance_create")[0]["request"].networks == ()


def test_network_none_beside_another_is_refused(drover: Drover, scripted: Scripted) -> None:
    result = drover(*CREATE, "--network", "none")
    assert result.status == 2
    assert result.err.startswith("error: BadInput: --network none")
    assert scripted.asked == []


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ((*CREATE, "--flavor", "huge"), 3, "FlavorNotFound"),
        ((*CREATE, "--count", "0"), 2, "InvalidCount"),
        ((*CREATE, "--count", "many"), 2, "BadInput"),
        (CREATE[:-2], 2, "BadInput"),
        ((*CREATE, "--user-data", "/nowhere/at/all"), 2, "BadInput"),
        ((*CREATE, "--metadata", "novalue"), 2, "BadInput"),
        (("instance", "show", "nope"), 3, "InstanceNotFound"),
        (("instance", "list", "--status", "happy"), 2, "BadInput"),
        (("instance", "list", "--limit", "0"), 2, "BadInput"),
        (("instance", "delete"), 2, "BadInput"),
        (("instance", "explode", "web-1"), 2, "BadInput"),
    ],
)
def test_wrong_input_is_one_typed_line(drover: Drover, arguments: tuple[str, ...], status: int, code: str) -> None:
    result = drover(*arguments)
    assert result.status == status
    assert result.err.startswith(f"error: {code}: ")
    assert result.err.count("\n") == 1
    assert result.out == ""


def test_user_data_that_is_no_text_is_refused(drover: Drover, tmp_path: Path) -> None:
    file = tmp_path / "user-data"
    file.write_bytes(b"\xff\xfe\x00")
    result = drover(*CREATE, "--user-data", str(file))
    assert (result.status, result.err) == (2, f"error: BadInput: user-data: {file} is no UTF-8 text\n")


def test_errors_are_objects_in_json(drover: Drover) -> None:
    result = drover("--format", "json", "instance", "show", "nope")
    assert json.loads(result.err)["error"] == errors.InstanceNotFound(ref="nope").to_dict()


def test_an_ambiguous_name_is_refused_with_the_candidates(drover: Drover, scripted: Scripted) -> None:
    scripted.instances.append(instance(7, name="web-1"))
    result = drover("instance", "show", "web-1")
    assert result.status == 4
    assert all(it.uuid in result.err for it in scripted.instances if it.name == "web-1")


# --- waiting -----------------------------------------------------------------------------------------------


def test_wait_asks_once_for_all_and_shows_where_they_run(drover: Drover, scripted: Scripted) -> None:
    result = drover(*CREATE, "--count", "3", "--wait")

    assert result.status == 0
    assert len(scripted.asked_of("operation_wait")) == 1
    assert len(scripted.asked_of("operation_wait")[0]["ids"]) == 3
    lines = result.out.splitlines()
    assert lines[0].split() == ["NAME", "BUILD", "HOST", "ADDRESSES", "UUID", "OPERATION"]
    assert lines[1].split()[:4] == ["db-1", "succeeded", "host-1", "10.20.0.12"]
    assert result.err == ""


def test_a_failed_build_is_status_5_with_the_reason(drover: Drover, scripted: Scripted) -> None:
    scripted.endings["db-2"] = ErrorInfo(code="NoValidHost", message="no room for db-2")
    result = drover(*CREATE, "--count", "2", "--wait", "--format", "yaml")

    assert result.status == 5
    assert "build of db-2 failed: NoValidHost: no room for db-2" in result.err
    rows = yaml.safe_load(result.out)
    assert [row["state"] for row in rows] == ["succeeded", "failed"]
    assert rows[1]["error"].endswith("no room for db-2")


def test_min_count_is_content_with_fewer(drover: Drover, scripted: Scripted) -> None:
    scripted.endings["db-2"] = ErrorInfo(code="NoValidHost", message="no room for db-2")
    result = drover(*CREATE, "--count", "2", "--min-count", "1", "--wait")
    assert result.status == 0
    assert "db-2" in result.err


def test_a_wait_that_is_over_says_how_to_go_on(drover: Drover, scripted: Scripted) -> None:
    scripted.never_ends = True
    result = drover(*CREATE, "--wait", "--timeout", "0.2")

    assert result.status == 7
    (operation_id,) = scripted.operations
    assert f"drover operation wait {operation_id}" in result.err
    assert "error: WaitTimeout: still 1 queued after 0.2 s" in result.err


def test_the_wait_outlives_a_conductor_that_is_away(drover: Drover, bus: Flaky) -> None:
    bus.unsent += ["operation_wait", "operation_wait"]
    assert drover(*CREATE, "--wait").status == 0
    assert bus.unsent == []


# --- one effect --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["unsent", "unanswered"])
def test_a_repeated_create_carries_the_same_key(drover: Drover, scripted: Scripted, bus: Flaky, failing: str) -> None:
    getattr(bus, failing).append("instance_create")
    result = drover(*CREATE, "--format", "json")

    assert result.status == 0
    assert len(scripted.operations) == 1
    asked = scripted.asked_of("instance_create")
    assert len(asked) == (1 if failing == "unsent" else 2)
    assert len({each["request"].idempotency_key for each in asked}) == 1
    assert len({ctx.request_id for ctx in scripted.contexts}) == 1


def test_a_repeated_verb_carries_the_same_key(drover: Drover, scripted: Scripted, bus: Flaky) -> None:
    bus.unanswered.append("instance_action")
    assert drover("instance", "reboot", "web-1").status == 0
    keys = [each["key"] for each in scripted.asked_of("instance_action")]
    assert len(keys) == 2
    assert keys[0] == keys[1] != ""


def test_two_commands_carry_different_keys(drover: Drover, scripted: Scripted) -> None:
    for _ in range(2):
        drover("instance", "start", "web-1")
    first, second = scripted.asked_of("instance_action")
    assert first["key"] != second["key"]


def test_a_service_that_stays_away_is_status_6(drover: Drover, bus: Flaky) -> None:
    bus.unsent += ["instance_list"] * 100
    result = drover("instance", "list", "--timeout", "0.3")
    assert result.status == 6
    assert result.err == "error: BusUnavailable: message bus unavailable: connection refused\n"


# --- verbs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "action", "params"),
    [
        (("delete",), Action.DELETE, {}),
        (("start",), Action.START, {}),
        (("stop",), Action.STOP, {}),
        (("reboot",), Action.REBOOT, {"type": "soft"}),
        (("reboot", "--hard"), Action.REBOOT, {"type": "hard"}),
        (("delete", "--force"), Action.DELETE, {"force": "true"}),
        (("pause",), Action.PAUSE, {}),
        (("unpause",), Action.UNPAUSE, {}),
        (("suspend",), Action.SUSPEND, {}),
        (("resume",), Action.RESUME, {}),
        (("rebuild",), Action.REBUILD, {}),
        (("rebuild", "--image", "debian-13"), Action.REBUILD, {"image": "debian-13"}),
        (("rescue", "--image", "grml"), Action.RESCUE, {"image": "grml"}),
        (("unrescue",), Action.UNRESCUE, {}),
        (("shelve",), Action.SHELVE, {}),
        (("unshelve",), Action.UNSHELVE, {}),
        (("restore",), Action.RESTORE, {}),
    ],
)
def test_verbs(
    drover: Drover, scripted: Scripted, arguments: tuple[str, ...], action: Action, params: dict[str, str]
) -> None:
    result = drover("instance", *arguments, "web-1", "web-2", "--wait")
    assert result.status == 0
    asked = scripted.asked_of("instance_action")
    assert [each["instance"] for each in asked] == ["web-1", "web-2"]
    assert {(each["action"], tuple(each["params"].items())) for each in asked} == {(action, tuple(params.items()))}
    assert len(scripted.asked_of("operation_wait")) == 1
    assert result.out.count("succeeded") == 2


def test_one_refused_target_does_not_keep_the_others_from_it(drover: Drover, scripted: Scripted) -> None:
    result = drover("instance", "delete", "nope", "web-2", "--wait")
    assert result.status == 3
    assert result.err == "error: InstanceNotFound: no instance 'nope'\n"
    assert "web-2" in result.out


# --- list, show, console -----------------------------------------------------------------------------------


def test_list_filters_and_pages(drover: Drover, scripted: Scripted) -> None:
    scripted.page_size = 2
    scripted.instances = [instance(n) for n in range(1, 6)]

    page = drover("instance", "list", "--name", "web", "--host", "host-1", "--status", "active", "--format", "json")
    query = scripted.asked_of("instance_list")[0]["query"]
    assert (query.name, query.host, query.vm_state, query.limit) == ("web", "host-1", "active", 100)
    assert [it["name"] for it in json.loads(page.out)] == ["web-1", "web-2"]
    assert f"--marker {scripted.instances[1].uuid}" in page.err

    following = drover("instance", "list", "--marker", scripted.instances[1].uuid, "--format", "json")
    assert [it["name"] for it in json.loads(following.out)] == ["web-3", "web-4"]

    everything = drover("instance", "list", "--all", "--format", "json")
    assert [it["name"] for it in json.loads(everything.out)] == [f"web-{n}" for n in range(1, 6)]
    assert everything.err == ""


def test_show_tells_host_addresses_usage_fault_and_clean_up(drover: Drover, scripted: Scripted) -> None:
    scripted.instances = [
        instance(
            1,
            vm_state=VmState.ERROR,
            cleanup_hosts=("host-2", "host-3"),
            fault={"code": "HostSilent", "message": "host 'host-2' did not answer", "at": "2025-11-22T13:00:00Z"},
        )
    ]
    shown = drover("instance", "show", "web-1").out
    for words in (
        "10.20.0.10  52:54:00:00:00:01  lan",
        "HostSilent: host 'host-2' did not answer (2025-11-22 13:00:00Z)",
        "pending on host-2, host-3",
        "512.0 MiB given, 230.0 MiB resident",
        "12.4 s",
    ):
        assert words in shown


def test_console_log_comes_from_the_agent_of_the_host(drover: Drover, console: ScriptedAgent) -> None:
    result = drover("instance", "console-log", "web-1")
    assert (result.status, result.out) == (0, console.text)


def test_console_log_of_an_instance_without_a_host(drover: Drover, scripted: Scripted) -> None:
    scripted.instances = [instance(1, host="", vm_state=VmState.BUILDING)]
    result = drover("instance", "console-log", "web-1")
    assert result.status == 4
    assert result.err.startswith("error: InvalidState: ")


def test_the_project_goes_along(drover: Drover, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    drover("--project", "lab", "instance", "list")
    drover("instance", "list", "--project", "prod")
    monkeypatch.setenv("DROVER_PROJECT", "env")
    drover("instance", "list")
    assert [ctx.project_id for ctx in scripted.contexts] == ["lab", "prod", "env"]
