"""Pages of lists that are sorted by name."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Select, func

from drover.objects.page import ListFilter

__all__ = ["begins", "paged"]


def begins(column: Column[Any], prefix: str) -> ColumnElement[bool]:
    """Whether the column begins so, letter by letter. (LIKE would not tell a from A on SQLite.)"""
    return func.substr(column, 1, len(prefix)) == prefix


def paged(query: Select[Any], name: Column[Any], only: ListFilter) -> Select[Any]:
    """*query* by *name*, narrowed to what *only* asks for."""
    if only.name:
        query = query.where(begins(name, only.name))
    if only.marker:
        query = query.where(name > only.marker)
    if only.limit:
        query = query.limit(only.limit)
    return query.order_by(name)
