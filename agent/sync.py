"""The sync loop: everything the conductor should hear, repeated until it answers."""

from __future__ import annotations

from collections.abc import Callable

from agent.backoff import Backoff
from agent.manager import Manager, Parts
from drover import errors, log
from drover.objects.host import RegisterReply
from drover.objects.sync import SyncRequest
from drover.rpc.conductor import ConductorAPI
from drover.rpc.context import RequestContext

__all__ = ["SyncLoop"]

LOG = log.get(__name__)

#: this host is not who it thinks it is: only a new registration helps, which is a new process
_ENDS_SESSION = (errors.StaleSession, errors.HostNotFound)


class SyncLoop:
    """One task: waits until a sync is due, sends it, applies the answer.

    :param fatal: called once when the session is over, or on a defect.
    """

    def __init__(
        self,
        parts: Parts,
        manager: Manager,
        conductor: ConductorAPI,
        host: str,
        session: RegisterReply,
        fatal: Callable[[Exception], None],
    ) -> None:
        self._parts = parts
        self._manager = manager
        self._conductor = conductor
        self._host = host
        self._session = session.session
        self._seal = session.seal
        self._fatal = fatal
        self._seq = 0
        self._backoff = Backoff(first_s=0.2, most_s=5.0)
        self._trouble = ""  # code of the last failure; "" while all is well

    def run(self) -> None:
        """Until the pace is closed, or the session is over."""
        try:
            while self._parts.pace.wait():
                self._round()
        except Exception as exc:  # noqa: BLE001  whatever it is, the agent cannot go on
            self._fatal(exc)

    def _round(self) -> None:
        clock = self._parts.runtime.clock
        self._seq += 1
        request = self._manager.compose(
            SyncRequest(host=self._host, session=self._session, seq=self._seq, seal=self._seal)
        )
        ctx = RequestContext(request_id=f"sync-{self._host}-{self._session}-{self._seq}", user_id="agent")
        sent_at_s = clock.monotonic()
        try:
            reply = self._conductor.sync(ctx, request)
        except _ENDS_SESSION:
            self._manager.close(0.0)
            raise
        except errors.DroverError as exc:
            self._failed(exc)
            return
        self._parts.lease.renew(sent_at_s, reply.lease_s)
        self._parts.pace.succeeded(reply.next_sync_s)
        self._manager.answered(request, reply)
        if self._trouble:
            LOG.info("conductor answers again", host=self._host)
            self._trouble = ""
            self._backoff.succeeded("")

    def _failed(self, exc: errors.DroverError) -> None:
        if exc.code != self._trouble:
            LOG.warning("conductor does not answer", host=self._host, code=exc.code, error=exc)
            self._trouble = exc.code
        delay_s = self._backoff.failed("", self._parts.runtime.clock.monotonic())
        # Agents that lost the conductor together do not come back together.
        self._parts.pace.failed(delay_s * self._parts.runtime.random.uniform(0.5, 1.0))
