"""What came of a run: figures and violations, as a value and as a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from drover.burnin.ledger import Counts
from drover.burnin.violation import Violation
from drover.cli.output import Indented, duration
from drover.states import OperationState

__all__ = ["Report", "VerbRow", "pages", "percentile", "rows_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbRow:
    """One verb: how often it was asked for, what became of it, and how long it took where it succeeded."""

    verb: str
    asked: int
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    seed: int
    started_at: datetime
    played_s: float  # without settling and cleaning up
    interrupted: bool
    operations: int  # accepted
    operations_per_s: float
    verbs: tuple[VerbRow, ...]
    refusals: Mapping[str, int] = field(default_factory=dict)  # by code
    failures: Mapping[str, int] = field(default_factory=dict)  # by verb and code
    faults: Mapping[str, int] = field(default_factory=dict)  # by kind
    looks: int = 0  # how often the promises were checked during the run
    notes: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()


def percentile(sorted_values: Sequence[float], share: float) -> float | None:
    """The least value that *share* of all are not above (nearest rank); None of none."""
    if not sorted_values:
        return None
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


def rows_of(tally: Mapping[str, Counts]) -> tuple[VerbRow, ...]:
    """A row for each verb that was asked for, by name."""
    return tuple(_row(label, tally[label]) for label in sorted(tally))


def _row(label: str, counts: Counts) -> VerbRow:
    took_s = sorted(counts.latencies_s)
    return VerbRow(
        verb=label,
        asked=counts.asked,
        succeeded=counts.ends[OperationState.SUCCEEDED.value],
        failed=counts.ends[OperationState.FAILED.value],
        cancelled=counts.ends[OperationState.CANCELLED.value],
        refused=counts.refused,
        p50_s=percentile(took_s, 0.50),
        p95_s=percentile(took_s, 0.95),
        p99_s=percentile(took_s, 0.99),
    )


def pages(report: Report) -> Iterator[RenderableType | Indented]:
    """For people."""
    yield _verbs(report.verbs)
    if report.failures:
        yield _counts("FAILURE", report.failures)
    if report.refusals:
        yield _counts("REFUSAL", report.refusals)
    if report.faults:
        yield _counts("FAULT SURVIVED", report.faults)
    for note in report.notes:
        yield Text(f"note: {note}", style="yellow")
    for it in report.violations:
        yield Text.assemble(("violation", "bold red"), f"  {it.subject}: {it.what}")
        yield Indented(Text(it.evidence, style="dim"))
    faults = f", {sum(report.faults.values())} faults" if report.faults else ""
    count = len(report.violations)
    verdict = Text("no violations", style="bold green") if not count else Text(f"{count} violations", style="bold red")
    figures = (
        f"{report.operations} operations in {duration(report.played_s)} ({report.operations_per_s:.1f}/s){faults}, "
    )
    cut_short = ", cut short" if report.interrupted else ""
    yield Text.assemble(figures, verdict, f"{cut_short}; seed {report.seed}")


def _verbs(rows: Sequence[VerbRow]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("VERB")
    for title in ("ASKED", "SUCCEEDED", "FAILED", "CANCELLED", "REFUSED", "P50", "P95", "P99"):
        table.add_column(title, justify="right")
    for row in rows:
        counts = (row.asked, row.succeeded, row.failed, row.cancelled, row.refused)
        times = (row.p50_s, row.p95_s, row.p99_s)
        table.add_row(row.verb, *map(str, counts), *("-" if it is None else duration(it) for it in times))
    return table


def _counts(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title)
    table.add_column("TIMES", justify="right")
    for name, count in sorted(counts.items(), key=lambda it: (-it[1], it[0])):
        table.add_row(name, str(count))
    return table
