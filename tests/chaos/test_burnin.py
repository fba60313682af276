"""The acceptance run: ``drover burnin --faults`` on fake hosts and on real libvirt.

``DROVER_BURNIN_MINUTES`` says how long (2), ``DROVER_BURNIN_HOSTS`` on how many hosts (6 fake, 4 real),
``DROVER_BURNIN_CLIENTS`` with how many clients (8), ``DROVER_BURNIN_SEED`` repeats the plan of a run. The report goes to
the test's output.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping

import pytest

from drover.lab.spec import Driver
from tests import promise
from tests.fleet import QUICK, Fleet, fleet

MINUTES = float(os.environ.get("DROVER_BURNIN_MINUTES", "2"))
HOSTS = int(os.environ.get("DROVER_BURNIN_HOSTS", "0"))
CLIENTS = os.environ.get("DROVER_BURNIN_CLIENTS", "8")
SEED = os.environ.get("DROVER_BURNIN_SEED") or str(random.randrange(10**6))
#: seconds beside the run itself: settling, cleaning up, operations at the end of their budgets
AFTER_S = 3600.0
#: a fault every eight seconds at most, and some that find nothing to hit
FAULTS_PER_MINUTE = 6


def _run(made: Fleet, *more: str) -> None:
    arguments = ("--minutes", str(MINUTES), "--clients", CLIENTS, "--seed", SEED, "--format", "json", *more)
    done = made.drover("burnin", *arguments, timeout_s=MINUTES * 60 + AFTER_S)
    print(done.stdout, done.stderr)
    report = json.loads(done.stdout)
    assert report["violations"] == []
    assert done.returncode == 0
    assert report["operations"] >= 60 * MINUTES
    if "--faults" in more:
        assert sum(report["faults"].values()) >= FAULTS_PER_MINUTE * MINUTES
    promise.empty(made)


@pytest.mark.timeout(MINUTES * 60 + AFTER_S + 300)
@pytest.mark.parametrize("faults", [(), ("--faults",)], ids=["whole", "broken"])
@pytest.mark.parametrize("settings", [QUICK, {}], ids=["quick", "shipped"])
def test_fake_hosts(faults: tuple[str, ...], settings: Mapping[str, Mapping[str, str]]) -> None:
    with fleet(Driver.FAKE, hosts=HOSTS or 6, conductors=2, schedulers=2, settings=settings) as made:
        _run(made, "--instances", str(8 * (HOSTS or 6)), *faults)


@pytest.mark.timeout(MINUTES * 60 + AFTER_S + 300)
@pytest.mark.parametrize("settings", [QUICK, {}], ids=["quick", "shipped"])
def test_real_hosts(settings: Mapping[str, Mapping[str, str]]) -> None:
    with fleet(Driver.LIBVIRT, hosts=HOSTS or 4, settings=settings) as made:
        _run(made, "--faults")
