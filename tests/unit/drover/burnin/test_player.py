"""A client of the run whose requests meet something that must not be."""

from __future__ import annotations

import random

import pytest

from drover.burnin.fleet import Fleet
from drover.burnin.ledger import Ledger
from drover.burnin.player import Player, Setup
from drover.rpc.embedded import EmbeddedBus
from drover.runtime.threads import ThreadRuntime

SETUP = Setup(flavor="f", image="i", networks=("n",), instances=1, faults=True)


@pytest.mark.timeout(60)
def test_that_nobody_answers_is_told_with_what_is_not_up() -> None:
    runtime = ThreadRuntime()
    nobody = Fleet.of(runtime, EmbeddedBus(runtime), "burnin-1", timeout_s=0.01)
    fleet = Fleet(runtime, nobody.conductor, nobody.waiter, "burnin-1", patience_s=0.0)
    ledger, over = Ledger(runtime, "burnin-1"), runtime.event()

    def absent() -> str:
        over.set()
        return "conductor is down"

    Player(fleet, ledger, SETUP, random.Random(1), over, absent).run()
    [violation] = ledger.violations()
    assert (violation.what, violation.subject) == ("nobody answered", "build")
    assert violation.evidence == (
        "CallTimeout: conductor did not answer instance_create within 0.01 s, 0 s long; conductor is down"
    )
