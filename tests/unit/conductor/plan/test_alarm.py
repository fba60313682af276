"""Which alarms should stand, and the table of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conductor.alarm import ALARMS, AlarmKind
from conductor.liveness import Judgement
from conductor.plan.alarm import FLEET, hosts_alarms, settled
from drover.db.host import Pulse
from drover.objects.catalog import Flavor
from drover.objects.host import Fence
from drover.objects.instance import Fault, Instance
from drover.states import VmState

ROOT = Path(__file__).parents[4]
T0 = datetime(2024, 5, 1, tzinfo=UTC)
MASS = (AlarmKind.MASS_SILENCE.value, FLEET)


def silent(name: str) -> tuple[str, str]:
    return (AlarmKind.SILENT_HOST.value, name)


def pulse(name: str, *, up: bool = True, fenced: bool = False) -> Pulse:
    fence = Fence(reason="off", by="op", at=T0) if fenced else None
    return Pulse(host=name, session=1, seq=1, up=up, last_sync_at=T0, fence=fence)


def test_a_host_is_an_alarm_from_the_round_in_which_it_falls_to_that_in_which_it_rises() -> None:
    fell = Judgement(silent=frozenset({"h1"}), fell=frozenset({"h1"}))
    assert set(hosts_alarms([], fell, [pulse("h1"), pulse("h2")]).raised) == {silent("h1")}
    later = hosts_alarms([silent("h1")], Judgement(silent=frozenset({"h1"})), [pulse("h1", up=False)])
    assert (later.raised, later.cleared) == ({}, [])
    rose = hosts_alarms([silent("h1")], Judgement(rose=frozenset({"h1"})), [pulse("h1", up=False)])
    assert rose.cleared == [silent("h1")]


def test_an_alarm_that_was_lost_is_raised_again() -> None:
    assert set(hosts_alarms([], Judgement(), [pulse("h1", up=False)]).raised) == {silent("h1")}


def test_a_fenced_or_forgotten_host_is_no_alarm_any_more() -> None:
    change = hosts_alarms([silent("h1"), silent("h2")], Judgement(), [pulse("h1", up=False, fenced=True)])
    assert (change.raised, change.cleared) == ({}, [silent("h1"), silent("h2")])


def test_mass_silence_stands_until_every_host_that_is_up_was_heard() -> None:
    three = [pulse(f"h{n}") for n in range(3)]
    braked = hosts_alarms([], Judgement(silent=frozenset({"h0", "h1", "h2"}), braked=True), three)
    assert braked.raised == {MASS: "3 of 3 hosts fell silent at once; nothing is moved"}
    just_started = hosts_alarms([MASS], Judgement(), three)
    assert just_started.cleared == []
    assert hosts_alarms([MASS], Judgement(calm=True), three).cleared == [MASS]


def exhausted(code: str = "RestartsExhausted", deleted: bool = False) -> Instance:
    return Instance(
        uuid="i",
        name="web",
        project_id="p",
        user_id="u",
        flavor=Flavor(id="f", name="small", vcpus=1, memory_mib=1, disk_gib=1),
        image_id="m",
        image_name="m",
        vm_state=VmState.STOPPED,
        fault=Fault(code=code, message="", at=T0) if code else None,
        created_at=T0,
        deleted_at=T0 if deleted else None,
    )


@pytest.mark.parametrize(
    ("instances", "over"),
    [
        ({"i": exhausted()}, False),
        ({"i": exhausted("")}, True),
        ({"i": exhausted("DriverError")}, True),
        ({"i": exhausted(deleted=True)}, True),
        ({}, True),
    ],
)
def test_exhausted_restarts_stand_as_long_as_their_fault(instances: dict[str, Instance], over: bool) -> None:
    key = (AlarmKind.RESTARTS_EXHAUSTED.value, "i")
    assert settled([key], (), instances) == ([key] if over else [])


def test_an_orphan_stands_as_long_as_its_host_shows_it() -> None:
    keys = [(AlarmKind.ORPHAN_DOMAIN.value, "h1/a"), (AlarmKind.ORPHAN_DOMAIN.value, "h1/b")]
    assert settled(keys, {"h1/a"}, {}) == [keys[1]]


def test_dead_letters_stand_until_somebody_clears_them() -> None:
    letter = (AlarmKind.DEAD_LETTER.value, "h1")
    assert settled([letter], (), {}) == []
    assert hosts_alarms([letter], Judgement(calm=True), []).cleared == []
    assert [kind for kind, rule in ALARMS.items() if rule.acknowledged] == [
        AlarmKind.DEAD_LETTER,
        AlarmKind.OLD_DATABASE,
    ]


def test_the_table_in_the_docs_is_that_of_the_code() -> None:
    assert set(ALARMS) == set(AlarmKind)
    rows = [f"| `{k}` | {r.about} | {r.meaning} | {r.cleared} | {r.cure} |" for k, r in ALARMS.items()]
    assert "\n".join(rows) in (ROOT / "docs" / "operating.md").read_text()


def test_alarms_are_raised_and_cleared_through_one_module() -> None:
    others = [
        path.name
        for path in (ROOT / "conductor").rglob("*.py")
        if re.search(r"notice\.(raise_alarm|clear)\(", path.read_text()) and path.name != "alarm.py"
    ]
    assert others == []
