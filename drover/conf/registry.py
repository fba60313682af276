"""Every group of this release: what a configuration file may hold, what the docs are generated from."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import drover.conf
from drover.conf.settings import Group

__all__ = ["all_groups"]


def all_groups() -> tuple[type[Group], ...]:
    """The settings classes of the modules of this package, in the order of their sections' names."""
    found: dict[str, type[Any]] = {}
    for module in pkgutil.iter_modules(drover.conf.__path__):
        for value in vars(importlib.import_module(f"drover.conf.{module.name}")).values():
            name = getattr(value, "GROUP", None)
            if isinstance(value, type) and isinstance(name, str):
                found[name] = value
    return tuple(found[name] for name in sorted(found))
