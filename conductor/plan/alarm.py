"""Which alarms should stand: judged anew each round, so that none is left behind or missed by a crash."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from conductor.alarm import AlarmKind
from conductor.liveness import Judgement
from drover import errors
from drover.db.host import Pulse
from drover.objects.instance import Instance

__all__ = ["FLEET", "Change", "hosts_alarms", "settled"]

#: what the mass silence is about
FLEET = "fleet"

Key = tuple[str, str]  # kind, subject


@dataclass(frozen=True, slots=True)
class Change:
    """What differs from the alarms that stand."""

    raised: Mapping[Key, str] = field(default_factory=dict)  # with their words
    cleared: Sequence[Key] = ()


def hosts_alarms(standing: Collection[Key], judgement: Judgement, pulses: Sequence[Pulse]) -> Change:
    """Those that this conductor's judgement decides on.

    :param pulses: hosts as they were before *judgement* was written.
    """
    silent = {
        (AlarmKind.SILENT_HOST.value, p.host): "it does not sync; its guests may run"
        for p in pulses
        if p.fence is None and (p.host in judgement.fell if p.up else p.host not in judgement.rose)
    }
    wanted: dict[Key, str] = dict(silent)
    mass = (AlarmKind.MASS_SILENCE.value, FLEET)
    if judgement.braked:
        wanted[mass] = f"{len(judgement.silent)} of {len(pulses)} hosts fell silent at once; nothing is moved"
    over = {key for key in standing if key[0] == AlarmKind.SILENT_HOST and key not in silent}
    if mass in standing and judgement.calm:
        over.add(mass)
    return Change(
        raised={key: words for key, words in wanted.items() if key not in standing},
        cleared=sorted(over),
    )


def settled(standing: Collection[Key], orphans: Collection[str], instances: Mapping[str, Instance]) -> list[Key]:
    """Alarms of orphans and of instances whose cause is gone.

    :param orphans: their subjects. :param instances: by uuid, those that alarms are about.
    """
    over: list[Key] = []
    for kind, subject in sorted(standing):
        if kind == AlarmKind.ORPHAN_DOMAIN and subject not in orphans:
            over.append((kind, subject))
        if kind == AlarmKind.RESTARTS_EXHAUSTED and not _exhausted(instances.get(subject)):
            over.append((kind, subject))
    return over


def _exhausted(it: Instance | None) -> bool:
    fault = it.fault if it is not None and it.deleted_at is None else None
    return fault is not None and fault.code == errors.RestartsExhausted.code
