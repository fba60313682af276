"""Quotas: what a project may have at once, and what it has."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["RESOURCES", "UNLIMITED", "Amounts", "Quota", "QuotaChange"]

#: a limit that is none, as Nova writes it
UNLIMITED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """So much of each resource that has a quota; as limits, :data:`UNLIMITED` is allowed."""

    instances: int = 0
    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    addresses: int = 0  # one for each network of an instance

    def of(self, resource: str) -> int:
        """The amount of one of :data:`RESOURCES`."""
        amount: int = getattr(self, resource)
        return amount

    def plus(self, other: Amounts, times: int = 1) -> Amounts:
        """This and *times* the *other*."""
        return Amounts(**{name: self.of(name) + times * other.of(name) for name in RESOURCES})


#: in the order in which they are shown and checked
RESOURCES: tuple[str, ...] = tuple(field.name for field in fields(Amounts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A project's limits and use. An instance counts until it is deleted: shelved, soft-deleted or in error as well."""

    project_id: str
    limits: Amounts
    used: Amounts

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return any(self.limits.of(name) != UNLIMITED for name in RESOURCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaChange:
    """New limits; None leaves one as it is."""

    instances: int | None = None
    vcpus: int | None = None
    memory_mib: int | None = None
    disk_gib: int | None = None
    addresses: int | None = None
