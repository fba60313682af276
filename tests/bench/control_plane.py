"""What a build and a delete cost the control plane, and how many it does a second.

    python -m tests.bench.control_plane [--hosts N] [--rounds N] [--case NAME …]

CPU is that of every process of the fleet, RabbitMQ's and PostgreSQL's included, from the first call until a
second after the last row is final, so that acknowledgements and journals are in it.  The load generator is not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench import load, meter
from tests.bench.fleet import NETWORK, Fleet, fleet
from tests.bench.load import Load
from tests.bench.report import percentile, write

__all__ = ["main"]

#: after the last row is final: acknowledgements, journals, what the database does behind a commit
_AFTERMATH_S = 1.0
#: cores that strangers may keep busy before a figure is called noisy
_QUIET_CORES = 0.1


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    count: int
    networks: tuple[str, ...]
    together: bool = False


_CASES = (
    _Case("200", 200, ()),
    _Case("200_port", 200, (NETWORK,)),
    _Case("1000", 1000, ()),
    _Case("1000_port", 1000, (NETWORK,)),
    _Case("count_200", 200, (), together=True),
    _Case("count_200_port", 200, (NETWORK,), together=True),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.control_plane")
    parser.add_argument("--hosts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="the round with the median CPU per build is reported")
    parser.add_argument("--case", action="append", choices=[case.name for case in _CASES])
    options = parser.parse_args(arguments)
    cases = [case for case in _CASES if not options.case or case.name in options.case]
    with fleet(options.hosts) as under_test:
        _warm_up(under_test)
        rows = {case.name: _rounds(under_test, case, options.rounds) for case in cases}
    write("control_plane", {"hosts": options.hosts, "clients": load.CLIENTS, "cases": rows})


def _warm_up(fleet: Fleet) -> None:
    """Connections are open and every path was taken once."""
    made = load.create_each(fleet, "warm", 60, (NETWORK,))
    load.delete_each(fleet, made.instances)


def _rounds(fleet: Fleet, case: _Case, rounds: int) -> dict[str, Any]:
    found = [_round(fleet, case) for _ in range(rounds)]
    middle = median(sorted(row["cpu_ms_per_build"] for row in found)[: rounds | 1])
    row = min(found, key=lambda row: abs(row["cpu_ms_per_build"] - middle))
    row["rounds"] = [
        {
            key: each[key]
            for key in ("builds_per_s", "cpu_ms_per_build", "cpu_ms_per_delete", "strangers_cores", "loop_ms")
        }
        for each in found
    ]
    print(case.name, row["rounds"], flush=True)
    return row


def _round(fleet: Fleet, case: _Case) -> dict[str, Any]:
    loop_ms = meter.loop_ms()
    create = load.create_together if case.together else load.create_each
    built, build_ms, build_strangers = _measured(fleet, lambda: create(fleet, "bench", case.count, case.networks))
    deleted, delete_ms, delete_strangers = _measured(fleet, lambda: load.delete_each(fleet, built.instances))
    strangers = max(build_strangers, delete_strangers)
    return {
        "instances": case.count,
        "calls": 1 if case.together else case.count,
        "builds_per_s": round(case.count / built.took_s, 1),
        "deletes_per_s": round(case.count / deleted.took_s, 1),
        **_percentiles("", built.seconds),
        **_percentiles("delete_", deleted.seconds),
        **_percentiles("answer_", built.answered_s),
        "cpu_ms_per_build": round(sum(build_ms.values()) / case.count, 2),
        "cpu_ms_per_build_share": _share(build_ms, case.count),
        "cpu_ms_per_delete": round(sum(delete_ms.values()) / case.count, 2),
        "cpu_ms_per_delete_share": _share(delete_ms, case.count),
        "strangers_cores": round(strangers, 2),
        "quiet": strangers < _QUIET_CORES,
        "loop_ms": max(loop_ms, meter.loop_ms()),
    }


def _measured(fleet: Fleet, work: Callable[[], Load]) -> tuple[Load, dict[str, float], float]:
    """The load, CPU milliseconds by kind of process, and the cores that strangers kept busy."""
    roots = fleet.kinds()
    before = meter.mark(roots)
    done = work()
    time.sleep(_AFTERMATH_S)
    seconds, strangers = meter.cpu_between(before, meter.mark(roots))
    return done, {kind: value * 1000 for kind, value in seconds.items()}, strangers


def _percentiles(prefix: str, seconds: Sequence[float]) -> dict[str, float]:
    values = list(seconds)
    return {f"{prefix}p{share}_s": round(percentile(values, share / 100), 3) for share in (50, 95, 99)}


def _share(cpu_ms: dict[str, float], count: int) -> dict[str, float]:
    """Milliseconds an instance, by kind of process."""
    return {kind: round(value / count, 2) for kind, value in sorted(cpu_ms.items())}


if __name__ == "__main__":
    main()
