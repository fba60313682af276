"""One run from beginning to end: prepare, play, come to rest, clean up, look at what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drover import errors, log
from drover.burnin import audit
from drover.burnin.audit import View
from drover.burnin.clean import clean, name_of, stranger_of
from drover.burnin.fleet import Fleet
from drover.burnin.guest import Hypervisors
from drover.burnin.ledger import Ledger
from drover.burnin.player import Player, Setup
from drover.burnin.report import Report, rows_of
from drover.burnin.striker import Striker
from drover.burnin.violation import Violation
from drover.burnin.watch import Watcher
from drover.lab.lab import Lab
from drover.objects.catalog import Flavor
from drover.runtime import Task
from drover.runtime.runtime import Random

__all__ = ["Options", "Run", "remove_strangers"]

LOG = log.get(__name__)

Tell = Callable[[str], None]

#: seconds between two looks while the run plays, and while it comes to rest
_LOOK_S = 1.0
_REST_LOOK_S = 3.0
#: seconds that everything may take to come to rest once nothing is asked for and nothing is broken any more
_REST_S = 240.0
#: seconds that clients get for the ends of their last operations: the longest budgets there are
_LAST_S = 3600.0
#: the same when the run was interrupted: what they began is deleted anyway
_HASTE_S = 5.0
#: seconds that a lab may take to come up after the last fault
_MEND_S = 300.0
#: streams of chance: the faults', then one for each client
_FAULTS = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for. Without a *flavor* the run makes one, of *memory_mib*."""

    seed: int
    seconds: float
    clients: int
    instances: int
    image: str
    networks: tuple[str, ...]
    flavor: str = ""
    memory_mib: int = 128
    faults: bool = False


