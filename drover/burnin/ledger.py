"""What one run knows and counts: its instances, its requests, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from drover.burnin.plan import Move, Seen, Verb
from drover.burnin.violation import Violation
from drover.objects.instance import Instance
from drover.objects.operation import Operation
from drover.runtime import Runtime
from drover.states import OperationState, VmState

__all__ = ["Counts", "Ledger", "Turn"]


@dataclass(slots=True)
class _Card:
    """An instance of the run."""

    seen: Seen
    at_it: int = 0  # clients
    begun: int = 0  # moves, ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A move that a client has taken on itself."""

    number: int
    move: Move
    began_s: float
    begun: int = 0  # of the card, with this one
    alone: bool = True  # nobody else was at it when it began
    ended: int = 0  # so many operations were known to have ended before


@dataclass(slots=True)
class Counts:
    """Of one verb."""

    asked: int = 0
    refused: int = 0
    ends: Counter[str] = field(default_factory=Counter)  # by state
    latencies_s: list[float] = field(default_factory=list)  # of those that succeeded


class Ledger:
    """Thread-safe."""

    def __init__(self, runtime: Runtime, prefix: str) -> None:
        self._runtime = runtime
        self._prefix = prefix
        self._lock = runtime.lock()  # protects all that follows
        self._cards: dict[str, _Card] = {}
        self._gone: set[str] = set()
        self._unknown: set[str] = set()  # instances of which a request was never answered
        self._turns = 0
        self._building: dict[int, int] = {}  # instances asked for, by turn
        self._names = 0
        self._accepted: dict[str, Operation | None] = {}  # by id; None until it has been seen to have ended
        self._ended: dict[str, int] = {}  # by id, the how manieth it was
        self._dropped: dict[Verb, str] = {}
        self._counts: dict[str, Counts] = {}
        self._refusals: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._violations: dict[tuple[str, str], Violation] = {}

    # --- moves ---------------------------------------------------------------------------------------------

    def take(self, choose: Callable[[list[Seen], int, Collection[Verb]], Move | None]) -> Turn | None:
        """Let *choose* make a move of what is known, and take it on."""
        with self._lock:
            seen = [replace(card.seen, busy=card.at_it > 0) for card in self._cards.values()]
            move = choose(seen, sum(self._building.values()), self._dropped)
            if move is None:
                return None
            self._turns += 1
            number, began_s, ended = self._turns, self._runtime.clock.monotonic(), len(self._ended)
            if move.target is None:
                self._building[number] = move.count
                return Turn(number=number, move=move, began_s=began_s, ended=ended)
            card = self._cards[move.target.uuid]
            alone = card.at_it == 0
            card.at_it += 1
            card.begun += 1
            return Turn(number=number, move=move, began_s=began_s, begun=card.begun, alone=alone, ended=ended)

    def name(self) -> str:
        """Of an instance or image; never the same twice."""
        with self._lock:
            self._names += 1
            return f"{self._prefix}-{self._names}"

    def built(self, turn: Turn, uuids: Iterable[str], names: Iterable[str]) -> None:
        """The instances of a build request exist; its client is at them."""
        with self._lock:
            self._building.pop(turn.number, None)
            for uuid, name in zip(uuids, names, strict=True):
                seen = Seen(uuid=uuid, name=name, vm_state=VmState.BUILDING)
                self._cards[uuid] = _Card(seen=seen, at_it=1, begun=1)

    def not_built(self, turn: Turn) -> None:
        """A build request made nothing."""
        with self._lock:
            self._building.pop(turn.number, None)

    def raced(self, turn: Turn) -> bool:
        """Whether another client was at the instance since the move was chosen."""
        uuid = turn.move.target.uuid if turn.move.target else ""
        with self._lock:
            card = self._cards.get(uuid)
            return card is None or not turn.alone or card.begun != turn.begun

    def had_ended(self, operation_id: str, turn: Turn) -> bool:
        """Whether an operation was known to have ended before the move was chosen."""
        with self._lock:
            return self._ended.get(operation_id, turn.ended) < turn.ended

    def step_back(self, uuid: str) -> int | None:
        """A client is done with an instance. The last one gets a mark, and looks how it is before it leaves."""
        with self._lock:
            card = self._cards.get(uuid)
            if card is not None and card.at_it > 1:
                card.at_it -= 1
                return None
            return card.begun if card is not None else None

    def leave(self, uuid: str, mark: int, after: Instance) -> bool:
        """The last client leaves an instance, which is *after* now; False: another has come since *mark*."""
        with self._lock:
            card = self._cards.get(uuid)
            if card is None:
                return True
            if after.vm_state is VmState.DELETED:
                self._gone.add(uuid)
                del self._cards[uuid]
                return True
            if card.begun != mark:
                return False
            card.at_it = 0
            card.seen = replace(card.seen, name=after.name, vm_state=after.vm_state, locked=after.locked)
            return True

    def lose(self, turn: Turn) -> None:
        """Nobody answered a request, which may have been done or may yet be: the run leaves the instance alone."""
        with self._lock:
            self._building.pop(turn.number, None)
            self._unknown.add(turn.move.target.uuid if turn.move.target else "")

    def drop(self, verb: Verb, why: str) -> None:
        """The fleet does not know *verb*: it is not chosen again."""
        with self._lock:
            self._dropped.setdefault(verb, why)

    # --- what came of them ---------------------------------------------------------------------------------

    def asked(self, label: str) -> None:
        with self._lock:
            self._counts.setdefault(label, Counts()).asked += 1

    def accepted(self, operation_ids: Iterable[str]) -> None:
        with self._lock:
            for operation_id in operation_ids:
                self._accepted.setdefault(operation_id, None)

    def refused(self, label: str, code: str) -> None:
        with self._lock:
            self._counts.setdefault(label, Counts()).refused += 1
            self._refusals[code] += 1

    def ended(self, label: str, operation: Operation, began_s: float) -> None:
        """An operation was seen to have ended; of one that two clients waited for each tells."""
        with self._lock:
            now_s = self._runtime.clock.monotonic()
            if self._accepted.get(operation.id) is not None:
                return
            self._accepted[operation.id] = operation
            self._ended[operation.id] = len(self._ended)
            counts = self._counts.setdefault(label, Counts())
            counts.ends[operation.state.value] += 1
            if operation.state is OperationState.SUCCEEDED:
                counts.latencies_s.append(now_s - began_s)
            elif operation.state is OperationState.FAILED and operation.error is not None:
                self._failures[f"{label}: {operation.error.code}"] += 1

    def done(self, label: str, began_s: float) -> None:
        """A request that is no operation was answered."""
        with self._lock:
            counts = self._counts.setdefault(label, Counts())
            counts.ends[OperationState.SUCCEEDED.value] += 1
            counts.latencies_s.append(self._runtime.clock.monotonic() - began_s)

    def violated(self, violations: Iterable[Violation]) -> list[Violation]:
        """Keep them; those that are new."""
        with self._lock:
            new = [it for it in violations if (it.what, it.subject) not in self._violations]
            now = self._runtime.clock.now()
            self._violations.update(((it.what, it.subject), replace(it, at=now)) for it in new)
            return new

    # --- looks ---------------------------------------------------------------------------------------------

    def knows_operation(self, operation_id: str) -> bool:
        with self._lock:
            return operation_id in self._accepted

    def unknown(self) -> frozenset[str]:
        """Instances of which a request was never answered; ``""`` among them: of a build."""
        with self._lock:
            return frozenset(self._unknown)

    def uuids(self) -> frozenset[str]:
        """Every instance that the run made."""
        with self._lock:
            return frozenset(self._cards) | self._gone

    def live(self) -> tuple[str, ...]:
        """Instances that are there as far as is known; those of which a request was never answered may not be."""
        with self._lock:
            return tuple(uuid for uuid in self._cards if uuid not in self._unknown)

    def dropped(self) -> dict[str, str]:
        """Verbs that the fleet does not know, each with its words."""
        with self._lock:
            return {verb.value: why for verb, why in self._dropped.items()}

    def violations(self) -> tuple[Violation, ...]:
        with self._lock:
            return tuple(self._violations.values())

    def tally(self) -> tuple[dict[str, Counts], dict[str, int], dict[str, int]]:
        """Counts by verb, refusals by code, failures by verb and code: copies."""
        with self._lock:
            counts = {
                label: Counts(
                    asked=it.asked, refused=it.refused, ends=Counter(it.ends), latencies_s=list(it.latencies_s)
                )
                for label, it in self._counts.items()
            }
            return counts, dict(self._refusals), dict(self._failures)

    def operations(self) -> int:
        """So many were accepted."""
        with self._lock:
            return len(self._accepted)
