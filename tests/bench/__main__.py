"""Every benchmark, or those named: ``python -m tests.bench [control_plane] [footprint] [libvirt_build]``."""

from __future__ import annotations

import sys

from tests.bench import control_plane, footprint, libvirt_build

_ALL = {"control_plane": control_plane.main, "footprint": footprint.main, "libvirt_build": libvirt_build.main}

if __name__ == "__main__":
    for name in sys.argv[1:] or _ALL:
        _ALL[name]([])
