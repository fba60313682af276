"""Verbs on an existing instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from conductor.begin import begin
from conductor.core import Core
from conductor.effect import Applied
from conductor.idempotency import digest_of, recalled
from conductor.plan.verb import New, effective, image_to_fill, joins, plan_verb, refuse
from conductor.points import Commit
from conductor.rule.verb import check_fit, check_parameters, check_same_kind
from drover import errors, log, retry
from drover.db import image as images
from drover.db import instance, notice, operation, orphan, placement
from drover.objects import codec
from drover.objects.catalog import Image, ImageStatus
from drover.objects.instance import Instance
from drover.objects.operation import Operation
from drover.objects.placement import Placement
from drover.objects.sync import Order
from drover.rpc.context import RequestContext
from drover.runtime.joiner import Joiner
from drover.states import STARTING, VERBS, Action, OperationState

__all__ = ["ActionWorkflow"]

LOG = log.get(__name__)

#: verbs that look at where the instance is
_PLACED = frozenset({Action.DELETE, Action.UNSHELVE})


@dataclass(frozen=True, slots=True)
class _Job:
    ctx: RequestContext
    ref: str  # uuid or name of an instance
    action: Action
    params: dict[str, str]
    key: tuple[str, str]  # project, idempotency key or ""
    digest: str


@dataclass(slots=True)
class _Written:
    """What one transaction came to; counts only when it was committed."""

    answers: dict[int, Operation | Exception] = field(default_factory=dict)
    applied: Applied = field(default_factory=Applied)
    handed_out: list[Operation] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)


class ActionWorkflow:
    """``instance_action`` of the contract. Requests that arrive together share a transaction."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._joiner: Joiner[_Job, Operation] = Joiner(core.runtime, self._batch, window_s=core.times.join_window_s)

    def run(
        self, ctx: RequestContext, ref: str, action: Action, params: dict[str, str], idempotency_key: str
    ) -> Operation:
        """Write the operation and what it changes at once, then nudge its host (see the contract)."""
        params = check_parameters(action, params)
        digest = digest_of({"instance": ref, "action": action.value, "params": params})
        return self._joiner.submit(_Job(ctx, ref, action, params, (ctx.project_id, idempotency_key), digest))

    def _batch(self, jobs: Sequence[_Job]) -> list[Operation | Exception]:
        try:
            written = retry.while_busy(self._core.runtime, lambda: self._write(jobs))
        except errors.StoreConflict:
            if len(jobs) > 1:
                raise  # the joiner tries each alone
            # Another conductor was at the same instance or key. The second try sees what it wrote.
            written = retry.while_busy(self._core.runtime, lambda: self._write(jobs))
        self._core.after(written.applied)
        self._core.send(written.handed_out, written.orders)
        return [written.answers[place] for place in range(len(jobs))]

    def _write(self, jobs: Sequence[_Job]) -> _Written:
        written = _Written()
        with self._core.transaction(Commit.ACTION) as conn:
            left = dict(enumerate(jobs))
            while left:
                left = self._round(conn, left, written)
            written.orders = self._core.orders.hand_out(conn, written.handed_out)
        return written

    def _round(self, conn: Connection, jobs: Mapping[int, _Job], written: _Written) -> dict[int, _Job]:
        """Do those that name different instances by uuid; answers the others, for the next round.

        Instances are read under the lock of their unfinished operations, which may have ended meanwhile, and under
        their own: a verb of another conductor may begin and end between the two reads. One that begins later
        finds the operation of this one.
        """
        uuids = [job.ref for job in jobs.values()]
        known = notice.recall(conn, [job.key for job in jobs.values() if job.key[1]])
        busy = operation.unfinished_of_instances(conn, uuids, lock=True)
        targets = {uuid: i for uuid, i in instance.find(conn, uuids, lock=True).items() if i.deleted_at is None}
        placed = [job.ref for job in jobs.values() if job.action in _PLACED]
        placements = placement.find_of_instances(conn, placed, lock=True)
        later: dict[int, _Job] = {}
        new: dict[int, New] = {}
        remember: dict[tuple[str, str], notice.Remembered] = {}
        for place, job in jobs.items():
            try:
                before = recalled({**known, **remember}, job.key, job.digest)
                target = targets.pop(job.ref, None)
                if job.key in remember:
                    later[place] = job  # a repeat of what this round writes
                elif before is not None:
                    written.answers[place] = _existing(conn, before)
                elif target is None:  # by its name, or another request of this round has it
                    uuid = instance.resolve(conn, job.ref, project_id=job.ctx.project_id).uuid
                    later[place] = replace(job, ref=uuid)
                else:
                    decided = self._decide(conn, job, target, busy.get(job.ref), placements.get(job.ref, ()))
                    op = decided.operation if isinstance(decided, New) else decided
                    written.answers[place] = op
                    if isinstance(decided, New):
                        new[place] = decided
                    if job.key[1]:
                        remember[job.key] = notice.Remembered(job.digest, codec.to_json(op.id))
            except errors.DroverError as exc:
                if isinstance(exc, errors.Unavailable):
                    raise
                written.answers[place] = exc
        notice.remember(conn, remember, self._core.runtime.clock.now())
        self._insert(conn, new, written)
        return later

    def _decide(
        self, conn: Connection, job: _Job, target: Instance, busy: Operation | None, here: Sequence[Placement]
    ) -> New | Operation:
        """What one request begins, or the operation that is at it already.

        :raises errors.InstanceLocked: InstanceBusy, InvalidState and their like: it begins nothing.
        """
        core = self._core
        action = effective(job.action, job.params, target, core.times.reclaim_instance_interval_s)
        if busy is not None and joins(action, busy):
            return busy
        refuse(action, job.params, target, busy, core.runtime.clock.now())
        if action in STARTING and (hosts := orphan.hosts_of(conn, target.uuid, anywhere=VERBS[action].places)):
            raise errors.InstanceElsewhere(action=action.value, instance=target.name, hosts=", ".join(hosts))
        op = core.new_operation(job.ctx, target, action, job.params)
        return plan_verb(op, target, busy, here, self._image(conn, action, job.params, target))

    def _image(self, conn: Connection, action: Action, params: Mapping[str, str], target: Instance) -> Image | None:
        """What a rebuild or rescue boots, what a snapshot or shelve is to fill; None for other verbs.

        :raises errors.ImageNotFound: AmbiguousName, ImageNotReady, InvalidImage, InvalidFlavor: it cannot be used.
        """
        if VERBS[action].uploads:
            base = images.get_many(conn, [target.image_id]).get(target.image_id)
            return image_to_fill(target, base, self._core.runtime.uuid(), params.get("name", ""))
        if action not in (Action.REBUILD, Action.RESCUE):
            return None
        ref = params.get("image") or target.image_id
        found = images.resolve(conn, ref)
        if found.status is not ImageStatus.ACTIVE:
            raise errors.ImageNotReady(ref=ref, status=found.status.value)
        if action is Action.REBUILD:
            check_fit(target.flavor, found)
            before = images.get_many(conn, [target.image_id]).get(target.image_id, found)
            check_same_kind(target.flavor, found, before)
        return found

    def _insert(self, conn: Connection, new: Mapping[int, New], written: _Written) -> None:
        applied, operations = begin(self._core, conn, list(new.values()))
        written.applied.add(applied)
        written.answers.update(zip(new, operations, strict=True))
        written.handed_out += [op for op in operations if op.state is OperationState.DISPATCHED]


def _existing(conn: Connection, reply: str) -> Operation:
    operation_id = codec.from_json(reply, str)
    found = operation.get(conn, operation_id)
    if found is None:
        raise errors.OperationNotFound(ref=operation_id)
    return found
