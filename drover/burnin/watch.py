"""Looks at the promises: sampled while the run plays, whole when it has come to rest and when it has cleaned up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from drover import errors
from drover.burnin import audit
from drover.burnin.audit import View
from drover.burnin.fleet import USER, Fleet
from drover.burnin.guest import Hypervisors
from drover.burnin.ledger import Ledger
from drover.burnin.violation import Violation
from drover.objects import codec
from drover.objects.audit import Finding
from drover.states import FINAL_STATES

__all__ = ["Watcher"]

#: what others did to their instances just before the run began may show in it
_BEFORE = timedelta(minutes=1)


class Watcher:
    """:param hypervisors: of the lab that the fleet is; None: only the fleet itself tells."""

    def __init__(self, fleet: Fleet, ledger: Ledger, hypervisors: Hypervisors | None) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._hypervisors = hypervisors
        self._hasty = replace(fleet, patience_s=0.0)  # a look that parts of the fleet are too dead for is left out

    def view(self) -> View:
        """:raises drover.errors.Unavailable: somebody does not answer."""
        return View(
            at=self._fleet.runtime.clock.now(),
            hosts=self._fleet.hosts(),
            everyone=self._fleet.instances(everyones=True),
            project=self._fleet.project,
            guests=tuple(self._hypervisors.all()) if self._hypervisors else None,
            images=self._fleet.ask(lambda api, ctx: api.image_list(ctx)),
            found=self._audit(),
        )

    def _audit(self) -> tuple[Finding, ...]:
        try:
            return self._fleet.ask(lambda api, ctx: api.audit(ctx)).findings
        except (errors.UnknownMethod, errors.BadRequest):
            return ()  # an older fleet has no such audit

    def glance(self) -> tuple[list[Violation], bool]:
        """What must hold at every instant; and whether the fleet was there to be asked."""
        found: list[Violation] = []
        if self._hypervisors is not None:
            found += audit.doubled(self._hypervisors.running())
        try:
            found += audit.capacity(self._hasty.hosts())
            found += audit.addresses(self._hasty.instances())
        except errors.Unavailable:
            return found, False
        return found, True

    def at_rest(self, before: View) -> list[Violation]:
        """What must hold when nothing is asked for and nothing is broken, once it has settled.

        :raises drover.errors.Unavailable: somebody does not answer.
        """
        view, made = self.view(), self._ledger.uuids()
        found = [
            Violation(what="it does not come to rest", subject=self._fleet.project, evidence=words)
            for words in audit.unsettled(view.ours)
        ]
        found += audit.doubled(self._hypervisors.running() if self._hypervisors else ())
        found += audit.capacity(view.hosts)
        found += audit.addresses(view.everyone)
        found += audit.agreement(view, made)
        found += audit.sums(view)
        found += audit.findings(before.found, view.found)
        found += self._lost_or_doubled({it.uuid for it in view.ours})
        return found

    def _lost_or_doubled(self, there: Collection[str]) -> list[Violation]:
        lost = set(self._ledger.live()) - set(there)
        doubled = set(there) - self._ledger.uuids() if "" not in self._ledger.unknown() else set[str]()
        return [
            *(_of_instance(uuid, "it was lost", "the fleet does not list it") for uuid in sorted(lost)),
            *(_of_instance(uuid, "nobody asked for it", "it is in the run's project") for uuid in sorted(doubled)),
        ]

    def operations(self) -> list[Violation]:
        """Every operation of the run is one that a client was told of, and has ended."""
        found: list[Violation] = []
        for it in self._fleet.operations():
            subject = f"operation {it.id}"
            if it.state not in FINAL_STATES:
                found.append(Violation(what="it is stuck", subject=subject, evidence=codec.to_json(it)))
            asked = self._ledger.knows_operation(it.id) or it.instance_uuid in self._ledger.unknown()
            if it.user_id == USER and not asked and it.instance_uuid in self._ledger.uuids():
                what = "a request had a second effect"
                found.append(Violation(what=what, subject=subject, evidence=codec.to_json(it)))
        return found

    def afterwards(self, before: View, *, crashed: Collection[str]) -> list[Violation]:
        """What must hold when everything of the run was deleted, once it has settled.

        :raises drover.errors.Unavailable: somebody does not answer.
        """
        view, made = self.view(), self._ledger.uuids()
        files = self._hypervisors.files(made) if self._hypervisors else []
        gone = self._fleet.instances(deleted=True)
        found = [*audit.leftovers(view, made, files, gone, f"{self._fleet.project}-")]
        found += audit.sums(view)
        found += audit.findings(before.found, view.found)
        found += audit.strangers(before, view, crashed=crashed)
        found += self._bystanders(before, view, crashed)
        return found

    def _bystanders(self, before: View, after: View, crashed: Collection[str]) -> list[Violation]:
        """Instances of others that changed though nobody asked anything of them."""
        suspects = {it.uuid for it in audit.changed(before, after, crashed=crashed)}
        asked = {uuid for uuid in suspects if self._asked_since(uuid, before)}
        return [
            _of_instance(it.uuid, "an instance of others changed", codec.to_json(it))
            for it in audit.changed(before, after, crashed=crashed)
            if it.uuid not in asked
        ]

    def _asked_since(self, uuid: str, before: View) -> bool:
        since = before.at - _BEFORE
        return any(it.created_at >= since for it in self._fleet.operations(instance=uuid, everyones=True))


def _of_instance(uuid: str, what: str, evidence: str) -> Violation:
    return Violation(what=what, subject=f"instance {uuid}", evidence=evidence)
