"""What an instance is after a user's update."""

from __future__ import annotations

from dataclasses import replace

from conductor.rule.instance import check_metadata, check_tags
from drover import errors
from drover.objects.instance import Instance
from drover.objects.name import check_hostname
from drover.objects.update import InstanceUpdate

__all__ = ["plan_update"]


def plan_update(now: Instance, update: InstanceUpdate) -> Instance:
    """*now* with the changes of *update*.

    :raises errors.InstanceLocked: it is locked and *update* does not unlock it.
    :raises errors.InvalidName: errors.BadInput: a value is not possible.
    """
    if now.locked and update.locked is not False and update != InstanceUpdate(locked=True):
        raise errors.InstanceLocked(instance=now.name)
    if both := sorted(set(update.set_metadata) & set(update.unset_metadata)):
        raise errors.BadInput(reason=f"metadata {both[0]!r} is both set and unset")
    if both := sorted(set(update.add_tags) & set(update.remove_tags)):
        raise errors.BadInput(reason=f"tag {both[0]!r} is both added and removed")
    metadata = {k: v for k, v in now.metadata.items() if k not in update.unset_metadata} | update.set_metadata
    tags = tuple(sorted((set(now.tags) | set(update.add_tags)) - set(update.remove_tags)))
    check_metadata(metadata)
    check_tags(tags)
    return replace(
        now,
        name=now.name if update.name is None else check_hostname(update.name),
        metadata=metadata,
        tags=tags,
        locked=now.locked if update.locked is None else update.locked,
        restart=now.restart if update.restart is None else update.restart,
    )
