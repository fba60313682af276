"""``drover instance recover``: what is wrong with an instance, and an operator's ways out."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.console import RenderableType
from rich.text import Text

from drover.cli.confirm import agreed, previewed
from drover.cli.options import Command
from drover.cli.output import STATE_STYLES, Indented
from drover.cli.session import Session, pass_session
from drover.objects.preview import Cure, Option, Recovery

__all__ = ["recover"]


@click.command("recover", cls=Command)
@click.argument("instance")
@click.option("--as", "chosen", type=click.Choice([str(cure) for cure in Cure]), help="The cure to take.")
@previewed
@pass_session
def recover(session: Session, instance: str, chosen: str | None, dry_run: bool, yes: bool) -> None:
    """Show what is wrong with an instance, or cure it.

    Without --as: the diagnosis, and what each cure would do.

    \b
    reset   its state follows what its host shows (Nova's reset-state)
    delete  it is deleted at once; its host cleans up when it can (Nova's force-delete)
    retry   it is built again from its image, when no host can have anything of it
    """
    cure = Cure(chosen) if chosen else None
    seen = session.call(lambda: session.conductor.instance_recover(session.context, instance, cure))
    if cure is None or dry_run:
        session.printer.document(seen, lambda: _parts(seen, cure))
        return
    option = next(option for option in seen.options if option.cure is cure)
    uuid = seen.instance.uuid
    if not agreed(session, f"{cure.capitalize()} instance {seen.instance.name}?", option.consequences, yes=yes):
        raise click.Abort
    # Not repeated when its answer is lost: a second delete or retry would be refused, for what the first has done.
    done = session.conductor.instance_recover(session.context, uuid, cure, dry_run=False)
    operation = f", operation {done.operation_id}" if done.operation_id else ""
    session.printer.confirm(
        done, f"instance {done.instance.name}: {cure} done, it is {done.instance.vm_state}{operation}"
    )


def _parts(seen: Recovery, cure: Cure | None) -> Iterator[RenderableType | Indented]:
    it = seen.instance
    head = Text(f"instance {it.name} is ")
    head.append(str(it.vm_state), style=STATE_STYLES.get(it.vm_state, ""))
    yield head.append(f" on {it.host}" if it.host else ", on no host")
    for sentence in seen.diagnosis or ("Nothing is wrong with it.",):
        yield Indented(Text(sentence))
    for option in seen.options:
        if cure in (None, option.cure):
            yield _title(option)
            yield from (Indented(Text(f"{each.subject} {each.effect}")) for each in option.consequences)


def _title(option: Option) -> Text:
    title = Text(f"--as {option.cure}", style="bold")
    if option.refused:
        title.append(f"  refused: {option.refused}", style="yellow not bold")
    return title
