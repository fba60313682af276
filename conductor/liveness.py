"""Judging silence: by this conductor's own monotonic clock, and only while it can hear (DESIGN §3).

It cannot while its own echo does not come back through the broker, while there is no database that syncs could be
written to, and while it stands still itself.  After each of these, and when it starts, it listens anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from drover.db.host import Pulse

__all__ = ["Judgement", "Liveness"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """``braked``: too many fell silent at once; nothing may be moved because of silence. ``deaf``: nobody could be heard."""

    silent: frozenset[str] = frozenset()
    fell: frozenset[str] = frozenset()  # up in the database, silent now
    rose: frozenset[str] = frozenset()  # down in the database, speaking now
    braked: bool = False
    deaf: bool = False
    calm: bool = False  # every host that is up was heard by this conductor, and speaks


@dataclass(slots=True)
class _Heard:
    mark: tuple[int, int]  # (session, seq)
    since: float  # monotonic
    moved: bool = False  # seen to change by this conductor: a sync arrived, this is no old row


@dataclass(slots=True)
class Liveness:
    """What one conductor has heard of each host.

    :param round_s: between two rounds of judging; one that is late by half the time of silence was held up.
    :param recovery_s: after an outage, until a host speaks again: a call that must run out, and a pause before the next.
    """

    silent_after_s: float
    brake_share: float
    round_s: float = 0.0
    recovery_s: float = 0.0
    _heard: dict[str, _Heard] = field(default_factory=dict)
    _fell_at: dict[str, float] = field(default_factory=dict)  # hosts this conductor let fall, and when
    _judged_at: float = -math.inf

    def outage(self) -> None:
        """The rows could not be read, so nobody could write to them either: listen anew."""
        self._judged_at = -math.inf

    def judge(self, pulses: Sequence[Pulse], now: float, *, echo: bool) -> Judgement:
        """Judge all hosts from their rows.

        :param now: monotonic seconds.
        :param echo: whether a message of this conductor to itself came back; if not, it is this conductor that is
            cut off.
        """
        deaf = not echo or now - self._judged_at > self.round_s + self.silent_after_s / 2
        self._judged_at = now
        since = now + self.recovery_s if deaf else now
        before, self._heard = self._heard, {}  # a host that is judged again after a while (it was fenced) is new
        for pulse in pulses:
            mark = (pulse.session, pulse.seq)
            heard = before.get(pulse.host)
            moved = heard is not None and heard.mark != mark
            self._heard[pulse.host] = _Heard(mark, since, moved) if heard is None or moved or deaf else heard
        if not echo:
            return Judgement(deaf=True)
        silent = {p.host for p in pulses if now - self._heard[p.host].since > self.silent_after_s}
        fell = {p.host for p in pulses if p.up and p.host in silent}
        rose = {p.host for p in pulses if not p.up and p.host not in silent and self._heard[p.host].moved}
        # Hosts that go together are not noticed in the same round: those of the last window count too.
        together = fell | {host for host, at in self._fell_at.items() if now - at <= self.silent_after_s}
        braked = len(together) >= 3 and len(together) > self.brake_share * len(pulses)
        if not braked:
            self._fell_at.update(dict.fromkeys(fell, now))
        return Judgement(
            silent=frozenset(silent),
            fell=frozenset() if braked else frozenset(fell),
            rose=frozenset(rose),
            braked=braked,
            deaf=deaf,
            calm=all(self._heard[p.host].moved and p.host not in silent for p in pulses if p.up),
        )
