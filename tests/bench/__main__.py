"""Every benchmark, or those named: ``python -m tests.bench [control_plane] [footprint] … [--snapshot FILE]``.

With a snapshot of ``drover-scheduler snapshot`` that is replayed, and nothing else is measured.
"""

from __future__ import annotations

import argparse

from tests.bench import claims, control_plane, footprint, libvirt_build, scheduler

_ALL = {
    "scheduler": scheduler.main,
    "claims": claims.main,
    "control_plane": control_plane.main,
    "footprint": footprint.main,
    "libvirt_build": libvirt_build.main,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", metavar="|".join(_ALL), choices=[*_ALL, []])
    parser.add_argument("--snapshot", default="")
    options = parser.parse_args()
    if options.snapshot:
        scheduler.main(["--snapshot", options.snapshot])
    else:
        for name in options.names or _ALL:
            _ALL[name]([])
