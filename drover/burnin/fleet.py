"""The way of one run into a fleet: requests that are repeated while parts of it are away, and long polls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from drover import retry
from drover.objects.host import Host
from drover.objects.instance import Instance, InstanceFilter
from drover.objects.operation import Operation, OperationFilter
from drover.rpc.bus import Bus
from drover.rpc.conductor import CONTRACT, WAIT_CONTRACT, ConductorAPI, WaitAPI
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.runtime import Runtime
from drover.states import FINAL_STATES

__all__ = ["PATIENCE_S", "POLL_S", "USER", "Fleet"]

T = TypeVar("T")

#: what the run's requests say who they are of
USER = "burnin"
#: seconds that a request is repeated while nobody answers: a broker and a database that died together start in less
PATIENCE_S = 180.0
#: seconds of one long poll
POLL_S = 20.0
_PAGE = 500
#: operations of one long poll; the conductor takes at most 2000
_POLL_IDS = 1000


@dataclass(frozen=True, slots=True)
class Fleet:
    """Thread-safe. Requests that change things carry an idempotency key, so that repeating them is right."""

    runtime: Runtime
    conductor: ConductorAPI
    waiter: WaitAPI
    project: str
    patience_s: float = PATIENCE_S

    @classmethod
    def of(cls, runtime: Runtime, bus: Bus, project: str, timeout_s: float) -> Fleet:
        """:param timeout_s: for the answer to one call."""
        return cls(
            runtime=runtime,
            conductor=client(CONTRACT, bus, timeout_s=timeout_s),
            waiter=client(WAIT_CONTRACT, bus, timeout_s=timeout_s),
            project=project,
        )

    def context(self) -> RequestContext:
        return RequestContext(request_id=f"req-{self.runtime.uuid()}", project_id=self.project, user_id=USER)

    def ask(self, work: Callable[[ConductorAPI, RequestContext], T]) -> T:
        """*work*, again with back-off while a part is away.

        :raises drover.errors.Unavailable: the patience is over; whether it was done is not known.
        """
        ctx = self.context()
        return retry.while_unavailable(self.runtime, lambda: work(self.conductor, ctx), patience_s=self.patience_s)

    def wait(self, operation_ids: Sequence[str], limit_s: float) -> tuple[Operation, ...]:
        """The operations when all have ended, or as they are after *limit_s*."""
        deadline = self.runtime.clock.monotonic() + limit_s
        left, known = tuple(dict.fromkeys(operation_ids)), dict[str, Operation]()
        while left:
            left_s = deadline - self.runtime.clock.monotonic()
            for operation in self._poll(left[:_POLL_IDS], max(0.0, min(POLL_S, left_s))):
                known[operation.id] = operation
            left = tuple(i for i in left if i not in known or known[i].state not in FINAL_STATES)
            if left_s <= 0:
                break
        return tuple(known.values())

    def _poll(self, operation_ids: tuple[str, ...], timeout_s: float) -> tuple[Operation, ...]:
        ctx = self.context()

        def poll() -> tuple[Operation, ...]:
            return self.waiter.operation_wait(ctx, operation_ids, timeout_s=timeout_s).operations

        return retry.while_unavailable(self.runtime, poll, patience_s=self.patience_s)

    def hosts(self) -> tuple[Host, ...]:
        return self.ask(lambda api, ctx: api.host_list(ctx))

    def instances(self, *, everyones: bool = False, deleted: bool = False) -> tuple[Instance, ...]:
        """The run's own, or those of all projects; live ones, or *deleted* ones."""
        query = InstanceFilter(all_projects=everyones, deleted=deleted, limit=_PAGE)
        return tuple(self._instances(query))

    def _instances(self, query: InstanceFilter) -> Iterator[Instance]:
        while True:
            page = self.ask(lambda api, ctx, query=query: api.instance_list(ctx, query))  # type: ignore[misc]
            yield from page.instances
            if not page.next_marker:
                return
            query = replace(query, marker=page.next_marker)

    def operations(self, *, instance: str = "", everyones: bool = False) -> Iterator[Operation]:
        """The project's, or those of all projects; of one instance, or of all. Newest first."""
        query = OperationFilter(instance=instance, all_projects=everyones, limit=_PAGE)
        while True:
            page = self.ask(lambda api, ctx, query=query: api.operation_list(ctx, query))  # type: ignore[misc]
            yield from page.operations
            if not page.next_marker:
                return
            query = replace(query, marker=page.next_marker)
