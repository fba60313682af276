"""Waiting for operations: one long poll for all of them, with a progress bar for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from drover import errors
from drover.cli import progress
from drover.cli.session import Session
from drover.objects.operation import Operation
from drover.rpc.conductor import WaitReply
from drover.states import FINAL_STATES, OperationState

__all__ = ["failure_of", "wait_for"]

#: seconds of one long poll; the conductor takes at most 60
POLL_S = 30.0
#: the same while somebody watches the bar, and how many answers move it from end to end
WATCHED_POLL_S = 2.0
WATCHED_STEPS = 50
#: operations of one long poll; the conductor takes at most 2000
POLL_IDS = 1000


def wait_for(session: Session, operation_ids: Sequence[str]) -> tuple[Operation, ...]:
    """The operations as they ended, in the order asked for.

    :raises drover.errors.WaitTimeout: some are unfinished after the session's ``wait_s``; they go on.
    """
    if not operation_ids:
        return ()  # all was refused: no bar for nothing
    deadline = session.runtime.clock.monotonic() + session.wait_s
    known: dict[str, Operation] = {}
    pending = tuple(dict.fromkeys(operation_ids))
    try:
        with progress.of_operations(len(pending)) as tell:
            while pending:
                reply = _poll(session, pending[:POLL_IDS], _left_s(session, deadline, pending, known))
                known.update((operation.id, operation) for operation in reply.operations)
                tell(list(known.values()))
                pending = _unfinished(pending, known)
    except (KeyboardInterrupt, errors.Unavailable, errors.WaitTimeout):
        # The ids would be lost with this process, and nothing stops because nobody waits.
        again = f"wait {' '.join(pending)}" if len(pending) <= 5 else "list --unfinished"
        session.warn(f"{len(pending)} unfinished go on; see: drover operation {again}")
        raise
    return tuple(known[i] for i in operation_ids)


def _left_s(session: Session, deadline: float, pending: Sequence[str], known: dict[str, Operation]) -> float:
    """:raises drover.errors.WaitTimeout: nothing is left."""
    left_s = deadline - session.runtime.clock.monotonic()
    if left_s <= 0:
        counts = Counter(str(known[i].state) if i in known else "unknown" for i in pending)
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        raise errors.WaitTimeout(states=states, timeout_s=f"{session.wait_s:g}")
    return left_s


def _unfinished(pending: tuple[str, ...], known: dict[str, Operation]) -> tuple[str, ...]:
    """:raises drover.errors.OperationNotFound: the conductor said nothing of one that was asked for."""
    if unknown := next((i for i in pending[:POLL_IDS] if i not in known), None):
        raise errors.OperationNotFound(ref=unknown)
    return tuple(i for i in pending if i not in known or known[i].state not in FINAL_STATES)


def _poll(session: Session, pending: tuple[str, ...], left_s: float) -> WaitReply:
    # Nobody watches: one answer when all is over. Somebody does: one with each end, or with each two per cent.
    poll_s, unfinished = POLL_S, -1
    if progress.is_watched():
        poll_s, unfinished = WATCHED_POLL_S, len(pending) - len(pending) // WATCHED_STEPS
    return session.call(
        lambda: session.waiter.operation_wait(
            session.context, pending, timeout_s=min(poll_s, left_s), unfinished=unfinished
        ),
        patience_s=left_s,
    )


def failure_of(operation: Operation) -> errors.DroverError | None:
    """The error of an operation that did not succeed; always with exit status 5."""
    if operation.state == OperationState.SUCCEEDED:
        return None
    action = f"{operation.action} of {operation.instance_name or operation.instance_uuid}"
    if operation.error is None:
        return errors.OperationFailed(action=action, reason=str(operation.state))
    return errors.OperationFailed(action=action, reason=f"{operation.error.code}: {operation.error.message}")
