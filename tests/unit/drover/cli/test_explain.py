from __future__ import annotations

import io
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from drover.cli.decision import BAR
from drover.cli.explain import bar, why_parts
from drover.cli.output import Printer
from drover.objects.operation import Decision, Operation
from drover.rpc.conductor import Why
from drover.states import Action, OperationState


def test_a_bar_stands_where_the_step_was() -> None:
    assert bar(0.0, 1.0, 2.0) == "█" * 10
    assert bar(1.0, 1.0, 2.0) == " " * 10 + "█" * 10
    assert bar(1.0, 0.001, 2.0) == " " * 10 + "▏"


seconds = st.floats(min_value=0, max_value=1e6)


@given(seconds, seconds, seconds)
def test_a_bar_is_always_seen_and_never_too_long(start_s: float, duration_s: float, rest_s: float) -> None:
    shown = bar(start_s, duration_s, start_s + duration_s + rest_s)
    assert shown.strip()
    assert len(shown) <= BAR


def test_why_says_for_what_an_operation_waits_and_how_many_hosts_refused() -> None:
    at = datetime(2025, 11, 22, 13, 0, tzinfo=UTC)
    waiting = Operation(
        id="o",
        instance_uuid="i",
        instance_name="db-1",
        action=Action.BUILD,
        state=OperationState.SCHEDULING,
        attempt=1,
        created_at=at,
        waits="no host has 512 MiB of memory free",
    )
    decision = Decision(
        operation_id="o",
        attempt=1,
        funnel=(("all", 9000), ("memory", 0)),
        refused=tuple((f"h{number}", "memory", "no") for number in range(200)),
        at=at,
    )
    found, out = Why(operation=waiting, decisions=(decision,)), io.StringIO()
    Printer("table", out).document(found, lambda: why_parts(found, {}))
    lines = out.getvalue().splitlines()
    assert "waits for room: no host has 512 MiB of memory free" in lines
    assert any(line.split()[:3] == ["and", "8980", "more"] for line in lines)
