"""Strikes the faults of a plan, lets go of each after its time, and brings up what is dead then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from drover import errors, log
from drover.burnin.fault import FREEZES, PAUSE_S, Deck, Fault, Kind, kinds_of, targets
from drover.burnin.guest import Guest, Hypervisors
from drover.lab.lab import Lab
from drover.runtime import Event, Runtime, program
from drover.runtime.runtime import Random

__all__ = ["Striker", "Struck"]

LOG = log.get(__name__)

#: seconds until a lab that did not come up is asked to again
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What was done so far: *kinds* how often, hosts whose machine or libvirtd died."""

    kinds: dict[str, int]
    crashed: frozenset[str]
    without_libvirtd: frozenset[str]


class Striker:
    """:meth:`run` and :meth:`mend` are tasks of their own.

    :param victims: the run's own guests that may be killed now.
    """

    def __init__(
        self,
        lab: Lab,
        hypervisors: Hypervisors,
        runtime: Runtime,
        chance: Random,
        victims: Callable[[], Collection[str]],
    ) -> None:
        self._lab = lab
        self._hypervisors = hypervisors
        self._runtime = runtime
        self._chance = chance
        self._victims = victims
        self._deck = Deck(kinds_of(lab.spec().driver), chance)
        self._due = runtime.event()  # something is to be brought up
        self._closing = runtime.event()
        self._lock = runtime.lock()  # protects all that follows
        self._held: dict[Fault, float] = {}  # when each is let go
        self._down: set[str] = set()  # let go of, and not up yet
        self._kinds: Counter[Kind] = Counter()
        self._hit: set[tuple[Kind, str]] = set()

    def struck(self) -> Struck:
        with self._lock:
            return Struck(
                kinds={kind.value: count for kind, count in sorted(self._kinds.items())},
                crashed=frozenset(target for kind, target in self._hit if kind is Kind.CRASH_HOST),
                without_libvirtd=frozenset(
                    target.partition(".")[0] for kind, target in self._hit if kind is Kind.KILL_LIBVIRTD
                ),
            )

    # --- striking ----------------------------------------------------------------------------------------------

    def run(self, over: Event) -> None:
        """Strike until *over*, then let go of everything."""
        clock = self._runtime.clock
        next_s = clock.monotonic() + self._chance.uniform(*PAUSE_S)
        while not over.is_set():
            self._let_go(clock.monotonic())
            if clock.monotonic() >= next_s:
                self._strike()
                next_s = clock.monotonic() + self._chance.uniform(*PAUSE_S)
            with self._lock:
                wake_s = min([next_s, *self._held.values()])
            over.wait(max(0.0, wake_s - clock.monotonic()))
        self.release()

    def release(self) -> None:
        """Let go of everything that is held: quick, and whatever state the lab is in."""
        self._let_go(float("inf"))

    def _strike(self) -> None:
        try:
            parts = [part.name for part in self._lab.status() if part.state == "up"]
            running = {guest.uuid: guest for guest in self._hypervisors.running()}
            fault = self._deck.deal(lambda kind: self._found(kind, parts, running))
            if fault is None:
                return
            self._hold(fault)
            LOG.info("fault", kind=fault.kind, target=fault.target, hold_s=round(fault.hold_s, 1))
            self._do(fault, running)
        except (errors.DroverError, OSError) as exc:
            LOG.info("no fault", error=exc)  # it was dead already, or died while it was looked at

    def _found(self, kind: Kind, parts: Collection[str], running: dict[str, Guest]) -> list[str]:
        if kind is Kind.KILL_GUEST:
            return [uuid for uuid in self._victims() if uuid in running]
        with self._lock:
            held = {fault.target for fault in self._held} | self._down
        return targets(kind, parts, self._lab.spec().host_names(), held)

    def _hold(self, fault: Fault) -> None:
        """Before it is done: a fault that is cut short in the middle is let go of all the same."""
        with self._lock:
            self._held[fault] = self._runtime.clock.monotonic() + fault.hold_s
            self._kinds[fault.kind] += 1
            self._hit.add((fault.kind, fault.target))

    def _do(self, fault: Fault, running: dict[str, Guest]) -> None:
        if fault.kind is Kind.KILL_GUEST:
            self._hypervisors.kill(running[fault.target])
        elif fault.kind is Kind.CRASH_HOST:
            self._lab.crash(fault.target)
        elif fault.kind is Kind.CUT_HOST:
            self._lab.cut(fault.target)
        else:
            self._lab.kill(fault.target, program.STOP if fault.kind in FREEZES else program.KILL)

    def _let_go(self, now_s: float) -> None:
        with self._lock:
            due = [fault for fault, until_s in self._held.items() if until_s <= now_s]
            for fault in due:
                del self._held[fault]
                if fault.kind not in FREEZES and fault.kind not in (Kind.CUT_HOST, Kind.KILL_GUEST):
                    self._down.add(fault.target)
        for fault in due:
            try:
                if fault.kind is Kind.CUT_HOST:
                    self._lab.heal(fault.target)
                elif fault.kind in FREEZES:
                    self._lab.kill(fault.target, program.CONT)
            except errors.LabFailed:
                with self._lock:
                    self._down.add(fault.target)  # it is dead, which is for mend()
        self._due.set()

    # --- mending -----------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """Bring up what is dead, until :meth:`close`."""
        while True:
            self._due.wait()
            self._due.clear()
            with self._lock:
                down = set(self._down)
            if down:
                self._up(down)
            elif self._closing.is_set():
                return

    def close(self) -> None:
        """Nothing is struck any more: :meth:`mend` ends once everything is up."""
        self._closing.set()
        self._due.set()

    def _up(self, down: Collection[str]) -> None:
        try:
            self._lab.up()
        except Exception as exc:  # noqa: BLE001  the next fault may have hit what was just starting, in any of its ways
            LOG.info("lab not up yet", error=exc)
            self._runtime.sleep(_AGAIN_S)
        else:
            with self._lock:
                self._down.difference_update(down)
        self._due.set()
