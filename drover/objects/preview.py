"""What an operator's verb comes to, told before it is done and again when it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from drover.objects.host import Host
from drover.objects.instance import Instance

__all__ = ["Consequence", "Cure", "HostChange", "Option", "Recovery", "Settlement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """One thing that changes."""

    subject: str  # "instance web-1", "operation 3cf7…"
    effect: str  # in words


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChange:
    """``host`` is as it is now: before, when it was only a preview; when it was forgotten, as it was."""

    host: Host
    done: bool
    consequences: tuple[Consequence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What settling a restored database comes to."""

    done: bool
    consequences: tuple[Consequence, ...] = ()


class Cure(StrEnum):
    """What ``instance recover`` can do."""

    RESET = "reset"  # vm_state follows what the host shows (Nova's reset-state)
    DELETE = "delete"  # final at once; its host cleans up when it can (Nova's force-delete)
    RETRY = "retry"  # build it again, from the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A cure, and what it would do, or why it is refused."""

    cure: Cure
    refused: str = ""  # "" = it applies
    consequences: tuple[Consequence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What is wrong with an instance, what can be done, and what was."""

    instance: Instance  # as it is now
    diagnosis: tuple[str, ...]  # sentences; empty: nothing is wrong
    options: tuple[Option, ...]
    done: Cure | None = None
    operation_id: str = ""  # of the build or delete that was begun
