"""The simulated kernel: virtual time, one task at a time, every wait a switch point chosen by a seed.

Tasks are greenlets; code under test stays plain and blocking.  A task belongs to an :class:`Incarnation` (one life
of a process).  When that is killed, its tasks are never resumed: a crash is not an exception, and no ``finally`` of
theirs touches the world.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from greenlet import getcurrent, greenlet

__all__ = ["EPOCH", "Clockwork", "Dead", "Fiber", "Incarnation", "Kernel", "Stuck"]

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
#: the shortest wait
_TICK_S = 1e-6
#: of the event log, kept in words for whoever reads a failure
_REMEMBERED = 4000


class Dead(BaseException):
    """A task of a killed incarnation tried to touch the world (only when the world is torn down)."""


class Stuck(AssertionError):
    """Nothing can run any more, or a goal was not reached in time."""


@dataclass(slots=True)
class Clockwork:
    """The clocks of one machine, against the kernel's time."""

    lag_s: float = 0.0  # how long they stood still, in all
    skew_s: float = 0.0  # of the wall clock alone


@dataclass(slots=True, eq=False)
class Incarnation:
    """One life of one process."""

    name: str
    clocks: Clockwork = field(default_factory=Clockwork)
    alive: bool = True
    frozen: bool = False
    stalled_at: float | None = None  # its machine stands still since then, clocks and all
    parked: list[Fiber] = field(default_factory=list)  # could run, were it not frozen
    held: list[tuple[float, Fiber, int]] = field(default_factory=list)  # timers that came due while stalled


class Fiber:
    """A task."""

    __slots__ = ("_work", "done", "failure", "greenlet", "joiners", "name", "owner", "signalled", "wakes")

    def __init__(self, name: str, owner: Incarnation, work: Callable[[], None], hub: greenlet) -> None:
        self.name = name
        self.owner = owner
        self.done = False
        self.joiners: list[tuple[Fiber, int]] = []
        self.wakes = 0  # a timer or a signal counts only for the wait it was made for
        self.signalled = False
        self._work = work
        self.greenlet = greenlet(self._run, parent=hub)
        self.failure: BaseException | None = None

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as exc:
            self.failure = exc
        finally:
            self.done = True


