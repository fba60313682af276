"""One request for each of several things: one that is refused does not keep the others from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click

from drover import errors
from drover.cli.session import Session

__all__ = ["each", "fail"]

T = TypeVar("T")


def each(refs: Iterable[str], work: Callable[[str], T]) -> tuple[list[T], list[errors.DroverError]]:
    """What *work* answered of each, and what was refused.

    :raises drover.errors.Unavailable: nobody is there: the others would only wait as long.
    """
    done: list[T] = []
    refused: list[errors.DroverError] = []
    for ref in dict.fromkeys(refs):
        try:
            done.append(work(ref))
        except errors.Unavailable:
            raise
        except errors.DroverError as exc:
            refused.append(exc)
    return done, refused


def fail(session: Session, refused: Sequence[errors.DroverError]) -> None:
    """Tell all of *refused*, and end with the exit status of the first; nothing when there is none."""
    for error in refused:
        session.error(error)
    if refused:
        raise click.exceptions.Exit(refused[0].exit_code)
