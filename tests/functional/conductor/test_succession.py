"""Another boot of a host waits until the present one has said nothing for a lease."""

from __future__ import annotations

import pytest

from drover import errors
from drover.conf.times import TimeSettings
from drover.objects.host import HostIdentity, Inventory, Registration
from tests.functional.conductor.conftest import CTX, Fleet
from tests.machine import wait_until

#: what another boot has to ask for: an interval, a lease of three, a call; liveness is written once a second
INTERVAL_S, PATIENCE_S = 0.3, 0.3 + 3 * 0.3 + 0.3


@pytest.fixture
def times() -> TimeSettings:
    return TimeSettings(join_window_s=0.0, reap_interval_s=3600.0, sync_interval_s=INTERVAL_S, rpc_timeout_s=INTERVAL_S)


def _register(fleet: Fleet, **identity: str) -> int:
    who = {"host": "h1", "host_uuid": "uuid-h1", "machine_id": "m", "boot_id": "b", **identity}
    inventory = Inventory(vcpus=4, memory_mib=8192, disk_gib=100, virt_types=("qemu",))
    return fleet.api.register(CTX, Registration(identity=HostIdentity(**who), inventory=inventory)).session


def test_another_boot_is_let_in_when_the_present_one_kept_silent_while_it_asked(fleet: Fleet) -> None:
    session = _register(fleet)
    fleet.runtime.sleep(INTERVAL_S)
    began_s = fleet.runtime.clock.monotonic()
    with pytest.raises(errors.HostStillSpeaks):  # silent, but nobody asked meanwhile
        _register(fleet, boot_id="c")
    fleet.runtime.sleep(PATIENCE_S)
    with pytest.raises(errors.HostStillSpeaks):  # a pause may be an outage, in which nobody is heard
        _register(fleet, boot_id="c")

    def is_let_in() -> bool:
        try:
            return _register(fleet, boot_id="c") == session + 1
        except errors.HostStillSpeaks:
            return False

    wait_until(is_let_in, "another boot to be let in")
    assert fleet.runtime.clock.monotonic() - began_s > PATIENCE_S + PATIENCE_S - 2 * INTERVAL_S


def test_another_boot_is_kept_out_while_the_present_one_speaks(fleet: Fleet) -> None:
    agent = fleet.agent("h1")
    until_s = fleet.runtime.clock.monotonic() + 1.5 * PATIENCE_S
    while fleet.runtime.clock.monotonic() < until_s:
        with pytest.raises(errors.HostStillSpeaks):
            _register(fleet, boot_id="c")
        agent.sync()
        fleet.runtime.sleep(INTERVAL_S / 10)


def test_a_new_agent_of_the_same_boot_is_let_in_at_once(fleet: Fleet) -> None:
    session = _register(fleet)
    assert _register(fleet) == session + 1


def test_another_machine_is_another_matter(fleet: Fleet) -> None:
    _register(fleet)
    with pytest.raises(errors.HostNameTaken):
        _register(fleet, boot_id="c", host_uuid="another")
