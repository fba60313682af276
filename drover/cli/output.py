"""Printing: rows, one record, or free text; as a table for people, as JSON or YAML for programs.

A table never cuts a value.  On a terminal the least important columns are left out when they do not fit; in a
pipe every column is there, without colour.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TextIO, TypeVar

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from drover.clock import UTC
from drover.objects import codec

__all__ = ["STATE_STYLES", "Column", "Indented", "Printer", "dash", "duration", "moment"]

T = TypeVar("T")

#: wide enough that nothing in a pipe is folded
PIPE_WIDTH = 100_000

#: the colour of each state, of instances, operations, hosts, images and steps alike
STATE_STYLES = {
    "active": "green",
    "running": "green",
    "succeeded": "green",
    "done": "green",
    "up": "green",
    "building": "yellow",
    "queued": "yellow",
    "scheduling": "yellow",
    "dispatched": "yellow",
    "paused": "yellow",
    "disabled": "yellow",
    "cancelled": "yellow",
    "undone": "yellow",
    "stopped": "dim",
    "shutdown": "dim",
    "deleted": "dim",
    "skipped": "dim",
    "error": "red",
    "failed": "red",
    "crashed": "red",
    "down": "red",
    "fenced": "red",
    "suspended": "yellow",
    "rescued": "yellow",
    "shelved_offloaded": "dim",
    "soft-delete": "dim",
}


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column: *show* gives the cell of a value.

    :param drop: 0 keeps it always; of the others, those that the terminal has room for, the lowest first.
    """

    title: str
    show: Callable[[T], str | Text]
    drop: int = 0
    right: bool = False


@dataclass(frozen=True, slots=True)
class Indented:
    """*part*, two columns to the right."""

    part: RenderableType


class Printer:
    """Prints values in the format that was asked for."""

    def __init__(self, format_: str, out: TextIO) -> None:
        self._format = format_
        self._out = out
        self._console = Console(
            file=out,
            width=None if out.isatty() else PIPE_WIDTH,
            highlight=False,
            markup=False,
            emoji=False,
            force_terminal=out.isatty(),
        )

    def rows(self, values: Sequence[T], columns: Sequence[Column[T]]) -> None:
        """A list: a table, or an array of the whole values."""
        if self._as_data(list(values)):
            return
        cells = [[_text(column.show(value)) for column in columns] for value in values]
        fitting = self._fitting(columns, cells)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for index in fitting:
            column = columns[index]
            table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
        for row in cells:
            table.add_row(*(row[index] for index in fitting))
        self._print(table)

    def row(self, value: T, columns: Sequence[Column[T]]) -> None:
        """One thing that was made: a table of one row, or the whole value."""
        if not self._as_data(value):
            self.rows([value], columns)

    def confirm(self, value: object, words: str) -> None:
        """Something was done that leaves nothing to show: *words*, or the whole value."""
        if not self._as_data(value):
            self._out.write(words + "\n")

    def record(self, value: object, fields: Iterable[tuple[str, str | Text]]) -> None:
        """One thing: a field a line, empty ones left out; or the whole value."""
        if self._as_data(value):
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, shown in fields:
            if shown:
                grid.add_row(label, _text(shown))
        self._print(grid)

    def document(self, value: object, parts: Callable[[], Iterable[RenderableType | Indented]]) -> None:
        """An explanation: *parts* one under the other; or the whole value."""
        if self._as_data(value):
            return
        for part in parts():
            self._print(part)

    def flush(self) -> None:
        """Let the reader have what was printed so far: of commands that go on."""
        self._out.flush()

    def _as_data(self, value: object) -> bool:
        if self._format == "table":
            return False
        plain = codec.to_plain(value)
        if self._format == "json":
            self._out.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
        else:
            import yaml

            self._out.write(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120))
        return True

    def _print(self, part: RenderableType | Indented) -> None:
        margin, inner = ("  ", part.part) if isinstance(part, Indented) else ("", part)
        with self._console.capture() as captured:
            self._console.print(inner, width=self._console.width - len(margin))
        # rich fills the last column with blanks
        lines = [f"{margin}{line}".rstrip() for line in captured.get().splitlines()]
        self._out.write("\n".join(lines) + "\n")

    def _fitting(self, columns: Sequence[Column[T]], cells: Sequence[Sequence[Text]]) -> list[int]:
        widths = [
            max([cell_len(column.title), *(cell_len(row[index].plain) for row in cells)]) + 2
            for index, column in enumerate(columns)
        ]
        room = (
            self._console.width
            + 2
            - sum(width for width, column in zip(widths, columns, strict=True) if not column.drop)
        )
        chosen = [index for index, column in enumerate(columns) if not column.drop]
        for index in sorted(range(len(columns)), key=lambda index: columns[index].drop):
            if columns[index].drop and widths[index] <= room:
                room -= widths[index]
                chosen.append(index)
        return sorted(chosen)


def _text(shown: str | Text) -> Text:
    if isinstance(shown, Text):
        return shown
    return Text(shown, style=STATE_STYLES.get(shown, ""))


def moment(at: datetime | None) -> str:
    """``2025-11-22 13:46:03Z``, always UTC; empty for none."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at is not None else ""


def dash(text: Any) -> str:
    """*text*, or a dash where a cell would be empty."""
    return str(text) if text else "-"


def duration(seconds: float) -> str:
    """``0.084 s``, ``12.3 s``, ``4m 05s``, ``3h 12m``, ``2d 04h``."""
    if seconds < 10:
        return f"{seconds:.3f} s"
    if seconds < 100:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"
