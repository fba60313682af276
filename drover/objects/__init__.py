"""Values that cross a seam: frozen, slotted, keyword-only dataclasses of plain fields.

They travel as JSON by :mod:`drover.objects.codec`: unknown fields are ignored, missing ones take their
defaults, so that two releases can talk.
"""

from dataclasses import is_dataclass
from importlib import import_module
from pkgutil import iter_modules

from drover.objects import codec

for _found in iter_modules(__path__, f"{__name__}."):
    _kinds = vars(import_module(_found.name)).values()
    codec.prepare(*(kind for kind in _kinds if isinstance(kind, type) and is_dataclass(kind)))
