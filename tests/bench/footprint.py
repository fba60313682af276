"""What each kind of process holds, and what it uses while nothing happens.

python -m tests.bench.footprint [--hosts N] [--idle-s S] [--guests N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from tests.bench import load, meter
from tests.bench.fleet import NETWORK, Fleet, fleet
from tests.bench.report import write

__all__ = ["main"]

#: after the last request: connections are calm, caches are as they stay
_CALM_S = 10.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.footprint")
    parser.add_argument("--hosts", type=int, default=10)
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--guests", type=int, default=10, help="on each host, for the second measurement")
    options = parser.parse_args(arguments)
    with fleet(options.hosts) as under_test:
        used = load.create_each(under_test, "used", 10 * options.hosts, (NETWORK,))
        load.delete_each(under_test, used.instances)
        empty = _idle(under_test, options.idle_s)
        load.create_each(under_test, "kept", options.guests * options.hosts, (NETWORK,))
        full = _idle(under_test, options.idle_s)
    write("footprint", {"hosts": options.hosts, "idle": empty, f"idle_with_{options.guests}_guests_a_host": full})


def _idle(fleet: Fleet, seconds: float) -> dict[str, Any]:
    time.sleep(_CALM_S)
    roots = {name: [pid] for name, pid in fleet.parts.items()}
    before = meter.mark(roots)
    time.sleep(seconds)
    used, strangers = meter.cpu_between(before, meter.mark(roots))
    a_minute = {name: value * 60 / seconds for name, value in used.items()}
    held = {name: meter.memory(pid) for name, pid in fleet.parts.items()}
    names = {kind: [n for n, pid in fleet.parts.items() if pid in pids] for kind, pids in fleet.kinds().items()}
    hosts = len(names["agent"])
    return {
        "kinds": {
            kind: {
                "processes": len(mine),
                "rss_mib": max(held[name].rss_mib for name in mine),
                "pss_mib": max(held[name].pss_mib for name in mine),
                "cpu_s_a_minute": round(sum(a_minute[name] for name in mine) / len(mine), 3),
            }
            for kind, mine in names.items()
        },
        "all_told_for_each_agent": {
            "pss_mib": round(sum(memory.pss_mib for memory in held.values()) / hosts, 1),
            "cpu_s_a_minute": round(sum(a_minute.values()) / hosts, 3),
        },
        "strangers_cores": round(strangers, 2),
        "loop_ms": meter.loop_ms(),
    }


if __name__ == "__main__":
    main()