class Run:
    """:meth:`prepare`, :meth:`play`, :meth:`rest`, :meth:`clean`, :meth:`report`, in this order; any may be cut short.

    :param chance: a stream of choices for each number.
    :param lab: that the fleet is, when it is one on this machine, with its hypervisors.
    """

    def __init__(
        self, fleet: Fleet, options: Options, chance: Callable[[int], Random], lab: tuple[Lab, Hypervisors] | None
    ) -> None:
        self._fleet = fleet
        self._options = options
        self._chance = chance
        self._runtime = fleet.runtime
        self._lab = lab
        self._name = name_of(options.seed)
        self._ledger = Ledger(self._runtime, self._name)
        self._watcher = Watcher(fleet, self._ledger, lab[1] if lab else None)
        self._striker: Striker | None = None
        if options.faults and lab:
            self._striker = Striker(*lab, self._runtime, chance(_FAULTS), self._ledger.live)
        self._over = self._runtime.event()
        self._tasks: list[Task] = []
        self._players: list[Task] = []
        self._mender: Task | None = None
        self._before: View | None = None
        self._started_at = self._runtime.clock.now()
        self._played_s = 0.0
        self._looks = 0
        self._notes: list[str] = []

    @property
    def seed(self) -> int:
        return self._options.seed

    @property
    def breaks(self) -> bool:
        """Whether it breaks parts of a lab."""
        return self._striker is not None

    # --- before ------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """:raises drover.errors.BadInput: another run of this seed left something."""
        flavors = self._fleet.ask(lambda api, ctx: api.flavor_list(ctx))
        if self._fleet.instances() or any(it.name == self._name for it in flavors):
            seed = self._options.seed
            raise errors.BadInput(reason=f"a run of seed {seed} left something: drover burnin --clean {seed}")
        if not self._options.flavor:
            new = Flavor(
                id=self._runtime.uuid(), name=self._name, vcpus=1, memory_mib=self._options.memory_mib, disk_gib=0
            )
            self._make(new)
        if self._lab is not None:
            lab, hypervisors = self._lab
            for host in lab.spec().host_names():
                hypervisors.add_stranger(host, stranger_of(self._options.seed))
        self._before = self._watcher.view()

    def _make(self, new: Flavor) -> None:
        try:
            self._fleet.ask(lambda api, ctx: api.flavor_create(ctx, new))
        except errors.NameTaken:
            made = self._fleet.ask(lambda api, ctx: api.flavor_list(ctx))
            if new.id not in {it.id for it in made}:  # else it was done before it was repeated
                raise

    # --- the run -----------------------------------------------------------------------------------------------

    def play(self, tell: Tell) -> None:
        """Until the time is over; *tell* is told every second how it goes."""
        clock = self._runtime.clock
        began_s = clock.monotonic()
        self._begin()
        try:
            while (left_s := began_s + self._options.seconds - clock.monotonic()) > 0:
                tell(self._words(left_s))
                self._over.wait(min(1.0, left_s))
        finally:
            self._over.set()
            self._played_s = clock.monotonic() - began_s

    def _begin(self) -> None:
        options, spawn = self._options, self._runtime.spawn
        setup = Setup(
            flavor=options.flavor or self._name,
            image=options.image,
            networks=options.networks,
            instances=options.instances,
            faults=options.faults,
        )
        for number in range(1, options.clients + 1):
            player = Player(self._fleet, self._ledger, setup, self._chance(number), self._over, self._absent)
            self._players.append(spawn(f"client-{number}", player.run))
        self._tasks.append(spawn("watch", self._watch))
        if (striker := self._striker) is not None:
            self._tasks.append(spawn("strike", lambda: striker.run(self._over)))
            self._mender = spawn("mend", striker.mend)

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            found, whole = self._watcher.glance()
            self._ledger.violated(found)
            self._looks += whole

    def _words(self, left_s: float) -> str:
        faults = f", {sum(self._striker.struck().kinds.values())} faults" if self._striker else ""
        violations = len(self._ledger.violations())
        return (
            f"{left_s:.0f} s left: {self._ledger.operations()} operations{faults}, {self._looks} looks, "
            f"{violations} violations"
        )

    def _absent(self) -> str:
        """What of a lab is not up now."""
        if self._lab is None:
            return "whether its conductors run is not known here"
        try:
            parts = self._lab[0].status()
        except (errors.DroverError, OSError) as exc:
            return f"what of the lab runs is not known: {exc}"
        down = [f"{part.name} is {part.state}" for part in parts if part.state != "up"]
        return ", ".join(down) or "every part of the lab is up"

    # --- after -------------------------------------------------------------------------------------------------

    def rest(self, tell: Tell) -> None:
        """Let the last operations end and everything be mended; then look at everything that must hold."""
        self._over.set()
        tell("waiting for the last operations")
        self._join(self._players, _LAST_S, "a client's last operation does not end")
        self._mend(tell)
        if self._before is not None:
            before = self._before
            self._settle(lambda: self._watcher.at_rest(before), tell, "coming to rest")
        self._ledger.violated(self._watcher.operations())

    def hurry(self, tell: Tell) -> None:
        """Instead of :meth:`rest`, when nobody wants to wait."""
        self._over.set()
        self._mend(tell)
        for player in self._players:
            player.join(_HASTE_S)

    def clean(self, tell: Tell) -> None:
        """Delete everything that the run made, then see whether anything is left of it."""
        left = clean(self._fleet, self._options.seed, tell)
        for it in left:
            self._ledger.violated(
                [Violation(what="it cannot be deleted", subject=f"instance {it.uuid}", evidence=it.vm_state)]
            )
        if self._before is not None:
            before = self._before
            crashed = self._striker.struck().crashed if self._striker else frozenset[str]()
            self._settle(lambda: self._watcher.afterwards(before, crashed=crashed), tell, "looking for what is left")
            self._notes += [f"domain {it} is not there any more" for it in audit.vanished(before, self._watcher.view())]
        if self._lab is not None:
            remove_strangers(self._lab, self._options.seed)

    def release(self) -> None:
        """Give frozen and cut parts of a lab back, at once: whoever calls this leaves."""
        self._over.set()
        if self._striker is not None:
            self._striker.release()

    def _mend(self, tell: Tell) -> None:
        if self._striker is None or self._mender is None:
            return
        tell("bringing up the lab")
        self._join(self._tasks, _MEND_S, "the faults do not end")
        self._striker.release()
        self._striker.close()
        self._join([self._mender], _MEND_S, "the lab does not come up")

    def _join(self, tasks: Sequence[Task], patience_s: float, what: str) -> None:
        for task in tasks:
            if not task.join(patience_s):
                self._ledger.violated([Violation(what=what, subject=task.name, evidence=f"{patience_s:g} s long")])

    def _settle(self, look: Callable[[], list[Violation]], tell: Tell, doing: str) -> None:
        """Look until there is nothing, or until the time for it is over: then what there is counts."""
        clock = self._runtime.clock
        deadline = clock.monotonic() + _REST_S
        revived = False
        while True:
            found = self._looked(look)
            if not found:
                return
            tell(f"{doing}: {len(found)} things are not right yet")
            if clock.monotonic() > deadline:
                if revived or not self._revive(tell):
                    break
                revived, deadline = True, clock.monotonic() + _REST_S
            self._runtime.sleep(_REST_LOOK_S)
        self._ledger.violated(found)

    def _looked(self, look: Callable[[], list[Violation]]) -> list[Violation]:
        try:
            return look()
        except errors.Unavailable as exc:
            return [Violation(what="it does not answer", subject="fleet", evidence=exc.message)]

    def _revive(self, tell: Tell) -> bool:
        """Start libvirtd anew where it was killed: libvirt 9.0 may come back with a lock of a domain held by nobody.

        False: none was.
        """
        if self._lab is None or self._striker is None:
            return False
        hosts = sorted(self._striker.struck().without_libvirtd)
        for host in hosts:
            tell(f"starting libvirtd of {host} anew")
            self._lab[0].restart(f"{host}.libvirtd")
        if hosts:
            self._notes.append(f"libvirtd had to be started anew, as libvirt 9.0 asks for: {', '.join(hosts)}")
        return bool(hosts)

    def report(self, *, interrupted: bool) -> Report:
        counts, refusals, failures = self._ledger.tally()
        operations = self._ledger.operations()
        dropped = (f"{verb} is unknown here: {why}" for verb, why in self._ledger.dropped().items())
        return Report(
            seed=self._options.seed,
            started_at=self._started_at,
            played_s=self._played_s,
            interrupted=interrupted,
            operations=operations,
            operations_per_s=operations / self._played_s if self._played_s else 0.0,
            verbs=rows_of(counts),
            refusals=refusals,
            failures=failures,
            faults=self._striker.struck().kinds if self._striker else {},
            looks=self._looks,
            notes=(*dropped, *self._notes),
            violations=self._ledger.violations(),
        )


def remove_strangers(lab: tuple[Lab, Hypervisors], seed: int) -> None:
    """From the hosts of a lab; absent ones are fine."""
    for host in lab[0].spec().host_names():
        lab[1].remove_stranger(host, stranger_of(seed))
