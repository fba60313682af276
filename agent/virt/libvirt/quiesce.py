"""Guests' filesystems, frozen for a moment by the agent in the guest.

Work for inside a call: libvirt's errors leave it raw, but those of the guest's agent, which nobody can count on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import libvirt

from agent.virt.libvirt.fault import is_code
from agent.virt.libvirt.folder import unlink, write_whole
from agent.virt.libvirt.xml.channel import agent_connected
from drover import log

__all__ = ["answers", "frozen", "thaw"]

LOG = log.get(__name__)

#: seconds that the agent in the guest has for each answer
_ANSWER_S = 5
#: an agent that is slow to freeze does not hear of the thaw at once
_TRIES = 3
_GONE = (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN)


@contextmanager
def frozen(domain: libvirt.virDomain, marker: Path) -> Iterator[bool]:
    """Freeze, if an agent in the guest answers; true inside if it did. Thawed afterwards, whatever happens.

    :param marker: a file that is there from before the freeze until after the thaw, so that a freeze whose maker
        was killed is known and :func:`thaw` ends it.
    """
    if not _connected(domain):
        yield False
        return
    write_whole(marker, b"")
    try:
        yield _freeze(domain)
    finally:
        thaw(domain, marker)  # after a refusal too: an agent may obey later than it was waited for


def thaw(domain: libvirt.virDomain, marker: Path) -> None:
    """End a freeze of ours, if there may be one. A guest that does not answer keeps its *marker* for the next time."""
    if not marker.exists():
        return
    for _ in range(_TRIES):
        try:
            domain.fsThaw()
        except libvirt.libvirtError as exc:
            if is_code(exc, *_GONE):
                break  # off: the freeze ended with it
            LOG.warning("guest not thawed", domain=domain.name(), error=exc)
        else:
            break
    else:
        return
    unlink(marker)


def answers(domain: libvirt.virDomain) -> bool:
    """Whether an agent in the guest answers within seconds."""
    if not _connected(domain):
        return False
    try:
        domain.agentSetResponseTimeout(_ANSWER_S)
        domain.getTime()
    except libvirt.libvirtError:
        return False
    return True


def _freeze(domain: libvirt.virDomain) -> bool:
    try:
        domain.agentSetResponseTimeout(_ANSWER_S)  # by default libvirt waits for ever
        domain.fsFreeze()
    except libvirt.libvirtError as exc:
        LOG.info("guest not frozen", domain=domain.name(), error=exc)
        return False
    return True


def _connected(domain: libvirt.virDomain) -> bool:
    """A paused guest's agent is connected, but cannot answer."""
    state, _ = domain.state()
    return state in {libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED} and agent_connected(domain.XMLDesc(0))
