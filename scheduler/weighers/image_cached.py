"""Hosts that have the image already are better: a guest starts there without waiting for bytes."""

from __future__ import annotations

import numpy as np

from scheduler.host_table import FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["ImageCachedWeigher"]


class ImageCachedWeigher:
    name = "image_cached"
    needs_load = True

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.image_id)

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:
        return table.images.having(spec.image_id).astype(np.float64)
