"""When the next sync is due: at once for news while that keeps the spacing, else with the idle interval."""

from __future__ import annotations

from drover.conf.times import TimeSettings
from drover.runtime import Runtime

__all__ = ["Pace"]


class Pace:
    """Thread-safe. One task waits; anybody says that there is news.

    News waits for the join window, so that what happens together goes into one sync.  What is not urgent in
    itself (an order began) waits for the spacing: mostly the same order has more to say by then.
    """

    def __init__(self, runtime: Runtime, times: TimeSettings) -> None:
        self._clock = runtime.clock
        self._spacing_s = times.sync_spacing_s
        self._join_s = min(times.join_window_s, times.sync_spacing_s)
        self._lock = runtime.lock()  # protects all that follows
        self._wake = runtime.event()
        self._last_s = float("-inf")  # when the last sync began
        self._not_before_s = float("-inf")  # back-off after a failure
        self._idle_s = self._clock.monotonic()  # when a sync is due without any news
        self._news_s = float("inf")  # when a sync is due because of news
        self._planned_s = float("-inf")  # what the waiting task waits for
        self._closed = False

    def urgent(self) -> None:
        """The conductor should hear now."""
        self._news(self._join_s)

    def soon(self) -> None:
        """The conductor should hear within the spacing."""
        self._news(self._spacing_s)

    def wait(self) -> bool:
        """Wait until a sync is due, and begin it; false when closed."""
        while True:
            with self._lock:
                if self._closed:
                    return False
                now, due = self._clock.monotonic(), self._due()
                if due <= now:
                    self._last_s, self._news_s = now, float("inf")
                    self._planned_s = float("-inf")  # nobody waits: no need to wake
                    return True
                self._wake.clear()
                self._planned_s = due
            self._wake.wait(due - now)

    def succeeded(self, next_sync_s: float) -> None:
        """The sync that :meth:`wait` began was answered."""
        with self._lock:
            self._not_before_s = float("-inf")
            self._idle_s = self._last_s + next_sync_s

    def failed(self, delay_s: float) -> None:
        """The sync failed; everything is still to be told, after *delay_s*."""
        with self._lock:
            self._not_before_s = self._clock.monotonic() + delay_s
            self._idle_s = self._not_before_s

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._wake.set()

    def _news(self, within_s: float) -> None:
        with self._lock:
            self._news_s = min(self._news_s, self._clock.monotonic() + within_s)
            wakes = self._due() < self._planned_s
        if wakes:
            self._wake.set()

    def _due(self) -> float:
        due = min(self._idle_s, max(self._news_s, self._last_s + self._spacing_s))
        return max(due, self._not_before_s)
