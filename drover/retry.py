"""Named retry policies: a call site names why it tries again, never how often.

tenacity does the work; sleeping goes through the Runtime, so that a simulation owns the waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tenacity

from drover import errors, log
from drover.runtime import Runtime

__all__ = ["until_available", "while_busy", "while_unavailable"]

LOG = log.get(__name__)

T = TypeVar("T")


def while_busy(runtime: Runtime, work: Callable[[], T]) -> T:
    """A transaction that lost against others (deadlock, serialisation): a few tries within a second.

    :raises errors.StoreBusy: it lost every time.
    """
    retrying = tenacity.Retrying(
        sleep=runtime.sleep,
        retry=tenacity.retry_if_exception_type(errors.StoreBusy),
        stop=tenacity.stop_after_attempt(6),
        wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.3),
        reraise=True,
    )
    return retrying(work)


def while_unavailable(runtime: Runtime, work: Callable[[], T], *, patience_s: float) -> T:
    """A client's request while a part restarts: tries until *patience_s* is over, with capped back-off.

    Only for requests that may be repeated (reads, and writes with an idempotency key).
    """
    deadline = runtime.clock.monotonic() + patience_s
    retrying = tenacity.Retrying(
        sleep=runtime.sleep,
        retry=tenacity.retry_if_exception_type(errors.Unavailable),
        stop=lambda _: runtime.clock.monotonic() >= deadline,
        wait=tenacity.wait_exponential(multiplier=0.2, max=3.0),
        reraise=True,
    )
    return retrying(work)


def until_available(
    runtime: Runtime, what: str, work: Callable[[], T], *, stopped: Callable[[], bool] = lambda: False
) -> T:
    """A service waiting for a part it needs: for ever, with capped back-off and one clear line a try.

    :param stopped: asked between tries; when true the last error is raised.
    """

    def say(state: Any) -> None:
        LOG.warning("waiting", what=what, tries=state.attempt_number, error=state.outcome.exception())

    retrying = tenacity.Retrying(
        sleep=runtime.sleep,
        retry=tenacity.retry_if_exception_type(errors.Unavailable),
        stop=lambda _: stopped(),
        wait=tenacity.wait_exponential(multiplier=0.2, max=5.0),
        before_sleep=say,
        reraise=True,
    )
    return retrying(work)
