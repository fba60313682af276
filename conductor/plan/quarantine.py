"""Which hosts are set aside because builds fail there: a circuit breaker for each host.

Closed: so many failures within the window open it.  Open: no guest comes for a rest.  Half open: guests may come
again, and once one is on its way no other may, until it is seen how that ends: well, and all is forgotten; badly, and
the host rests for twice as long as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from conductor.effect import BuildFailed
from drover import errors
from drover.conf.conductor import ConductorSettings
from drover.db.quarantine import TRIED, Failure, Quarantine, Suspect
from drover.objects.operation import ErrorInfo, Operation
from drover.states import OperationState
from drover.units import counted

__all__ = ["Standing", "failure_of", "plan_quarantine"]

#: of the columns
LONGEST_CAUSE = 255
LONGEST_CODE = 64


def failure_of(op: Operation, host: str, error: ErrorInfo) -> list[BuildFailed]:
    """Whether *host* is to blame for a build that failed there.

    Not for what no host could do (such errors are not retryable), nor for what was cancelled.  A fetch may fail for
    its host's sake or its image's: one image counts once.
    """
    if not error.retryable or error.code == errors.OperationCancelled.code:
        return []
    of_image = error.code == errors.ImageFetchFailed.code
    cause = f"image {error.params.get('image', '')}" if of_image else op.id
    return [BuildFailed(host, _plain(cause, LONGEST_CAUSE), _plain(error.code, LONGEST_CODE))]


def _plain(text: str, most: int) -> str:
    """What a column takes of a word that an agent sent."""
    return "".join(each for each in text if each.isprintable())[:most]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a host shall stand.

    :param reason: why the scheduler gives it nothing; "": it may.
    :param failures: as the scheduler weighs them.
    :param forgiven: what failed there counts no more.
    :param alarm: words, "" for none.
    """

    quarantine: Quarantine | None
    reason: str
    failures: int
    forgiven: bool = False
    alarm: str = ""


def plan_quarantine(
    suspects: Sequence[Suspect], hosts: int, settings: ConductorSettings, now: datetime
) -> Mapping[str, Standing]:
    """By host, for all *suspects*. Those that failed most often are set aside first, while the fleet has *hosts* enough."""
    places = int(settings.quarantine_share * hosts) - sum(each.quarantine is not None for each in suspects)
    found: dict[str, Standing] = {}
    for each in sorted(suspects, key=lambda it: (-len(it.failures), it.host)):
        found[each.host] = _standing(each, settings, now, may=places > 0)
        places -= found[each.host].quarantine is not None and each.quarantine is None
    return found


def _standing(it: Suspect, settings: ConductorSettings, now: datetime, *, may: bool) -> Standing:
    recent = [each for each in it.failures if each.at >= now - timedelta(seconds=settings.quarantine_window_s)]
    kept = it.quarantine
    if kept is None:
        return _while_closed(it, recent, settings, now, may=may)
    if now >= kept.until:
        since_then = [each for each in recent if each.at >= kept.until]
        if since_then:
            rest_s = min(2 * kept.rest_s, settings.quarantine_rest_max_s)
            kept = _set_aside(it.host, since_then, rest_s, now, since=kept.since)
        elif OperationState.SUCCEEDED in it.since_rest:
            return Standing(quarantine=None, reason="", failures=0, forgiven=True)
    reason = kept.reason
    if now >= kept.until:
        reason = TRIED if it.since_rest else ""
    return Standing(quarantine=kept, reason=reason, failures=len(recent), alarm=kept.reason)


def _while_closed(
    it: Suspect, recent: Sequence[Failure], settings: ConductorSettings, now: datetime, *, may: bool
) -> Standing:
    if not 0 < settings.quarantine_failures <= len(recent):
        return Standing(quarantine=None, reason="", failures=len(recent))
    if not may:
        words = (
            f"{_told(recent)}; it is not set aside: no more than {settings.quarantine_share:.0%} of the hosts may be"
        )
        return Standing(quarantine=None, reason="", failures=len(recent), alarm=words)
    new = _set_aside(it.host, recent, settings.quarantine_rest_s, now, since=now)
    return Standing(quarantine=new, reason=new.reason, failures=len(recent), alarm=new.reason)


def _set_aside(host: str, failures: Sequence[Failure], rest_s: float, now: datetime, *, since: datetime) -> Quarantine:
    until = now + timedelta(seconds=rest_s)
    reason = f"{_told(failures)}; a build may try it after {until:%H:%M:%S} UTC"
    return Quarantine(host=host, reason=reason, since=since, until=until, rest_s=rest_s)


def _told(failures: Iterable[Failure]) -> str:
    """``5 builds failed here: DiskFull 3, DriverError 2``."""
    codes = Counter(each.code for each in failures)
    each = ", ".join(f"{code} {count}" for code, count in sorted(codes.items(), key=lambda it: (-it[1], it[0])))
    return f"{counted(codes.total(), 'build')} failed here: {each}"
