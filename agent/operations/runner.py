"""Takes one order through its steps to its end: done, failed and undone, or left for the next incarnation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from agent.journal import Journal
from agent.operations.step import Attempt, Step
from agent.operations.token import Reason
from drover import errors, log
from drover.objects.operation import ErrorInfo, StepRecord
from drover.objects.sync import Outcome, Result
from drover.runtime import Clock, Runtime
from drover.runtime.points import Points
from drover.states import VERBS, Evidence, PowerState

__all__ = ["Runner"]

LOG = log.get(__name__)

#: why an order ends without a result: the next incarnation, or nobody, wants to hear of it
_SILENT = frozenset({Reason.DROPPED, Reason.SUPERSEDED, Reason.SHUTDOWN})
#: seconds that a build which could go elsewhere, or an undo, waits for a hypervisor that is away, and between two tries
_PATIENCE_S, _ASK_AGAIN_S = 30.0, 0.5


class Runner:
    """Runs attempts in whatever task calls it."""

    def __init__(self, runtime: Runtime, journal: Journal, points: Points) -> None:
        self._runtime = runtime
        self._clock = runtime.clock
        self._journal = journal
        self._points = points

    def run(self, attempt: Attempt, steps: tuple[Step, ...]) -> Result | None:
        """The result to report, already in the journal, or None when there is nothing to report.

        Whatever an order did to the host before it failed is undone, but for a stop of the agent (the next
        incarnation goes on) and for a permitted guest whose order was taken away (its ``leaving`` record says
        when it goes).
        """
        order = attempt.order
        started_at = self._clock.now()
        trail = _Trail(self._clock)
        undo = ExitStack()  # never entered: the death of this incarnation must not undo anything
        error = self._steps(attempt, steps, trail, undo)
        reason = attempt.token.reason
        if error is None:
            undo.pop_all()
            outcome = Outcome.SUCCEEDED
        else:
            if reason is Reason.SHUTDOWN or (reason in _SILENT and attempt.permitted):
                return None
            self._undo(attempt, trail, undo)
            if reason in _SILENT:
                return None
            outcome = Outcome.CANCELLED if reason is Reason.REFUSED else Outcome.FAILED
        result = Result(
            operation_id=order.operation_id,
            attempt=order.attempt,
            instance_uuid=order.instance_uuid,
            epoch=order.epoch,
            outcome=outcome,
            clean=attempt.removed,
            power_state=attempt.power_state if error is None else PowerState.UNKNOWN,
            error=error,
            started_at=started_at,
            steps=tuple(trail.records),
        )
        if order.operation_id:
            self._journal.result(result)
            self._points.hit(f"{order.action}.result")
        return result

    def _steps(self, attempt: Attempt, steps: tuple[Step, ...], trail: _Trail, undo: ExitStack) -> ErrorInfo | None:
        """Do what is to do; the error that ended it, or None."""
        order = attempt.order
        before = self._journal.marks((order.operation_id, order.attempt)) if attempt.resumed else frozenset()
        attempt.facts |= before
        try:
            for step in steps:
                if attempt.settled or attempt.resume_at not in ("", step.name):
                    trail.add(step.name, "skipped", "found done")
                    continue
                attempt.token.check()
                if step is steps[0]:
                    self._begin(attempt)
                if step.undo is not None:
                    undo.callback(partial(self._take_back, attempt, step.undo))
                attempt.resume_at = ""
                self._step(attempt, step, trail)
                if step.name in before:
                    trail.note("done before a restart, too")
                self._remember(attempt, step)
        except errors.OperationCancelled as exc:
            trail.end("cancelled", exc.message)
            return _info(self._cause(attempt, exc))
        except errors.DroverError as exc:
            trail.end("failed", exc.message)
            return _info(exc)
        except Exception as exc:
            LOG.exception("step failed", operation=order.operation_id, instance=order.instance_uuid)
            trail.end("failed", str(exc))
            return _info(errors.DroverError(detail=f"{type(exc).__name__}: {exc}"))
        return None

    def _begin(self, attempt: Attempt) -> None:
        order = attempt.order
        if attempt.resumed or not order.operation_id:
            return
        self._journal.begun(order)
        if VERBS[order.action].evidence is not Evidence.LEVEL:
            self._journal.flush()  # without natural evidence, whether it was begun must not be forgotten

    def _step(self, attempt: Attempt, step: Step, trail: _Trail) -> None:
        point = f"{attempt.order.action}.{step.name}"
        self._points.hit(point)
        trail.begin(step.name)
        self._do(attempt, step)
        trail.end("done")
        self._points.hit(f"{point}.done")

    def _do(self, attempt: Attempt, step: Step) -> None:
        """The step, again while the hypervisor is away: steps are idempotent, and a daemon restarts in seconds.

        What may run here can be made nowhere else, so it waits as long as its budget lasts; a build without a
        permit goes elsewhere soon.
        """
        began_s = self._clock.monotonic()
        while True:
            try:
                step.run(attempt)
            except errors.DriverUnavailable:
                bound = attempt.permitted or not VERBS[attempt.order.action].places
                patient = bound or self._clock.monotonic() - began_s < _PATIENCE_S
                if not patient or attempt.token.wait(_ASK_AGAIN_S):
                    raise
            else:
                return

    def _remember(self, attempt: Attempt, step: Step) -> None:
        """The step as done, and what it found out."""
        key = (attempt.order.operation_id, attempt.order.attempt)
        if key[0]:
            for mark in sorted({step.name} | (attempt.facts - self._journal.marks(key))):
                self._journal.mark(key, mark)

    def _take_back(self, attempt: Attempt, undo: Callable[[Attempt], None]) -> None:
        """The undo of one step, again for a while when the hypervisor is away.

        Not where a ``leaving`` record does it later, and the next host is not to wait.
        """
        until_s = self._clock.monotonic() + _PATIENCE_S
        while True:
            try:
                undo(attempt)
            except errors.DriverUnavailable:
                if VERBS[attempt.order.action].places or self._clock.monotonic() >= until_s:
                    raise
                self._runtime.sleep(_ASK_AGAIN_S)
            else:
                return

    def _undo(self, attempt: Attempt, trail: _Trail, undo: ExitStack) -> None:
        if not attempt.made:
            return
        self._points.hit(f"{attempt.order.action}.undo")
        trail.begin("undo")
        try:
            undo.close()
            trail.end("undone")
        except errors.DroverError as exc:
            attempt.removed = False
            trail.end("failed", exc.message)
            LOG.warning(
                "undo failed",
                operation=attempt.order.operation_id,
                instance=attempt.order.instance_uuid,
                error=exc,
            )
        self._points.hit(f"{attempt.order.action}.undo.done")

    def _cause(self, attempt: Attempt, exc: errors.OperationCancelled) -> errors.DroverError:
        if attempt.token.reason is Reason.BUDGET:
            return errors.BudgetExceeded(action=attempt.order.action.value, budget_s=attempt.order.budget_s)
        return exc


class _Trail:
    """The steps as they went, with times from the start of the attempt."""

    def __init__(self, clock: Clock) -> None:
        self.records: list[StepRecord] = []
        self._clock = clock
        self._began_s = clock.monotonic()
        self._current: tuple[str, float] | None = None

    def begin(self, name: str) -> None:
        self._current = (name, self._clock.monotonic())

    def end(self, outcome: str, detail: str = "") -> None:
        """End the current step, if one is under way."""
        if self._current is not None:
            name, began_s = self._current
            self._current = None
            self._put(name, began_s, self._clock.monotonic() - began_s, (outcome, detail))

    def add(self, name: str, outcome: str, detail: str) -> None:
        """A step that took no time."""
        self._put(name, self._clock.monotonic(), 0.0, (outcome, detail))

    def note(self, detail: str) -> None:
        """Words for the last step."""
        self.records[-1] = replace(self.records[-1], detail=detail)

    def _put(self, name: str, began_s: float, duration_s: float, end: tuple[str, str]) -> None:
        outcome, detail = end
        at_s = round(began_s - self._began_s, 6)
        record = StepRecord(name=name, at_s=at_s, duration_s=round(duration_s, 6), outcome=outcome, detail=detail)
        self.records.append(record)


def _info(error: errors.DroverError) -> ErrorInfo:
    return ErrorInfo(code=error.code, message=error.message, retryable=error.retryable, params=error.kwargs)
