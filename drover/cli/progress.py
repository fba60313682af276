"""Progress bars on standard error: for people at a terminal, silent for everyone else."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from drover.objects.operation import Operation
from drover.states import FINAL_STATES, OperationState

__all__ = ["is_watched", "of_bytes", "of_operations"]


def is_watched() -> bool:
    """Whether somebody sees standard error as it comes."""
    return sys.stderr.isatty()


@contextmanager
def of_bytes(words: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes the count of bytes done so far."""
    if not is_watched():
        yield lambda _: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=30),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(words, total=total_bytes)
        yield lambda done_bytes: shown.update(task, completed=done_bytes)


@contextmanager
def of_operations(total: int) -> Iterator[Callable[[Sequence[Operation]], None]]:
    """Gives a function that takes the operations as they are now."""
    if not is_watched():
        yield lambda _: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.BarColumn(bar_width=30),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.fields[failed]}", style="red"),
        progress.TextColumn("{task.description}", markup=False),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("waiting", total=total, failed="")

        def tell(operations: Sequence[Operation]) -> None:
            ended = [operation for operation in operations if operation.state in FINAL_STATES]
            failed = sum(operation.state != OperationState.SUCCEEDED for operation in ended)
            shown.update(
                task,
                completed=len(ended),
                description=doing(operations),
                failed=f"{failed} failed" if failed else "",
            )

        yield tell


def doing(operations: Sequence[Operation]) -> str:
    """``build web-3: running`` of one, ``2 queued, 5 running`` of many."""
    if len(operations) == 1:
        return f"{operations[0].action} {operations[0].instance_name}: {operations[0].state}"
    counts = Counter(operation.state for operation in operations)
    under_way = [f"{counts[state]} {state}" for state in OperationState if counts[state] and state not in FINAL_STATES]
    return ", ".join(under_way) or "done"
