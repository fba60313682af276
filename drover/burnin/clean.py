"""Takes away everything that a run made: also what a run left that was cut short."""

from __future__ import annotations

from collections.abc import Callable

from drover import errors
from drover.burnin.fleet import Fleet
from drover.objects.instance import Instance
from drover.objects.update import InstanceUpdate
from drover.states import Action

__all__ = ["clean", "delete_image", "name_of", "stranger_of"]

#: seconds that cleaning may take, and between two rounds of it
_PATIENCE_S = 600.0
_PAUSE_S = 1.0
#: seconds that one round waits for its deletes; what is left then is for the next
_ROUND_S = 60.0


def name_of(seed: int) -> str:
    """The project of a run, the name of its flavor, and what its instances' and images' names begin with."""
    return f"burnin-{seed}"


def stranger_of(seed: int) -> str:
    """The domain on a lab's host that is none of Drover's."""
    return f"stranger-of-{name_of(seed)}"


def clean(fleet: Fleet, seed: int, tell: Callable[[str], None]) -> tuple[Instance, ...]:
    """Delete the run's instances, images and flavor; absent ones are fine. Instances that could not be deleted.

    :raises drover.errors.Unavailable: nobody answers.
    """
    name = name_of(seed)
    deadline = fleet.runtime.clock.monotonic() + _PATIENCE_S
    while left := fleet.instances():
        tell(f"deleting {len(left)} instances")
        fleet.wait([operation for it in left for operation in _delete(fleet, it)], _ROUND_S)
        if fleet.runtime.clock.monotonic() > deadline:
            return left
        fleet.runtime.sleep(_PAUSE_S)
    tell("removing images and flavor")
    for image in fleet.ask(lambda api, ctx: api.image_list(ctx)):
        if image.name.startswith(f"{name}-"):
            delete_image(fleet, image.id)
    for flavor in fleet.ask(lambda api, ctx: api.flavor_list(ctx)):
        if flavor.name == name:
            _absent_is_fine(lambda flavor=flavor: fleet.ask(lambda api, ctx: api.flavor_delete(ctx, flavor.id)))  # type: ignore[misc]
    return ()


def delete_image(fleet: Fleet, image_id: str) -> None:
    """Absent is fine: the request may be a repeat of one that was done."""
    _absent_is_fine(lambda: fleet.ask(lambda api, ctx: api.image_delete(ctx, image_id)))


def _delete(fleet: Fleet, it: Instance) -> list[str]:
    """The operation, unless somebody still plays with the instance: the next round sees."""
    key = fleet.runtime.uuid()
    try:
        if it.locked:
            fleet.ask(lambda api, ctx: api.instance_update(ctx, it.uuid, InstanceUpdate(locked=False)))
        force = {"force": "true"}
        return [fleet.ask(lambda api, ctx: api.instance_action(ctx, it.uuid, Action.DELETE, force, key)).id]
    except (errors.InstanceNotFound, errors.InstanceLocked):
        return []


def _absent_is_fine(work: Callable[[], object]) -> None:
    try:
        work()
    except errors.NotFound:
        return
