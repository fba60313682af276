"""The commits of a conductor around which a test may end it: each by its name, and with ``.done`` once committed."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Commit"]


class Commit(StrEnum):
    """What a transaction is for. A sync is named for the weightiest thing in it."""

    CREATE = "create"
    ACTION = "action"
    CANCEL = "cancel"
    DISPATCH = "dispatch"  # orders handed out
    UNPLACEABLE = "unplaceable"  # what no host can take fails, or waits for room
    BEGIN = "begin"  # a sync that tells that an order began
    PERMIT = "permit"  # a sync that asks leave to start a domain
    FINISH = "finish"  # a sync that brings results
    SYNC = "sync"
    REAP = "reap"
    UPKEEP = "upkeep"  # what begins by itself
