"""Whether the database is an old copy. Agents are the witnesses: sessions only rise, and each keeps its own.

Then nothing may begin, since the rows show as under way what has long ended; ``drover db restored`` settles it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from drover import errors
from drover.db import notice
from drover.db.restored import ALARM, SUBJECT
from drover.objects.sync import SyncRequest

__all__ = ["Past", "seal", "suspects", "witnessed"]


@dataclass(slots=True)
class Past:
    """What one conductor knows of it. One word is read and written, so that no lock is needed."""

    detail: str = ""  # of the alarm that stands; "": none

    def look(self, conn: Connection) -> None:
        """Learn whether the alarm stands: another conductor may have raised it, an operator may have cleared it."""
        standing = {(kind, about): detail for kind, about, detail, _ in notice.alarms(conn)}
        self.detail = standing.get((ALARM, SUBJECT), "")

    def check(self) -> None:
        """:raises errors.OldDatabase: nothing may begin."""
        if self.detail:
            raise errors.OldDatabase(detail=self.detail)


def seal(key: str, host: str, session: int) -> str:
    """What only a conductor of this deployment can have given to the agent of *host* with its session."""
    return hmac.new(key.encode(), f"session\0{host}\0{session}".encode(), hashlib.sha256).hexdigest()


def suspects(requests: Sequence[SyncRequest], known: Mapping[str, tuple[int, int]]) -> list[SyncRequest]:
    """Those in sessions that were never given, as far as this database knows.

    :param known: (session, seq) by host. A host that is unknown proves nothing: it may have been forgotten.
    """
    return [r for r in requests if r.session > known.get(r.host, (r.session, 0))[0]]


def witnessed(requests: Sequence[SyncRequest], known: Mapping[str, tuple[int, int]], key: str) -> str:
    """The proof that one of these agents brings, or "". A session without its seal was made up.

    :param known: (session, seq) by host.
    """
    for request in suspects(requests, known):
        if hmac.compare_digest(seal(key, request.host, request.session).encode(), request.seal.encode()):
            return f"host {request.host} is in session {request.session}, the database knows {known[request.host][0]}"
    return ""
