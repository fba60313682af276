"""What a user may change of an instance without any work on its host."""

from __future__ import annotations

from dataclasses import dataclass, field

from drover.states import RestartPolicy

__all__ = ["InstanceUpdate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceUpdate:
    """Changes, not values: two updates of different things never undo each other. None leaves a thing as it is."""

    name: str | None = None
    set_metadata: dict[str, str] = field(default_factory=dict)
    unset_metadata: tuple[str, ...] = ()  # keys; one that is not there is fine
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    locked: bool | None = None
    restart: RestartPolicy | None = None
