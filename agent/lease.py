"""Whether this host was heard lately enough to let a domain start.

The lease never proves that a domain is *not* running (a paused hypervisor's clocks stand still); it only keeps a
host that is cut off from starting anything new.
"""

from __future__ import annotations

from agent.operations.token import Token
from drover.runtime import Runtime

__all__ = ["Lease"]

_LOOK_AGAIN_S = 0.5


class Lease:
    """Counted from when the answered sync was sent, by the monotonic clock of this host."""

    def __init__(self, runtime: Runtime) -> None:
        self._clock = runtime.clock
        self._until_s = float("-inf")
        self._sent_at_s = float("-inf")

    def renew(self, sent_at_s: float, lease_s: float) -> None:
        """A sync sent at *sent_at_s* was answered."""
        self._until_s = sent_at_s + lease_s
        self._sent_at_s = sent_at_s

    def age_s(self) -> float:
        """Since the last answered sync was sent."""
        return self._clock.monotonic() - self._sent_at_s

    def valid(self) -> bool:
        return self._clock.monotonic() < self._until_s

    def wait(self, token: Token) -> None:
        """Return while the lease is valid.

        :raises drover.errors.OperationCancelled: *token* was set meanwhile.
        """
        token.check()
        while not self.valid():
            token.wait(_LOOK_AGAIN_S)
            token.check()
