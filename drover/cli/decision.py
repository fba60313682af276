"""One placement decision as people read it: the verdict, the funnel, who was refused and who was best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from drover.cli.output import Indented
from drover.objects.host import Host
from drover.objects.operation import Decision

__all__ = ["BAR", "decision_parts", "grid"]

#: columns of the bars
BAR = 20
#: hosts shown of a refusal; --format json has those that the decision kept
SHOWN = 20


def grid(*kinds: str) -> Table:
    """Columns of a kind each: ``left`` and ``right`` fold when they must, ``number`` and ``bar`` never."""
    made = Table.grid(padding=(0, 2, 0, 0))
    for kind in kinds:
        made.add_column(
            justify="right" if kind in {"right", "number"} else "left",
            overflow="fold",
            no_wrap=kind in {"number", "bar"},
        )
    return made


def decision_parts(decision: Decision, now: Mapping[str, Host]) -> Iterator[RenderableType | Indented]:
    """Everything about one decision but its verdict.

    :param now: hosts by name as they are at this moment, to stand beside what was then.
    """
    if decision.funnel:
        yield Indented(_funnel(decision))
    if decision.refused:
        yield Text()
        yield Indented(_refusals(decision, now))
    if decision.weights:
        yield Text()
        yield Indented(_weights(decision))


def _funnel(decision: Decision) -> Table:
    """One line a filter: how many hosts it left, as a bar, and how many it refused."""
    shown = grid("left", "number", "bar", "left")
    most = max(count for _, count in decision.funnel)
    before = decision.funnel[0][1]
    for name, count in decision.funnel:
        refused = before - count
        bar = "█" * (max(1, round(BAR * count / most)) if count else 0)
        shown.add_row(
            Text(name),
            Text(str(count), style="" if count else "red"),
            Text(bar, style="cyan"),
            Text(f"-{refused}" if refused else "", style="yellow" if count else "red"),
        )
        before = count
    return shown


def _refusals(decision: Decision, now: Mapping[str, Host]) -> Table:
    shown = grid("left", "left", "left", "left")
    shown.add_row(*(Text(title, style="bold") for title in ("refused", "by", "then", "now" if now else "")))
    for host, name, words in decision.refused[:SHOWN]:
        shown.add_row(Text(host), Text(name), Text(words), Text(_now(now[host]) if host in now else "", style="dim"))
    if (rest := _refused(decision) - SHOWN) > 0:
        shown.add_row(
            Text(f"and {rest} more", style="dim"), Text(), Text("drover why … --host HOST", style="dim"), Text()
        )
    return shown


def _refused(decision: Decision) -> int:
    """How many hosts were refused; a decision has words for some of them."""
    return decision.funnel[0][1] - decision.funnel[-1][1] if decision.funnel else len(decision.refused)


def _now(host: Host) -> str:
    """``up; 3 vcpus, 512 MiB, 20 GiB free``."""
    state = ("up" if host.up else "down") + ("" if host.enabled else ", disabled")
    # Below zero when a host came back smaller than what was claimed of it: nothing is free then.
    vcpus = max(0, host.capacity.vcpus - host.used.vcpus)
    memory_mib = max(0, host.capacity.memory_mib - host.used.memory_mib)
    disk_gib = max(0, host.capacity.disk_gib - host.used.disk_gib)
    return f"{state}; {vcpus} vcpus, {memory_mib} MiB, {disk_gib} GiB free"


def _weights(decision: Decision) -> Table:
    names = sorted({name for _, weights, _ in decision.weights for name in weights})
    shown = grid("left", *("right" for _ in names), "number", "left")
    shown.add_row(*(Text(title, style="bold") for title in ("best", *names, "total", "")))
    for host, weights, total in decision.weights:
        won = host == decision.chosen
        shown.add_row(
            Text(host, style="green" if won else ""),
            *(Text(f"{weights.get(name, 0.0):.3f}") for name in names),
            Text(f"{total:.3f}", style="bold" if won else ""),
            Text("chosen" if won else "lost the race" if host in decision.lost else "", style="dim"),
        )
    return shown
