"""Values that cross a seam: frozen, slotted, keyword-only dataclasses of plain fields.

They travel as JSON by :mod:`drover.objects.codec`: unknown fields are ignored, missing ones take their
defaults, so that two releases can talk.
"""

from dataclasses import is_dataclass

from drover.objects import (
    address,
    audit,
    catalog,
    codec,
    deployment,
    guest,
    host,
    instance,
    name,
    operation,
    placement,
    preview,
    sync,
    update,
)

for _module in (
    address,
    audit,
    catalog,
    deployment,
    guest,
    host,
    instance,
    name,
    operation,
    placement,
    preview,
    sync,
    update,
):
    codec.prepare(*(kind for kind in vars(_module).values() if isinstance(kind, type) and is_dataclass(kind)))
