"""What the two kinds of database have in common below :class:`drover.db.engine.Database`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import event

from drover.db.failure import translate
from drover.runtime import Lock

__all__ = ["Backend", "guard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Two engines, so that readers are held to reading and never wait for a writer's connection."""

    writer: sa.Engine
    reader: sa.Engine
    write_gate: Lock | None = None  # held around each write
    read_gate: Lock | None = None  # held around each read
    release: Callable[[], None] | None = None  # after the connections are closed

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            if self.release is not None:
                stack.callback(self.release)
            stack.callback(self.writer.dispose)
            stack.callback(self.reader.dispose)


def guard(engine: sa.Engine) -> sa.Engine:
    """Make every error of *engine*'s driver leave as one of drover.errors, already inside a transaction's block."""

    def replace(context: sa.engine.ExceptionContext) -> BaseException | None:
        error = context.sqlalchemy_exception or context.original_exception
        return translate(error) if isinstance(error, sa.exc.SQLAlchemyError) else None

    event.listen(engine, "handle_error", replace)
    return engine
