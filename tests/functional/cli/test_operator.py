"""Commands of operators: shown before they are done, and never done twice by a lost answer."""

from __future__ import annotations

import io
import json
import sys

import pytest

from drover.cli.action import SPECS
from drover.objects.update import InstanceUpdate
from drover.states import Action, RestartPolicy
from tests.functional.cli.conftest import Drover, Flaky
from tests.functional.cli.sample import instance, operation
from tests.functional.cli.scripted import Scripted

FENCE = ("host", "fence", "host-3", "--attest", "pulled its plug")


class _Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


def types(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """A person at standard input."""
    monkeypatch.setattr(sys, "stdin", _Keyboard(words))


# --- the record of an instance -------------------------------------------------------------------------------


def test_set_and_unset_send_changes_not_values(drover: Drover, scripted: Scripted) -> None:
    options = ("--property", "a=b=c", "--tag", "web", "--tag", "blue", "--restart", "on-failure")
    assert drover("instance", "set", "web-1", *options).status == 0
    assert drover("instance", "unset", "web-1", "--property", "a", "--tag", "web").status == 0
    assert [each["update"] for each in scripted.asked_of("instance_update")] == [
        InstanceUpdate(set_metadata={"a": "b=c"}, add_tags=("web", "blue"), restart=RestartPolicy.ON_FAILURE),
        InstanceUpdate(unset_metadata=("a",), remove_tags=("web",)),
    ]


def test_a_rename_goes_by_the_uuid_so_that_a_repeat_finds_it(drover: Drover, scripted: Scripted, bus: Flaky) -> None:
    bus.unanswered.append("instance_update")
    assert drover("instance", "set", "web-1", "--name", "shop").status == 0
    asked = scripted.asked_of("instance_update")
    assert {each["instance"] for each in asked} == {scripted.instances[0].uuid}
    assert len(asked) == 2


@pytest.mark.parametrize("command", ["set", "unset"])
def test_nothing_to_change_is_refused(drover: Drover, scripted: Scripted, command: str) -> None:
    result = drover("instance", command, "web-1")
    assert (result.status, scripted.asked) == (2, [])


def test_lock_and_unlock_several(drover: Drover, scripted: Scripted) -> None:
    locked = drover("instance", "lock", "web-1", "nope", "web-2")
    assert locked.out == "instance web-1 locked\ninstance web-2 locked\n"
    assert (locked.status, locked.err) == (3, "error: InstanceNotFound: no instance 'nope'\n")
    assert len(json.loads(drover("instance", "unlock", "web-1", "--format", "json").out)) == 1
    updates = [each["update"].locked for each in scripted.asked_of("instance_update")]
    assert updates == [True, True, True, False]


def test_create_and_list_by_tag(drover: Drover, scripted: Scripted) -> None:
    create = ("instance", "create", "db", "--flavor", "small", "--image", "debian-12", "--network", "lan")
    assert drover(*create, "--tag", "blue", "--restart", "always").status == 0
    request = scripted.asked_of("instance_create")[0]["request"]
    assert (request.tags, request.restart) == (("blue",), RestartPolicy.ALWAYS)
    assert drover("instance", "list", "--tag", "web", "--tag", "blue").status == 0
    assert scripted.asked_of("instance_list")[0]["query"].tags == ("web", "blue")


# --- verbs ---------------------------------------------------------------------------------------------------


def test_every_verb_that_users_ask_for_has_a_command() -> None:
    made_otherwise = {Action.BUILD, Action.SOFT_DELETE}  # by create, and by delete where it is configured
    assert {spec.action for spec in SPECS} == set(Action) - made_otherwise


def test_a_snapshot_has_a_name_and_shows_its_image(drover: Drover, scripted: Scripted) -> None:
    assert drover("instance", "snapshot", "web-1").status == 2
    assert drover("instance", "snapshot", "web-1", "web-2", "--name", "x").status == 2
    assert scripted.asked == []
    result = drover("instance", "snapshot", "web-1", "--name", "before-upgrade", "--wait")
    assert result.status == 0
    assert result.out.splitlines()[0].split()[-1] == "IMAGE"
    assert scripted.asked_of("instance_action")[0]["params"] == {"name": "before-upgrade"}


def test_diagnostics_come_from_the_agent_of_the_host(drover: Drover, scripted: Scripted) -> None:
    shown = drover("instance", "diagnostics", "web-1").out
    for words in ("kvm", "81.5 s", "0: 4.200 s used", "vda  read_bytes=1048576", "52:54:00:00:00:01  rx_octets=9000"):
        assert words in shown
    scripted.instances = [instance(1, host="")]
    assert drover("instance", "diagnostics", "web-1").err.startswith("error: InstanceNotPlaced: ")


def test_operation_cancel(drover: Drover, scripted: Scripted) -> None:
    stop, delete = operation(instance(1), Action.STOP), operation(instance(2), Action.DELETE)
    scripted.operations = {stop.id: stop, delete.id: delete}
    result = drover("operation", "cancel", delete.id, stop.id)
    assert result.status == 4
    assert "cancelled" in result.out
    assert result.err == f"error: OperationNotCancellable: a delete cannot be cancelled (operation {delete.id})\n"


# --- shown, asked for, done ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "method"),
    [
        (FENCE, "host_fence"),
        (("host", "forget", "host-3"), "host_forget"),
        (("instance", "recover", "web-1", "--as", "delete"), "instance_recover"),
        (("db", "purge", "--before", "30"), "purge"),
    ],
)
class TestPreviewed:
    def test_a_script_must_say_yes(
        self, drover: Drover, scripted: Scripted, command: tuple[str, ...], method: str
    ) -> None:
        result = drover(*command)
        assert result.status == 2
        assert "--yes" in result.err
        assert all(each["dry_run"] for each in scripted.asked_of(method))

    def test_a_dry_run_changes_nothing(
        self, drover: Drover, scripted: Scripted, command: tuple[str, ...], method: str
    ) -> None:
        assert drover(*command, "--dry-run", "--yes").status == 0
        assert all(each["dry_run"] for each in scripted.asked_of(method))

    def test_yes_does_it(self, drover: Drover, scripted: Scripted, command: tuple[str, ...], method: str) -> None:
        assert drover(*command, "--yes").status == 0
        assert [each["dry_run"] for each in scripted.asked_of(method)] == [True, False]

    def test_a_person_is_asked(
        self,
        drover: Drover,
        scripted: Scripted,
        monkeypatch: pytest.MonkeyPatch,
        command: tuple[str, ...],
        method: str,
    ) -> None:
        types(monkeypatch, "n\ny\n")
        assert drover(*command).status == 130
        assert all(each["dry_run"] for each in scripted.asked_of(method))
        assert drover(*command).status == 0
        assert not scripted.asked_of(method)[-1]["dry_run"]


