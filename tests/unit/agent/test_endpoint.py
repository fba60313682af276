"""What others may ask of a host."""

from __future__ import annotations

from typing import cast

import pytest

from agent.manager import Manager
from agent.rpc.endpoint import AgentEndpoint
from drover import errors
from drover.rpc.context import RequestContext
from drover.states import PowerState, VmState
from tests.contract.virt.spec import DEPLOYMENT, make_spec
from tests.unit.agent.hypervisor import Hypervisor, Machine
from tests.unit.agent.scene import no_watch

CTX = RequestContext(request_id="test")


def test_diagnostics_of_a_guest() -> None:
    machine = Machine()
    endpoint = AgentEndpoint(cast("Manager", None), Hypervisor(machine, no_watch), "h1", DEPLOYMENT)
    with pytest.raises(errors.GuestNotFound):
        endpoint.diagnostics(CTX, make_spec().uuid)
    machine.arrange(VmState.PAUSED)
    found = endpoint.diagnostics(CTX, make_spec().uuid)
    assert (found.instance_uuid, found.power_state) == (make_spec().uuid, PowerState.PAUSED)
