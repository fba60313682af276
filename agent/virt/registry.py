"""Virt drivers by name: entry points of group ``drover.virt_drivers``, so that a site adds its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from agent.virt.driver import Backend
from drover import errors
from drover.conf import Configuration
from drover.runtime import Runtime

__all__ = ["GROUP", "Factory", "load"]

GROUP = "drover.virt_drivers"

#: ``factory(runtime, conf, state_dir, host)``: reads its own group of *conf*, keeps its files under the
#: directory *state_dir*, and works for the host of that name
Factory = Callable[[Runtime, Configuration, str, str], Backend]


def load(name: str) -> Factory:
    """The factory of driver *name*.

    :raises errors.InvalidConfig: no such driver, or its dependencies are not installed.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise errors.InvalidConfig(reason=f"no virt driver {name!r}; installed: {', '.join(sorted(found)) or 'none'}")
    try:
        factory: Factory = found[name].load()
    except ImportError as exc:
        raise errors.InvalidConfig(reason=f"virt driver {name!r} cannot be loaded: {exc}") from exc
    return factory
