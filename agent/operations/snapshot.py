"""Snapshot and shelve: a guest's disk becomes an image in the depot.

The copy on this host is named after the operation.  A later incarnation makes it anew and sends it from the
beginning, so an image never consists of two copies; once the depot has checked an image, it stays what it is.
"""

from __future__ import annotations

from agent.operations.guest import find, find_and_remember, start_again, stop
from agent.operations.step import Attempt, Step

__all__ = ["SHELVE", "SNAPSHOT"]


def _snapshot(attempt: Attempt) -> None:
    attempt.made = True
    copy = attempt.driver.snapshot(attempt.uuid, attempt.order.operation_id, attempt.token)
    attempt.snapshot_path = copy.path


def _upload(attempt: Attempt) -> None:
    attempt.backend.images.upload(attempt.snapshot_path, attempt.upload, attempt.token)


def _discard(attempt: Attempt) -> None:
    attempt.driver.discard_snapshot(attempt.uuid, attempt.order.operation_id)


_COPY = (Step("snapshot", _snapshot, undo=_discard), Step("upload", _upload), Step("discard", _discard))

SNAPSHOT = (Step("find", find), *_COPY)
SHELVE = (Step("find", find_and_remember), Step("stop", stop, undo=start_again), *_COPY)
