"""``drover schedule``, ``capacity``, ``rebalance`` and ``why --host`` against a scheduler that answers from a script."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest

from drover import errors
from drover.objects.group import Hints
from drover.objects.selection import (
    Capacity,
    HostCapacity,
    HostExplanation,
    Move,
    RebalancePlan,
    Selection,
    SelectionReply,
    SelectionRequest,
    Then,
    Verdict,
)
from drover.rpc import scheduler
from drover.rpc.bus import Address
from drover.rpc.context import RequestContext
from drover.rpc.contract import Endpoint
from tests.functional.cli.conftest import Drover, Flaky
from tests.functional.cli.sample import DECISIONS, NOW, refused

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ASKED = ("--flavor", "small", "--image", "debian-12")


class ScriptedScheduler:
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.busy = 0

    def select(self, ctx: RequestContext, request: SelectionRequest) -> SelectionReply:
        self.asked.append(request)
        if request.flavor != "small":
            raise errors.FlavorNotFound(ref=request.flavor)
        placed = min(request.count, 2)
        return SelectionReply(
            selections=tuple(Selection(host=f"host-{n + 1}", alternates=("host-4",)) for n in range(placed)),
            first=DECISIONS[0],
            refusal=DECISIONS[1] if request.count > placed else None,
        )

    def capacity(self, ctx: RequestContext, request: SelectionRequest) -> Capacity:
        self.asked.append(request)
        if self.busy:
            self.busy -= 1
            raise errors.Unavailable(what="scheduler", detail="it is busy with another question")
        hosts = tuple(
            HostCapacity(host=f"host-{n}", count=30 - n, refuser="memory", words="512 MiB wanted, 96 of 15872 free")
            for n in range(25)
        )
        count = sum(each.count for each in hosts)
        return Capacity(count=count, complete=True, hosts=hosts, roomy=25, full=(("memory", 24), ("up_enabled", 2)))

    def rebalance(self, ctx: RequestContext, most: int = 20) -> RebalancePlan:
        self.asked.append(most)
        move = Move(
            instance_uuid="u",
            instance_name="web-1",
            source="host-1",
            destination="host-2",
            why="memory: host-1 91% → 84%, host-2 35% → 42%",
            spread_before=0.2144,
            spread_after=0.1718,
        )
        return RebalancePlan(
            moves=(move,) * min(most, 2), hosts=4, spread_before=0.2144, spread_after=0.1718, complete=most > 2
        )

    def explain(self, ctx: RequestContext, operation_id: str, host: str) -> HostExplanation:
        self.asked.append((operation_id, host))
        if host == "nowhere":
            raise errors.HostNotFound(ref=host)
        return HostExplanation(
            host=host,
            then=(
                Then(attempt=1, at=NOW, outcome="passed"),
                Then(attempt=2, at=NOW, outcome="refused", refuser="memory", words="4096 MiB wanted, 512 free"),
                Then(attempt=3, at=NOW, outcome="unknown"),
            ),
            verdicts=(Verdict(filter="up_enabled"), Verdict(filter="memory", words="4096 MiB wanted, 100 free")),
            weights={"free_memory": 0.5, "free_vcpus": 0.25},
            total=0.75,
            passed=3,
            better=2,
        )


@pytest.fixture
def asked(bus: Flaky) -> ScriptedScheduler:
    answers = ScriptedScheduler()
    bus.serve(Address("scheduler"), Endpoint(scheduler.CONTRACT, cast("Any", answers)), 1)
    return answers


def test_a_dry_run_shows_where_and_why_no_more(drover: Drover, asked: ScriptedScheduler) -> None:
    shown = drover("schedule", "--dry-run", *ASKED, "--count", "3").out
    assert shown.startswith("2 of 3 would be placed\n")
    words = [line.split() for line in shown.splitlines()]
    assert ["host-1", "1"] in words
    assert ["host-2", "1"] in words
    assert "the first of them" in shown
    assert "why no more" in shown
    assert "512 of 15872 MiB free, 4096 wanted" in shown
    only = drover("schedule", "--dry-run", *ASKED).out
    assert "host-1, else host-4" in only
    assert "why no more" not in only


def test_wishes_reach_the_scheduler(drover: Drover, asked: ScriptedScheduler) -> None:
    wishes = ("--group", "g", "--availability-zone", "z", "--on-host", "h", "--same-host", "a", "--same-host", "b")
    assert drover("schedule", "--dry-run", *ASKED, *wishes, "--different-host", "c", "--count", "4").status == 0
    hints = Hints(group="g", availability_zone="z", host="h", same_host=("a", "b"), different_host=("c",))
    assert asked.asked == [SelectionRequest(flavor="small", image="debian-12", hints=hints, count=4)]
    assert drover("capacity", "--flavor", "small", "--group", "g").status == 0
    assert asked.asked[-1] == SelectionRequest(flavor="small", hints=Hints(group="g"))


def test_capacity_tells_how_many_where_and_what_ends_first(drover: Drover, asked: ScriptedScheduler) -> None:
    lines = drover("capacity", *ASKED).out.splitlines()
    assert lines[0] == "450 more of small fit, on 25 hosts"
    assert lines[2].split()[:3] == ["host-0", "30", "memory"]
    assert any(line.split() == ["and", "5", "more"] for line in lines)
    assert lines[-2].split() == ["memory", "24", "hosts"]


def test_a_busy_scheduler_is_asked_again(drover: Drover, asked: ScriptedScheduler) -> None:
    asked.busy = 1
    assert drover("capacity", *ASKED).status == 0
    assert len(asked.asked) == 2


def test_a_plan_is_shown_move_by_move(drover: Drover, asked: ScriptedScheduler) -> None:
    lines = drover("rebalance", "--plan").out.splitlines()
    assert lines[0] == "2 moves over 4 hosts: spread 0.2144 → 0.1718"
    assert lines[1].split()[:4] == ["web-1", "host-1", "→", "host-2"]
    assert "memory: host-1 91% → 84%" in lines[1]
    assert drover("rebalance", "--plan", "--max-moves", "1").out.splitlines()[-1] == "more would help (--max-moves)"
    assert asked.asked == [20, 1]


def test_what_would_change_something_is_not_done_silently(drover: Drover, asked: ScriptedScheduler) -> None:
    for command in (("schedule", *ASKED), ("rebalance",)):
        result = drover(*command)
        assert (result.status, result.out) == (2, "")
        assert "BadInput" in result.err
    assert asked.asked == []


def test_a_host_tells_its_side_then_and_now(drover: Drover, asked: ScriptedScheduler) -> None:
    shown = drover("why", "db-1", "--host", "host-3").out
    assert asked.asked == [(refused().id, "host-3")]
    words = [line.split() for line in shown.splitlines()]
    assert any(
        line[:3] == ["then", "attempt", "2"] and "refused by memory: 4096 MiB wanted" in " ".join(line)
        for line in words
    )
    assert any(line[:3] == ["then", "attempt", "3"] and "not" in line for line in words)
    assert ["now", "up_enabled", "passes"] in words
    assert any(line[:3] == ["now", "memory", "refuses"] for line in words)
    assert "3 hosts pass every filter now; 2 of them weigh more" in shown
    assert drover("why", "db-1", "--host", "nowhere").status == 3


def test_answers_as_data(drover: Drover, asked: ScriptedScheduler) -> None:
    assert json.loads(drover("capacity", *ASKED, "--format", "json").out)["count"] == 450
    assert len(json.loads(drover("schedule", "--dry-run", *ASKED, "--format", "json").out)["selections"]) == 1
    assert json.loads(drover("rebalance", "--plan", "--format", "json").out)["hosts"] == 4
    assert json.loads(drover("why", "db-1", "--host", "h", "--format", "json").out)["better"] == 2
    assert drover("schedule", "--dry-run", "--flavor", "huge").status == 3


@pytest.mark.parametrize(
    "command",
    [
        ("schedule", "--dry-run", *ASKED, "--count", "3"),
        ("capacity", *ASKED),
        ("rebalance", "--plan"),
        ("why", "db-1", "--host", "host-3"),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_lines_that_fit(
    terminal: Drover, asked: ScriptedScheduler, command: tuple[str, ...], columns: int
) -> None:
    shown = ANSI.sub("", terminal(*command, columns=columns).out)
    assert shown
    assert max(len(line) for line in shown.splitlines()) <= columns
