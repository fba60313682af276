"""How long one build takes on real libvirt and QEMU, step by step, beside ``virsh define`` and ``virsh start``.

    python -m tests.bench.libvirt_build [--builds N]

One build at a time, the image in its host's cache.  The guest is a boot sector under emulation, so that
the time is that of the control plane, libvirt and QEMU's start, not of an operating system.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any
from xml.etree import ElementTree as ET

from drover.lab.spec import Driver
from drover.objects.instance import CreateReply
from drover.states import Action
from tests.bench import meter
from tests.bench.report import percentile, write
from tests.fleet import Fleet, fleet

__all__ = ["main"]

_CLONE = "virsh-alone"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.libvirt_build")
    parser.add_argument("--builds", type=int, default=10)
    options = parser.parse_args(arguments)
    with fleet(Driver.LIBVIRT, settings={}) as lab:
        warm = lab.create(6)  # on every host: fetches the image, opens every connection
        lab.wait(warm.operation_ids)
        lab.delete(warm.instance_uuids)
        builds = [_build(lab) for _ in range(options.builds)]
        alone = _virsh_alone(lab, options.builds)
    totals = [build["total"] for build in builds]
    write(
        "libvirt_build",
        {
            "builds": options.builds,
            "p50_s": round(median(totals), 3),
            "p95_s": round(percentile(totals, 0.95), 3),
            "steps_s": {name: round(median(build.get(name, 0.0) for build in builds), 4) for name in builds[0]},
            "virsh_s": {name: round(median(values), 3) for name, values in alone.items()},
            "loop_ms": meter.loop_ms(),
        },
    )


def _build(lab: Fleet) -> dict[str, float]:
    """Seconds of one build by step, in order; ``total`` is from the request until its final row."""
    asked_at = datetime.now(UTC)
    reply = lab.create(1)
    lab.wait(reply.operation_ids)
    steps = _steps(lab, reply, asked_at)
    lab.delete(reply.instance_uuids)
    return steps


def _steps(lab: Fleet, reply: CreateReply, asked_at: datetime) -> dict[str, float]:
    trace = lab.api.trace(lab.context(), reply.operation_ids[0])
    op = trace.operation
    assert op.finished_at is not None
    assert op.dispatched_at is not None
    agent = next(log for log in trace.logs if log.service.startswith("agent"))
    last = agent.steps[-1]
    return {
        "request": (op.created_at - asked_at).total_seconds(),
        "schedule": (op.dispatched_at - op.created_at).total_seconds(),
        "hand out": (agent.started_at - op.dispatched_at).total_seconds(),
        **{step.name: step.duration_s for step in agent.steps},
        "report": (op.finished_at - agent.started_at).total_seconds() - last.at_s - last.duration_s,
        "total": (op.finished_at - asked_at).total_seconds(),
    }


def _virsh_alone(lab: Fleet, rounds: int) -> dict[str, list[float]]:
    """The same domain under another name, by hand, while Drover's is off."""
    reply = lab.create(1)
    lab.wait(reply.operation_ids)
    (uuid,) = reply.instance_uuids
    host = lab.api.instance_show(lab.context(), uuid).host
    lab.wait([lab.act(uuid, Action.STOP).id])
    path = lab.lab.layout.host(host) / "clone.xml"
    path.write_text(_clone(_virsh(lab, host, "dumpxml", "--inactive", f"drover-{uuid}")))
    seconds: dict[str, list[float]] = {"define": [], "start": []}
    for _ in range(rounds):
        for words in (("define", str(path)), ("start", _CLONE)):
            began_s = time.monotonic()
            _virsh(lab, host, *words)
            seconds[words[0]].append(time.monotonic() - began_s)
        _virsh(lab, host, "destroy", _CLONE)
        _virsh(lab, host, "undefine", _CLONE)
    path.unlink()
    return seconds


def _clone(xml: str) -> str:
    domain: Any = ET.fromstring(xml)
    domain.find("name").text = _CLONE
    for child in [each for each in domain if each.tag in ("uuid", "metadata")]:
        domain.remove(child)
    return ET.tostring(domain, encoding="unicode")


def _virsh(lab: Fleet, host: str, *words: str) -> str:
    done = lab.lab.run(host, ["virsh", "-q", *words], timeout_s=120.0)
    if done.returncode != 0:
        raise RuntimeError(f"virsh {' '.join(words)}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
