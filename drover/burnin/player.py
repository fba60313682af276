"""One client of the run: chooses a move, does it, waits for its end, and judges what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from drover import errors, log
from drover.burnin import judge
from drover.burnin.clean import delete_image
from drover.burnin.fleet import Fleet
from drover.burnin.ledger import Ledger, Turn
from drover.burnin.plan import Change, Move, Seen, choose
from drover.burnin.violation import Violation
from drover.objects import codec
from drover.objects.catalog import ImageStatus
from drover.objects.instance import CreateRequest
from drover.objects.operation import Operation
from drover.objects.update import InstanceUpdate
from drover.rpc.conductor import ConductorAPI
from drover.rpc.context import RequestContext
from drover.runtime import Event
from drover.runtime.runtime import Random
from drover.states import FINAL_STATES, Action, OperationState

__all__ = ["Player", "Setup"]

LOG = log.get(__name__)

T = TypeVar("T")

#: seconds until a client that found nothing to do looks again
_IDLE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the run builds, and how it plays."""

    flavor: str
    image: str
    networks: tuple[str, ...]
    instances: int  # so many are kept
    faults: bool


class Player:
    """Plays until *over*; several share a ledger.

    :param absent: words about parts that cannot answer now.
    """

    def __init__(
        self, fleet: Fleet, ledger: Ledger, setup: Setup, chance: Random, over: Event, absent: Callable[[], str]
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._setup = setup
        self._chance = chance
        self._over = over
        self._absent = absent

    def run(self) -> None:
        while not self._over.is_set():
            turn = self._ledger.take(
                lambda seen, building, dropped: choose(self._chance, seen, building, self._setup.instances, dropped)
            )
            if turn is None:
                self._over.wait(_IDLE_S)
            else:
                self._play(turn)

    def _play(self, turn: Turn) -> None:
        self._ledger.asked(turn.move.label)
        try:
            self._do(turn)
        except errors.Unavailable as exc:
            self._ledger.lose(turn)
            words = f"{exc.code}: {exc.message}, {self._fleet.patience_s:g} s long; {self._absent()}"
            self._violated("nobody answered", turn.move, words)
        except Exception as exc:  # whatever an answer makes of us is a finding, and the run goes on
            LOG.exception("move failed", move=turn.move.label)
            self._ledger.lose(turn)
            self._violated("an answer that no client understands", turn.move, f"{type(exc).__name__}: {exc}")

    def _do(self, turn: Turn) -> None:
        move = turn.move
        if move.target is None:
            self._build(turn)
        elif isinstance(move.verb, Change):
            self._change(turn, move.target)
        else:
            self._act(turn, move.verb, move.target)

    def _request(self, turn: Turn, work: Callable[[ConductorAPI, RequestContext], T]) -> T | None:
        """The answer to the request that the move is; None: it was refused."""
        try:
            return self._fleet.ask(work)
        except errors.Unavailable:
            raise
        except errors.DroverError as exc:
            self._refused(turn, exc)
            return None

    # --- the three kinds of moves ----------------------------------------------------------------------------

    def _build(self, turn: Turn) -> None:
        move = turn.move
        request = CreateRequest(
            name=self._ledger.name(),
            flavor=self._setup.flavor,
            image=self._setup.image,
            networks=self._setup.networks,
            count=move.count,
            restart=move.restart,
            idempotency_key=self._fleet.runtime.uuid(),
        )
        reply = self._request(turn, lambda api, ctx: api.instance_create(ctx, request))
        if reply is None:
            self._ledger.not_built(turn)
            return
        self._ledger.accepted(reply.operation_ids)
        self._ledger.built(turn, reply.instance_uuids, reply.names)
        if len(reply.names) != move.count:
            self._violated("a build makes as many as it was asked for", move, f"{move.count} asked, {reply.names} made")
        self._await(turn, reply.operation_ids)
        for uuid in reply.instance_uuids:
            self._leave(uuid)

    def _change(self, turn: Turn, target: Seen) -> None:
        verb = turn.move.verb
        update = InstanceUpdate(locked=verb is Change.LOCK)
        if verb is Change.RENAME:
            update = InstanceUpdate(name=self._ledger.name())
        if self._request(turn, lambda api, ctx: api.instance_update(ctx, target.uuid, update)):
            self._ledger.done(turn.move.label, turn.began_s)
        self._leave(target.uuid)

    def _act(self, turn: Turn, action: Action, target: Seen) -> None:
        params = dict(turn.move.params)
        if action is Action.SNAPSHOT:
            params["name"] = self._ledger.name()
        key = self._fleet.runtime.uuid()
        begun = self._request(turn, lambda api, ctx: api.instance_action(ctx, target.uuid, action, params, key))
        if begun is not None:
            self._ledger.accepted([begun.id])
            for ended in self._await(turn, [begun.id]):
                if action is Action.SNAPSHOT:
                    self._judge_image(turn.move, ended)
                if ended.state is OperationState.SUCCEEDED:
                    self._judge_state(turn, target.uuid)
        self._leave(target.uuid)

    # --- their ends ------------------------------------------------------------------------------------------

    def _await(self, turn: Turn, operation_ids: Sequence[str]) -> list[Operation]:
        """Those that ended within their budgets; the others are violations."""
        began_s, clock = turn.began_s, self._fleet.runtime.clock
        found = self._fleet.wait(operation_ids, 0.0)
        while late := [one for one in found if one.state not in FINAL_STATES]:
            left_s = max(map(judge.budget_s, late)) - (clock.monotonic() - began_s)
            if left_s <= 0:
                break
            found = self._fleet.wait(operation_ids, left_s)
        for one in found:
            if one.state in FINAL_STATES:
                self._ledger.ended(turn.move.label, one, began_s)
            why = judge.unexplained_end(one, faults=self._setup.faults)
            if why:
                what = "an operation ends within its budgets, and as something explains"
                self._tell(Violation(what=what, subject=f"operation {one.id}", evidence=f"{why}: {codec.to_json(one)}"))
        return [one for one in found if one.state in FINAL_STATES]

    def _judge_state(self, turn: Turn, uuid: str) -> None:
        after = self._fleet.ask(lambda api, ctx: api.instance_show(ctx, uuid))
        why = judge.unexplained_state(turn.move, after)
        if why and not self._ledger.raced(turn):
            self._violated("an instance is what its last verb made of it", turn.move, f"{why}: {codec.to_json(after)}")

    def _judge_image(self, move: Move, operation: Operation) -> None:
        """A snapshot that succeeded is an image that can be used; of any other nothing is left. It is not kept."""
        image_id = operation.params.get("image_id", "")
        found = [it for it in self._fleet.ask(lambda api, ctx: api.image_list(ctx)) if it.id == image_id]
        good = operation.state is OperationState.SUCCEEDED
        if (good and not (found and found[0].status is ImageStatus.ACTIVE)) or (found and not good):
            shown = f"operation {operation.id} {operation.state}, image {codec.to_json(found)}"
            self._violated("a snapshot is an image when it succeeds, and nothing when it does not", move, shown)
        if good and found:
            delete_image(self._fleet, image_id)

    def _leave(self, uuid: str) -> None:
        while (mark := self._ledger.step_back(uuid)) is not None:
            after = self._fleet.ask(lambda api, ctx: api.instance_show(ctx, uuid))
            if self._ledger.leave(uuid, mark, after):
                return

    def _refused(self, turn: Turn, error: errors.DroverError) -> None:
        move = turn.move
        raced = self._ledger.raced(turn) if move.target else False
        stale = self._ledger.had_ended(str(error.kwargs.get("operation_id", "")), turn)
        self._ledger.refused(move.label, type(error).code)
        if judge.is_unknown_verb(error):
            self._ledger.drop(move.verb, error.message)
        elif why := judge.unexplained_refusal(error, move, raced=raced, stale=stale):
            self._violated("a verb is refused only for a reason", move, f"{error.code}: {error.message}; but {why}")

    def _violated(self, what: str, move: Move, evidence: str) -> None:
        of = f" of instance {move.target.uuid}" if move.target else ""
        self._tell(Violation(what=what, subject=f"{move.label}{of}", evidence=evidence))

    def _tell(self, violation: Violation) -> None:
        self._ledger.violated([violation])
