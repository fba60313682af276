"""Lists in pages: the options that every list takes, and the messages that bring its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar

import click

from drover.cli.session import Session
from drover.objects.page import ListFilter
from drover.rpc.context import RequestContext

__all__ = ["BY_ID", "named", "page", "paged", "rows", "tell_more"]

T = TypeVar("T")
Q = TypeVar("Q", bound=ListFilter)
F = TypeVar("F", bound=Callable[..., Any])

#: rows of one message: a host with its traits and devices has a few KiB, and a message is to stay below 512
ROWS = 100
#: what a marker says of a row
BY_NAME, BY_ID = attrgetter("name"), attrgetter("id")

named = click.option("--name", default="", metavar="PREFIX", help="Names that begin so.")


def paged(marker: str) -> Callable[[F], F]:
    """The options of a list in pages. *marker* is what stands for a row."""

    def options(function: F) -> F:
        for option in (
            click.option("--all", "everything", is_flag=True, help="Every page."),
            click.option(
                "--marker", default="", metavar=marker, help="Begin after this row, the last one of the page before."
            ),
            click.option(
                "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Rows of a page."
            ),
        ):
            function = option(function)
        return function

    return options


def page(
    session: Session,
    ask: Callable[[RequestContext, Q], Sequence[T]],
    query: Q,
    marker: Callable[[T], str] = BY_NAME,
    *,
    everything: bool,
) -> Sequence[T]:
    """As many rows as *query* says, or with *everything* all of them; tells when there are more."""
    found = rows(session, ask, query, marker)
    if everything:
        return list(found)
    shown = list(islice(found, query.limit + 1))
    if len(shown) > query.limit:
        shown.pop()
        tell_more(session, marker(shown[-1]))
    return shown


def rows(
    session: Session,
    ask: Callable[[RequestContext, Q], Sequence[T]],
    query: Q,
    marker: Callable[[T], str] = BY_NAME,
) -> Iterator[T]:
    """All rows of *query* from its marker on; a message is asked for when its first row is taken."""
    while True:
        some = _message(session, ask, query)
        yield from some
        if len(some) < ROWS:
            return
        query = replace(query, marker=marker(some[-1]))


def _message(session: Session, ask: Callable[[RequestContext, Q], Sequence[T]], query: Q) -> Sequence[T]:
    return session.call(lambda: ask(session.context, replace(query, limit=ROWS)))


def tell_more(session: Session, marker: str) -> None:
    """Say that a page was not the last one."""
    session.warn(f"there are more: --marker {marker}, or --all")