class Kernel:
    """Runs fibers until a goal holds.

    :param check: called at every switch point; raises AssertionError when a promise is broken.
    """

    def __init__(self, seed: int, check: Callable[[], None] = lambda: None) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.now_s = 0.0
        self.switches = 0
        self.check = check
        self.failures: list[tuple[str, BaseException]] = []
        self.events: deque[str] = deque(maxlen=_REMEMBERED)
        self._digest = hashlib.blake2b(digest_size=16)
        self._ready: list[Fiber] = []
        self._timers: list[tuple[float, int, Fiber, int, float]] = []
        self._count = 0
        self._hub = getcurrent()
        self._current: Fiber | None = None
        # Every task stays referenced until it ends: collecting one would run its finally blocks.
        self._fibers: dict[int, Fiber] = {}
        self._over = False
        #: set while a transaction is open, in which nobody may wait (DESIGN §8.3)
        self.atomic = False

    # --- the event log ---------------------------------------------------------------------------------------

    def note(self, event: str) -> None:
        """Something happened. The digest of all events tells whether two runs were the same."""
        line = f"{self.now_s:.6f} {self.switches} {event}"
        self._digest.update(line.encode())
        self.events.append(line)

    def digest(self) -> str:
        """Of all events so far."""
        return self._digest.hexdigest()

    # --- what runtimes use -----------------------------------------------------------------------------------

    def spawn(self, name: str, owner: Incarnation, work: Callable[[], None]) -> Fiber:
        fiber = Fiber(name, owner, work, self._hub)
        self._fibers[id(fiber)] = fiber
        self._ready.append(fiber)
        return fiber

    def current(self) -> Fiber:
        if self._over or self._current is None:
            raise Dead
        return self._current

    def wait(self, timeout_s: float | None, enlist: Callable[[Fiber], None]) -> bool:
        """Park the current fiber; ``enlist`` notes it with whatever will wake it. False: the time was up."""
        fiber = self.current()
        fiber.wakes += 1
        fiber.signalled = False
        if timeout_s is not None:
            # A wait that rounds to nothing would be asked for again for ever: time must go on.
            self._set_timer(self.now_s + (max(timeout_s, _TICK_S) if timeout_s > 0 else 0.0), fiber, fiber.wakes)
        enlist(fiber)
        self._switch_away()
        return fiber.signalled

    def wake(self, fiber: Fiber, wakes: int) -> bool:
        """Signal a parked fiber, if it still waits in that wait and its process lives."""
        if fiber.wakes != wakes or fiber.done or not fiber.owner.alive:
            return False
        fiber.wakes += 1
        fiber.signalled = True
        self._ready.append(fiber)
        return True

    def sleep(self, seconds: float) -> None:
        self.wait(max(0.0, seconds), lambda fiber: None)

    def pause(self) -> None:
        """A switch point without a wait."""
        self._ready.append(self.current())
        self._switch_away()

    def _switch_away(self) -> None:
        assert not self.atomic, "a wait inside a transaction"
        self._hub.switch()
        if self._over:
            raise Dead

    def _set_timer(self, due_s: float, fiber: Fiber, wakes: int) -> None:
        self._count += 1
        heapq.heappush(self._timers, (due_s, self._count, fiber, wakes, fiber.owner.clocks.lag_s))

    # --- what the fates of processes come to -----------------------------------------------------------------

    def freeze(self, process: Incarnation, *, stall: bool) -> None:
        """Its tasks stop where they are (SIGSTOP); with *stall* its clocks stand still too (a paused machine)."""
        if not process.frozen:
            process.frozen = True
            process.stalled_at = self.now_s if stall else None

    def thaw(self, process: Incarnation) -> None:
        """It goes on, and does not know."""
        if not process.frozen:
            return
        process.frozen = False
        self._ready += process.parked
        process.parked.clear()
        if process.stalled_at is not None:
            lost_s = self.now_s - process.stalled_at
            process.clocks.lag_s += lost_s
            process.stalled_at = None
            for due_s, fiber, wakes in process.held:
                self._set_timer(due_s + lost_s, fiber, wakes)
            process.held.clear()

    # --- the loop --------------------------------------------------------------------------------------------

    def run_until(self, goal: Callable[[], bool], limit_s: float, what: str) -> None:
        """Run until *goal* holds, looked at after each switch.

        :raises Stuck: *limit_s* of virtual time passed, or nothing can run. AssertionError of the checker.
        """
        deadline = self.now_s + limit_s
        while not goal():
            fiber = self._next(deadline)
            if fiber is None:
                raise Stuck(f"seed {self.seed}: {what}: not reached by {self.now_s:.1f} s")
            self._switch(fiber)

    def run_for(self, seconds: float) -> None:
        """Run for *seconds* of virtual time."""
        deadline = self.now_s + seconds
        while (fiber := self._next(deadline)) is not None:
            self._switch(fiber)
        self.now_s = max(self.now_s, deadline)

    def _switch(self, fiber: Fiber) -> None:
        self.switches += 1
        self._current = fiber
        fiber.greenlet.switch()
        self._current = None
        if fiber.done:
            self._fibers.pop(id(fiber), None)
            if fiber.failure is not None:
                lines = "".join(traceback.format_exception(fiber.failure))
                self.failures.append((f"{fiber.owner.name}/{fiber.name}\n{lines}", fiber.failure))
            for joiner, wakes in fiber.joiners:
                self.wake(joiner, wakes)
        self.check()

    def _next(self, deadline: float) -> Fiber | None:
        while True:
            self._due()
            ready = self._ready
            while ready:
                index = self.random.randrange(len(ready))
                fiber, ready[index] = ready[index], ready[-1]
                ready.pop()
                if not fiber.owner.alive or fiber.done:
                    continue
                if not fiber.owner.frozen:
                    return fiber
                fiber.owner.parked.append(fiber)
            if not self._timers or self._timers[0][0] > deadline:
                return None
            self.now_s = max(self.now_s, self._timers[0][0])

    def _due(self) -> None:
        while self._timers and self._timers[0][0] <= self.now_s:
            due_s, _, fiber, wakes, lag_s = heapq.heappop(self._timers)
            owner = fiber.owner
            if not owner.alive or fiber.wakes != wakes or fiber.done:
                continue
            if owner.clocks.lag_s > lag_s:  # its clocks stood still meanwhile
                self._set_timer(due_s + owner.clocks.lag_s - lag_s, fiber, wakes)
            elif owner.stalled_at is not None:
                owner.held.append((due_s, fiber, wakes))
            else:
                fiber.wakes += 1
                self._ready.append(fiber)

    def close(self) -> None:
        """End the world: tasks that are left are unwound, and whatever they touch refuses."""
        self._over = True
        for fiber in list(self._fibers.values()):
            if fiber.greenlet:  # begun and not ended
                fiber.greenlet.throw(Dead)
