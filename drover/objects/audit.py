"""What an audit of the fleet finds, and what a purge takes away."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AuditReport", "Finding", "Healed", "PurgeReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that should not be. (code, subject) names it from one audit to the next."""

    code: str  # stable, e.g. "CapacityDrift"
    subject: str  # "host h1", "instance 5b0e…"
    what: str
    why: str
    cure: str
    healable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """What became of one finding that was to be healed."""

    code: str
    subject: str
    done: bool  # False: it had changed meanwhile, and was left alone
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """``partial`` names checks that found more than they list, and checks that could not be made."""

    findings: tuple[Finding, ...] = ()
    healed: tuple[Healed, ...] = ()
    partial: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeReport:
    """Rows that went, or would go, by table. ``more``: there is more than one call takes; ask again."""

    rows: dict[str, int]
    more: bool = False