def test_a_person_sees_what_would_change(drover: Drover, monkeypatch: pytest.MonkeyPatch) -> None:
    types(monkeypatch, "n\n")
    result = drover(*FENCE)
    assert "build of web-7" in result.out
    assert "goes to another host" in result.out
    assert "Is the machine of host-3 off, and will it stay off?" in result.err


def test_a_person_who_says_no_is_told_that_nothing_was_done(
    terminal: Drover, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    types(monkeypatch, "n\n")
    result = terminal(*FENCE)
    assert (result.status, result.out.rstrip().endswith("nothing was done\x1b[0m")) == (130, True)
    assert all(each["dry_run"] for each in scripted.asked_of("host_fence"))


def test_a_fence_needs_a_reason_and_a_silent_host(drover: Drover, scripted: Scripted) -> None:
    assert drover("host", "fence", "host-3", "--yes").status == 2
    assert scripted.asked == []
    refused = drover("host", "fence", "host-1", "--attest", "off", "--yes")
    assert (refused.status, refused.err.split(":")[1].strip()) == (4, "HostUp")


def test_a_repeated_forget_is_done(drover: Drover, scripted: Scripted, bus: Flaky) -> None:
    assert drover("host", "forget", "host-3", "--dry-run").status == 0
    bus.unanswered += ["host_forget"]
    lost = drover("host", "forget", "host-3", "--yes")
    assert (lost.status, lost.out) == (0, "host host-3 forgotten\n")


def test_recover_shows_what_is_wrong_and_which_cures_apply(drover: Drover) -> None:
    shown = drover("instance", "recover", "web-1").out
    for words in ("It is in error: HostFenced", "--as reset  refused: host host-3 is silent", "--as delete"):
        assert words in shown
    refused = drover("instance", "recover", "web-1", "--as", "retry", "--yes")
    assert (refused.status, refused.err.split(":")[1].strip()) == (4, "CureRefused")
    done = json.loads(drover("instance", "recover", "web-1", "--as", "delete", "--yes", "--format", "json").out)
    assert done["done"] == "delete"


def test_purge_goes_on_until_nothing_is_left(drover: Drover, scripted: Scripted) -> None:
    scripted.purges = 3
    result = drover("db", "purge", "--before", "30", "--yes")
    assert (result.status, result.out) == (0, "removed: 1500 operation\n")
    assert drover("db", "purge", "--before", "0.5", "--yes").status == 2


def test_a_purge_of_nothing_asks_nothing(drover: Drover, scripted: Scripted) -> None:
    scripted.purged = {"operation": 0}
    result = drover("db", "purge", "--before", "30")
    assert (result.status, result.out) == (0, "nothing removed\n")
    assert [each["dry_run"] for each in scripted.asked_of("purge")] == [True]


# --- doctor --------------------------------------------------------------------------------------------------


def test_doctor_tells_what_why_and_cure_and_is_status_1(drover: Drover) -> None:
    result = drover("doctor")
    assert result.status == 1
    lines = result.out.splitlines()
    assert lines[0] == "CapacityDrift  host host-1"
    assert [line.split()[0] for line in lines[1:4]] == ["what", "why", "cure"]
    assert lines[-1] == "2 findings; 1 can be healed: drover doctor --heal"
    assert len(json.loads(drover("doctor", "--format", "json").out)["findings"]) == 2


def test_a_clean_fleet_is_status_0(drover: Drover, scripted: Scripted) -> None:
    scripted.findings = ()
    result = drover("doctor", "--heal")
    assert (result.status, result.out) == (0, "no findings\n")


def test_an_audit_that_could_not_be_made_is_status_2(drover: Drover, bus: Flaky) -> None:
    bus.unsent += ["audit"] * 100
    result = drover("doctor", "--timeout", "0.2")
    assert (result.status, result.err.split(":")[1].strip()) == (2, "BusUnavailable")


def test_heal_mends_what_was_shown_and_no_more(drover: Drover, scripted: Scripted) -> None:
    assert drover("doctor", "--heal").status == 2  # nobody to ask
    result = drover("doctor", "--heal", "--yes")
    assert result.status == 1  # one is left
    assert "healed  CapacityDrift: host host-1" in result.out
    assert [each["heal"] for each in scripted.asked_of("audit")] == [(), (), (("CapacityDrift", "host host-1"),)]
