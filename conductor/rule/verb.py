"""Parameters of verbs."""

from __future__ import annotations

from collections.abc import Mapping

from conductor.rule.wish import named_aliases
from drover import errors
from drover.extra_spec import hardware_ask, traits
from drover.objects.catalog import Flavor, Image
from drover.objects.name import LONGEST_NAME, check_name
from drover.states import Action
from drover.units import GIB

__all__ = ["check_fit", "check_parameters", "check_same_kind", "check_wishes"]

#: verbs that nobody asks for by their name
_STARTED_BY: Mapping[Action, str] = {
    Action.BUILD: "build is started by instance create",
    Action.SOFT_DELETE: "soft-delete is what delete does where deleted instances can be restored",
}
#: parameters of few words
_CHOICES: Mapping[Action, Mapping[str, tuple[str, ...]]] = {
    Action.REBOOT: {"type": ("soft", "hard")},
    Action.DELETE: {"force": ("false", "true")},
}
#: parameters that name something
_NAMES: Mapping[Action, tuple[str, ...]] = {
    Action.REBUILD: ("image",),
    Action.RESCUE: ("image",),
    Action.SNAPSHOT: ("name",),
}


def check_parameters(action: Action, params: Mapping[str, str]) -> dict[str, str]:
    """Parameters as they are kept: those given, and what a reboot is when nobody says.

    :raises errors.BadInput: a verb that is no request, a parameter it does not take, or a value it does not know.
    """
    if action in _STARTED_BY:
        raise errors.BadInput(reason=_STARTED_BY[action])
    choices, names = _CHOICES.get(action, {}), _NAMES.get(action, ())
    for name, value in params.items():
        named = name in names and 0 < len(value) <= LONGEST_NAME
        if not named and value not in choices.get(name, ()):
            raise errors.BadInput(reason=f"{action.value} takes no {name}={value[:LONGEST_NAME]}")
    if action is Action.SNAPSHOT:
        check_name(params.get("name", ""), "image")
    return {"type": "soft", **params} if action is Action.REBOOT else dict(params)


def check_fit(flavor: Flavor, image: Image) -> None:
    """:raises errors.InvalidFlavor: an instance of *flavor* is too small for *image*."""
    if flavor.memory_mib < image.min_memory_mib:
        raise errors.InvalidFlavor(
            name=flavor.name, reason=f"{flavor.memory_mib} MiB of memory, the image needs {image.min_memory_mib}"
        )
    if 0 < flavor.disk_gib < image.min_disk_gib:
        raise errors.InvalidFlavor(
            name=flavor.name, reason=f"{flavor.disk_gib} GiB of disk, the image needs {image.min_disk_gib}"
        )


def check_wishes(flavor: Flavor, image: Image) -> None:
    """:raises errors.InvalidFlavor: what flavor and image ask of a host contradicts each other."""
    if flavor.extra_specs or image.properties:
        hardware_ask(flavor, image.properties, named_aliases(flavor))
        traits(flavor, image.properties)


def check_same_kind(flavor: Flavor, image: Image, before: Image) -> None:
    """Whether a guest placed for the image *before* can be rebuilt from *image* where it is.

    :raises errors.InvalidImage: of another architecture. InvalidFlavor: it needs more disk than was claimed.
    """
    if image.architecture != before.architecture:
        reason = f"it is for {image.architecture}, the instance was placed for {before.architecture}"
        raise errors.InvalidImage(image=image.name, reason=reason)
    if flavor.disk_gib == 0 and _gib(image.virtual_size_bytes) > _gib(before.virtual_size_bytes):
        claimed, wanted = _gib(before.virtual_size_bytes), _gib(image.virtual_size_bytes)
        reason = f"{claimed} GiB of disk were claimed for the image before, this one needs {wanted}"
        raise errors.InvalidFlavor(name=flavor.name, reason=reason)


def _gib(size_bytes: int) -> int:
    return -(-size_bytes // GIB)
