"""Why and whether an order must stop."""

from __future__ import annotations

from enum import StrEnum

from drover import errors
from drover.runtime import Event, Runtime

__all__ = ["Reason", "Token"]


class Reason(StrEnum):
    DROPPED = "dropped by the conductor"
    SUPERSEDED = "superseded by a later order"
    REFUSED = "permit refused"
    SHUTDOWN = "the agent stops"
    BUDGET = "budget used up"


class Token:
    """A :class:`agent.virt.driver.CancelToken` that knows its reason; the order's budget sets it too.

    :param deadline_s: of the monotonic clock.
    """

    def __init__(self, runtime: Runtime, deadline_s: float) -> None:
        self._clock = runtime.clock
        self._deadline_s = deadline_s
        self._flag: Event = runtime.event()
        self._reason: Reason | None = None

    @property
    def reason(self) -> Reason | None:
        """Why it is set; None while it is not."""
        if self._reason is None and self.remaining_s() <= 0:
            return Reason.BUDGET
        return self._reason

    def set(self, reason: Reason) -> None:
        """Cancel; the first reason counts."""
        if self._reason is None:
            self._reason = reason
        self._flag.set()

    def remaining_s(self) -> float:
        """What is left of the budget."""
        return max(0.0, self._deadline_s - self._clock.monotonic())

    def cancelled(self) -> bool:
        return self.reason is not None

    def check(self) -> None:
        if (reason := self.reason) is not None:
            raise errors.OperationCancelled(reason=reason.value)

    def wait(self, timeout_s: float) -> bool:
        if not self.cancelled():
            self._flag.wait(min(timeout_s, self.remaining_s()))
        return self.cancelled()
