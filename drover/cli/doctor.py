"""``drover doctor``: audits the fleet, and mends what is safe to mend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from drover import errors
from drover.cli.confirm import agreed
from drover.cli.options import Command
from drover.cli.output import Indented
from drover.cli.session import Session, pass_session
from drover.objects.audit import AuditReport, Finding
from drover.objects.preview import Consequence
from drover.units import counted

__all__ = ["doctor"]

#: exit status with findings; 0: clean, 2: the audit could not be made
FINDINGS, FAILED = 1, 2


@click.command("doctor", cls=Command)
@click.option("--heal", is_flag=True, help="Mend what is safe to mend, after showing it.")
@click.option("--yes", is_flag=True, help="Mend without asking.")
@pass_session
def doctor(session: Session, heal: bool, yes: bool) -> None:
    """Compare everything that Drover keeps of the fleet, and mend what is safe to mend.

    Each finding says what is wrong, why that matters, and what cures it. For cron: the exit status is 0 when there is
    nothing, 1 with findings, 2 when the audit could not be made.
    """
    try:
        report = session.call(lambda: session.conductor.audit(session.context))
        if heal and (mendable := [it for it in report.findings if it.healable]):
            report = _heal(session, report, mendable, yes=yes)
    except errors.DroverError as exc:
        session.error(exc)
        raise click.exceptions.Exit(FAILED) from None
    session.printer.document(report, lambda: _parts(report))
    if report.findings:
        raise click.exceptions.Exit(FINDINGS)


def _heal(session: Session, report: AuditReport, mendable: Sequence[Finding], *, yes: bool) -> AuditReport:
    """Only what was shown is mended, and only if it is still so."""
    shown = [Consequence(subject=f"{it.code}: {it.subject}", effect=it.cure) for it in mendable]
    if not agreed(session, f"Heal {counted(len(mendable), 'finding')}?", shown, yes=yes):
        return report
    keys = tuple((it.code, it.subject) for it in mendable)
    return session.call(lambda: session.conductor.audit(session.context, keys))


def _words(it: Finding) -> Table:
    words = Table.grid(padding=(0, 2, 0, 0))
    for title, text in (("what", it.what), ("why", it.why), ("cure", it.cure)):
        words.add_row(Text(title, style="dim"), Text(text))
    return words


def _parts(report: AuditReport) -> Iterator[RenderableType | Indented]:
    for each in report.healed:
        head = Text("healed" if each.done else "not healed", style="green" if each.done else "yellow")
        detail = f" ({each.detail})" if each.detail else ""
        yield Text.assemble(head, f"  {each.code}: {each.subject}{detail}")
    for it in report.findings:
        yield Text.assemble((it.code, "bold red"), f"  {it.subject}")
        yield Indented(_words(it))
    for words in report.partial:
        yield Text(f"not all was looked at: {words}", style="yellow")
    mendable = sum(it.healable for it in report.findings)
    end = f"; {mendable} can be healed: drover doctor --heal" if mendable else ""
    yield Text(f"{counted(len(report.findings), 'finding')}{end}" if report.findings else "no findings", style="dim")
