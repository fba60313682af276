"""Operators' verbs: what would change is shown, then asked for, then done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from drover import errors
from drover.cli.output import Column
from drover.cli.session import Session
from drover.objects.preview import Consequence

__all__ = ["CONSEQUENCES", "agreed", "previewed"]

F = TypeVar("F", bound=Callable[..., Any])

CONSEQUENCES: tuple[Column[Consequence], ...] = (
    Column("WHAT", lambda it: it.subject),
    Column("CHANGE", lambda it: it.effect),
)


def previewed(function: F) -> F:
    """The options of a verb that is shown before it is done."""
    function = click.option("--yes", is_flag=True, help="Do it without asking.")(function)
    return click.option("--dry-run", is_flag=True, help="Only show what would change.")(function)


def agreed(session: Session, question: str, consequences: Sequence[Consequence], *, yes: bool) -> bool:
    """Show what would change, and ask.

    Data formats are for programs: they see the answer's value, not this.

    :raises drover.errors.BadInput: nobody is there to ask.
    """
    if yes:
        return True
    if session.format != "table" or not sys.stdin.isatty():
        raise errors.BadInput(reason="this changes things and asks first: without a terminal, say --yes or --dry-run")
    if consequences:
        session.printer.rows(consequences, CONSEQUENCES)
        session.printer.flush()
    return click.confirm(question, err=True)
