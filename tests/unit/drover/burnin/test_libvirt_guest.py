"""Which domain is which: a name tells Drover's, wherever they are; others are one a host."""

from __future__ import annotations

from drover.burnin import audit
from drover.burnin.guest import Guest
from drover.burnin.libvirt_guest import identity
from drover.states import PowerState


def running(name: str, host: str) -> Guest:
    return Guest(host=host, uuid=identity(host, name), name=name, power_state=PowerState.RUNNING, process=7)


def test_an_instance_that_runs_on_two_hosts_is_doubled() -> None:
    [found] = audit.doubled([running("drover-a", "h1"), running("drover-a", "h2")])
    assert found.subject == "instance a"


def test_domains_of_others_may_have_one_name_on_many_hosts() -> None:
    assert not list(audit.doubled([running("stranger", "h1"), running("stranger", "h2")]))
