"""Figures, and the page that shows them."""

from __future__ import annotations

import io
import json
from collections import Counter

from drover.burnin.ledger import Counts
from drover.burnin.report import Report, pages, percentile, rows_of
from drover.burnin.violation import Violation
from drover.cli.output import Printer
from tests.unit.drover.burnin.sample import NOW


def report(**given: object) -> Report:
    counts = Counts(asked=4, refused=1, ends=Counter(succeeded=2, failed=1), latencies_s=[2.0, 1.0])
    values = {
        "seed": 7,
        "started_at": NOW,
        "played_s": 60.0,
        "interrupted": False,
        "operations": 120,
        "operations_per_s": 2.0,
        "verbs": rows_of({"stop": counts}),
        "faults": {"kill agent": 3},
        **given,
    }
    return Report(**values)  # type: ignore[arg-type]


def printed(value: Report, format_: str = "table") -> str:
    out = io.StringIO()
    Printer(format_, out).document(value, lambda: pages(value))
    return out.getvalue()


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile([3.0], 0.5) == 3.0
    assert percentile([], 0.5) is None


def test_a_row_has_what_was_counted() -> None:
    [row] = report().verbs
    assert (row.asked, row.succeeded, row.failed, row.cancelled, row.refused) == (4, 2, 1, 0, 1)
    assert (row.p50_s, row.p99_s) == (1.0, 2.0)


def test_the_page_ends_with_the_verdict() -> None:
    assert printed(report()).splitlines()[-1] == "120 operations in 60.0 s (2.0/s), 3 faults, no violations; seed 7"
    broken = report(violations=(Violation(what="it was lost", subject="instance a", evidence="not listed"),))
    text = printed(broken)
    assert "instance a: it was lost" in text
    assert "not listed" in text
    assert "1 violations" in text.splitlines()[-1]


def test_json_has_everything() -> None:
    data = json.loads(printed(report(), "json"))
    assert data["verbs"][0]["verb"] == "stop"
    assert data["faults"] == {"kill agent": 3}
    assert data["violations"] == []
