"""``audit``: the fleet's records against each other, the depot's files and the broker's queues; and what heals them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

from conductor.core import Core
from conductor.depot_store import DepotStore
from conductor.plan.doctor import finding, tells
from conductor.plan.hardware import beyond, shared, some
from conductor.workflows.host import SERVICE_DOWN_AFTER_S
from drover import errors, log, retry
from drover.clock import age_s
from drover.db import host, notice
from drover.db import image as images
from drover.db.audit import CHECKS, MOST, Check, Row, heal, look
from drover.db.audit_hardware import read_held
from drover.objects.audit import AuditReport, Finding, Healed
from drover.objects.catalog import ImageStatus
from drover.objects.name import looks_like_id
from drover.rpc import agent
from drover.rpc.bus import Address, Inspectable
from drover.rpc.context import RequestContext

__all__ = ["DoctorWorkflow"]

LOG = log.get(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """A finding, and what mends it: answers whether it was still so."""

    finding: Finding
    heal: Callable[[], bool] | None


class DoctorWorkflow:
    """Reads everything, keeps nothing.

    :param depot: None: this conductor serves none.
    """

    def __init__(self, core: Core, depot: DepotStore | None) -> None:
        self._core = core
        self._depot = depot

    def audit(self, ctx: RequestContext, wanted: Collection[tuple[str, str]]) -> AuditReport:
        """See the contract. What was to be healed is looked at again, so that the report tells what is left."""
        found, missing = self._look()
        if not wanted:
            return AuditReport(findings=tuple(each.finding for each in found), partial=tuple(missing))
        healed = [self._heal(each) for each in found if (each.finding.code, each.finding.subject) in wanted]
        known = {(each.code, each.subject) for each in healed}
        healed += [
            Healed(code=code, subject=subject, done=False, detail="it is gone already")
            for code, subject in wanted
            if (code, subject) not in known
        ]
        LOG.warning("healed", findings=sum(each.done for each in healed), user=ctx.user_id, request_id=ctx.request_id)
        left, missing = self._look()
        return AuditReport(findings=tuple(each.finding for each in left), healed=tuple(healed), partial=tuple(missing))

    def _heal(self, found: _Found) -> Healed:
        it = found.finding
        if found.heal is None:
            return Healed(code=it.code, subject=it.subject, done=False, detail=it.cure)
        try:
            done = found.heal()
        except errors.DroverError as exc:
            return Healed(code=it.code, subject=it.subject, done=False, detail=f"{exc.code}: {exc.message}")
        return Healed(code=it.code, subject=it.subject, done=done, detail="" if done else "it has changed meanwhile")

    # --- looking -----------------------------------------------------------------------------------------------

    def _look(self) -> tuple[list[_Found], list[str]]:
        found: list[_Found] = []
        missing: list[str] = []
        for check in CHECKS:
            rows, more = self._rows(check)
            now = self._core.runtime.clock.now()
            found += [self._of_row(check, row) for row in rows if tells(check.code, row, now)]
            if more:
                missing.append(f"{check.code}: more than {MOST}")
        found += self._hardware()
        found += self._services()
        for others in (self._depot_files, self._queues):
            try:
                found += others()
            except (errors.Unavailable, OSError) as exc:
                missing.append(str(exc))
        return found, missing

    def _rows(self, check: Check) -> tuple[list[Row], bool]:
        core = self._core
        with core.database.read() as conn:
            return look(conn, check, core.runtime.clock.now(), owner_lease_s=core.times.owner_lease_s)

    def _of_row(self, check: Check, row: Row) -> _Found:
        if check.heal is None:
            return _found(check.code, row)
        return _found(check.code, row, lambda: self._mend(check, row))

    def _mend(self, check: Check, row: Row) -> bool:
        def once() -> bool:
            with self._core.database.write() as conn:
                return heal(conn, check, row)

        return retry.while_busy(self._core.runtime, once)

    def _hardware(self) -> Iterator[_Found]:
        with self._core.database.read() as conn:
            hosts = read_held(conn)
        for each in hosts:
            for code, pieces in (
                ("HardwareTwice", shared(each.held)),
                ("HardwareBeyond", beyond(each.offer, each.held)),
            ):
                if pieces:
                    yield _found(code, {"host": each.host, "pieces": some(pieces)})

    def _services(self) -> Iterator[_Found]:
        now = self._core.runtime.clock.now()
        with self._core.database.read() as conn:
            seen = [at for kind, _, _, at in notice.services(conn) if kind == "scheduler"]
        silent_s = age_s(max(seen), now) if seen else SERVICE_DOWN_AFTER_S
        if silent_s >= SERVICE_DOWN_AFTER_S:
            yield _found("NoService", {"kind": "scheduler", "seconds": silent_s})

    def _depot_files(self) -> Iterator[_Found]:
        """Files are listed before records are read: an image's record is older than its first byte.

        :raises OSError: the directory is not there.
        """
        depot = self._depot
        if depot is None:
            return
        files = {image_id for image_id in depot.image_ids() if looks_like_id(image_id)}
        with self._core.database.read() as conn:
            known = {image.id: image for image in images.list_all(conn)}
            deleted = images.deleted(conn, files)
        for image in known.values():
            if image.status is ImageStatus.ACTIVE and not image.url and depot.size(image.id) != image.size_bytes:
                row = {"id": image.id, "name": image.name, "size_bytes": image.size_bytes}
                yield _found("ImageBytesMissing", {**row, "found": depot.size(image.id)})
        for image_id in sorted(deleted):
            yield _found("DepotStray", {"id": image_id}, partial(self._remove, depot, image_id))
        for image_id in sorted(files - known.keys() - deleted):
            yield _found("DepotUnknown", {"id": image_id, "size_bytes": depot.size(image_id)})

    def _remove(self, depot: DepotStore, image_id: str) -> bool:
        with self._core.database.read() as conn:
            if images.find(conn, image_id) is not None:
                return False
        depot.remove(image_id)
        return True

    def _queues(self) -> Iterator[_Found]:
        """:raises errors.Unavailable: the broker is away."""
        bus = self._core.bus
        if not isinstance(bus, Inspectable):
            return
        with self._core.database.read() as conn:
            up = {Address(agent.CONTRACT.topic, pulse.host): pulse.host for pulse in host.pulses(conn) if pulse.up}
        for address, queue in bus.inspect(sorted(up, key=str)).items():
            if not queue.readers:
                row = {"queue": address, "messages": queue.messages, "host": up[address]}
                yield _found("QueueUnread", row)


def _found(code: str, row: Row, heal_it: Callable[[], bool] | None = None) -> _Found:
    return _Found(finding(code, row, healable=heal_it is not None), heal_it)
