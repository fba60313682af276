"""Many small requests, one transaction: what arrives within a window is handled together.

A transaction a request costs four times the CPU of twenty requests in one (docs/architecture.md, measured).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from drover import errors
from drover.runtime.runtime import Event, Runtime

__all__ = ["Joiner"]

#: windows that a leader waits at most while more requests keep coming
_WINDOWS = 5

In = TypeVar("In")
Out = TypeVar("Out")


class _Item(Generic[In, Out]):
    __slots__ = ("done", "error", "request", "result")

    def __init__(self, request: In, done: Event) -> None:
        self.request = request
        self.done = done
        self.result: Out | None = None
        self.error: BaseException | None = None


class Joiner(Generic[In, Out]):
    """Collects requests of concurrent callers and hands them to *handle* as one list.

    The first caller of a batch leads: it waits the window, and on while others keep coming, takes all that came and
    handles it; while it is at work the next batch gathers under a leader of its own. So a lone request waits for
    one window, and the busier a service is, the more it joins.

    :param handle: gets the requests in order of arrival and answers each with a result or an exception.
        If it raises, each request is handled alone, so that a poisonous one harms only itself; but what is
        ``Unavailable`` for one is so for all, and goes to every caller.
    """

    def __init__(
        self,
        runtime: Runtime,
        handle: Callable[[Sequence[In]], Sequence[Out | Exception]],
        *,
        window_s: float,
        most: int = 256,
    ) -> None:
        self._runtime = runtime
        self._handle = handle
        self._window_s = window_s
        self._most = most
        self._gate = runtime.lock()  # protects _waiting
        self._turn = runtime.lock()  # one batch in the database at a time
        self._waiting: list[_Item[In, Out]] = []

    def submit(self, request: In) -> Out:
        """Hand in one request and wait for its own answer.

        :raises Exception: what *handle* answered for this request.
        """
        item: _Item[In, Out] = _Item(request, self._runtime.event())
        with self._gate:
            self._waiting.append(item)
            leads = len(self._waiting) == 1
        if leads:
            self._lead()
        item.done.wait()
        if item.error is not None:
            raise item.error
        return item.result  # type: ignore[return-value]

    def _lead(self) -> None:
        self._gather()
        with self._turn:
            with self._gate:
                batch, self._waiting = self._waiting, []
            for first in range(0, len(batch), self._most):
                self._run(batch[first : first + self._most])

    def _gather(self) -> None:
        """Wait the window, and while requests keep coming another one, within bounds."""
        came = 1
        for _ in range(_WINDOWS if self._window_s > 0 else 0):
            self._runtime.sleep(self._window_s)
            before, came = came, len(self._waiting)
            if came == before:
                return

    def _run(self, batch: list[_Item[In, Out]]) -> None:
        try:
            answers = self._handle([item.request for item in batch])
            for item, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Exception):
                    item.error = answer
                else:
                    item.result = answer
        except Exception as exc:  # noqa: BLE001  goes to the callers
            if len(batch) > 1 and not isinstance(exc, errors.Unavailable):
                for item in batch:
                    self._run([item])
            else:
                self._fail(batch, exc)
        except BaseException as exc:  # every caller must be woken, and told that there is no answer
            self._fail(batch, exc)
            raise
        finally:
            for item in batch:
                item.done.set()

    def _fail(self, batch: list[_Item[In, Out]], exc: BaseException) -> None:
        for item in batch:
            item.error = exc
