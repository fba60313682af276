"""What a command works with: the options given, and, made when first asked for, configuration, bus and clients."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from drover import errors

if TYPE_CHECKING:
    from drover.cli.output import Printer
    from drover.conf import Configuration
    from drover.rpc.agent import AgentAPI
    from drover.rpc.bus import Bus
    from drover.rpc.conductor import ConductorAPI, WaitAPI
    from drover.rpc.context import RequestContext
    from drover.rpc.scheduler import SchedulerAPI
    from drover.runtime import Runtime

__all__ = ["Session", "pass_session"]

T = TypeVar("T")

#: seconds a request is repeated while a service is away: a broker restarts in about ten
PATIENCE_S = 30.0
#: seconds ``--wait`` waits for operations
WAIT_S = 600.0


class Session:
    """One run of the command line.

    :param bus: used instead of connecting by configuration (tests).
    :param runtime: likewise.
    """

    def __init__(self, *, bus: Bus | None = None, runtime: Runtime | None = None) -> None:
        self._chosen: dict[str, Any] = {}
        self._bus = bus
        self._given_runtime = runtime
        self._owns_bus = bus is None

    def choose(self, option: str, value: Any) -> None:
        """Remember an option of every command; the one nearest to the command's end wins."""
        self._chosen[option] = value

    # options

    @property
    def format(self) -> str:
        return str(self._chosen.get("format", "table"))

    @property
    def debug(self) -> bool:
        return bool(self._chosen.get("debug", False))

    @property
    def patience_s(self) -> float:
        """How long a request may take with all its repeats."""
        return float(self._chosen.get("timeout", PATIENCE_S))

    @property
    def wait_s(self) -> float:
        """How long to wait for operations."""
        return float(self._chosen.get("timeout", WAIT_S))

    @property
    def follow_s(self) -> float:
        """How long to show what happens: until interrupted, when nobody says."""
        return float(self._chosen.get("timeout", "inf"))

    # parts

    @cached_property
    def runtime(self) -> Runtime:
        if self._given_runtime is not None:
            return self._given_runtime
        from drover.runtime.threads import ThreadRuntime

        return ThreadRuntime()

    @cached_property
    def configuration(self) -> Configuration:
        """:raises drover.errors.InvalidConfig: of the file that was named, or of the default one."""
        from drover.conf import load
        from drover.conf.registry import all_groups

        named = self._chosen.get("config_file")
        return load([named] if named else None, known=all_groups())

    @property
    def bus(self) -> Bus:
        if self._bus is None:
            from drover import log
            from drover.conf.bus import BusSettings
            from drover.rpc.connect import connect

            # A broker that is away is told by the error line; the libraries' own words are for finding faults.
            log.setup("drover", level="DEBUG" if self.debug else "CRITICAL")
            self._bus = connect(self.runtime, self.configuration.get(BusSettings), "drover")
        return self._bus

    @cached_property
    def context(self) -> RequestContext:
        """One request id for everything this command asks."""
        from drover.rpc.context import RequestContext

        project = self._chosen.get("project") or os.environ.get("DROVER_PROJECT") or "default"
        return RequestContext(request_id=f"req-{self.runtime.uuid()}", project_id=project)

    @cached_property
    def conductor(self) -> ConductorAPI:
        from drover.rpc.conductor import CONTRACT
        from drover.rpc.contract import client

        return client(CONTRACT, self.bus, timeout_s=self._call_timeout_s)

    @cached_property
    def waiter(self) -> WaitAPI:
        from drover.rpc.conductor import WAIT_CONTRACT
        from drover.rpc.contract import client

        return client(WAIT_CONTRACT, self.bus, timeout_s=self._call_timeout_s)

    @cached_property
    def scheduler(self) -> SchedulerAPI:
        from drover.rpc.contract import client
        from drover.rpc.scheduler import CONTRACT

        return client(CONTRACT, self.bus, timeout_s=self._call_timeout_s)

    def agent(self, host: str) -> AgentAPI:
        """The agent of one host."""
        from drover.rpc.agent import CONTRACT
        from drover.rpc.contract import client

        return client(CONTRACT, self.bus, server=host, timeout_s=self._call_timeout_s)

    @cached_property
    def printer(self) -> Printer:
        from drover.cli.output import Printer

        return Printer(self.format, sys.stdout)

    @property
    def _call_timeout_s(self) -> float:
        from drover.conf.bus import BusSettings

        default_s = self.configuration.get(BusSettings).rpc_timeout_s if self._owns_bus else BusSettings().rpc_timeout_s
        return min(default_s, self.patience_s)

    # requests

    def call(self, work: Callable[[], T], *, patience_s: float | None = None) -> T:
        """Do *work*, again while a service is away. Only for reads and for requests with an idempotency key.

        :raises drover.errors.Unavailable: the patience is over.
        """
        from drover import retry

        tries = 0

        def attempt() -> T:
            nonlocal tries
            tries += 1
            if tries == 2:
                self.note("no answer yet, trying again …")
            return work()

        patience = self.patience_s if patience_s is None else patience_s
        return retry.while_unavailable(self.runtime, attempt, patience_s=patience)

    def create_once(self, create: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Do *create* and repeat it while a service is away, with one effect.

        For requests without an idempotency key: before each repeat, and when a repeat collides with what its
        forerunner made, *find* says whether it is there already (by the id this client gave it).
        """
        tries = 0

        def attempt() -> T:
            nonlocal tries
            tries += 1
            if tries == 1:
                return create()
            if (made := find()) is not None:
                return made
            try:
                return create()
            except errors.Conflict:
                if (made := find()) is not None:
                    return made
                raise

        return self.call(attempt)

    # talk on standard error

    def note(self, words: str) -> None:
        """A remark for people; scripts (no terminal) do not see it."""
        if sys.stderr.isatty():
            click.secho(words, err=True, dim=True)

    def warn(self, words: str) -> None:
        """A remark that scripts should keep in their logs too."""
        click.echo(f"warning: {words}", err=True)

    def hint(self, exc: errors.DroverError) -> None:
        """What a person who sees *exc* may have overlooked."""
        connected = self._owns_bus and self._bus is not None
        if isinstance(exc, errors.Unavailable) and connected and not self.configuration.files:
            self.note("no configuration file was found; name one by --config-file or DROVER_CONFIG")

    def error(self, exc: errors.DroverError) -> None:
        """One line ``error: CODE: message``, or an object with ``--format json``; never a traceback."""
        if self.format == "json":
            import json

            click.echo(json.dumps({"error": exc.to_dict()}, ensure_ascii=False, default=str), err=True)
            return
        words = " ".join(exc.message.split())
        mark = "error:" if os.environ.get("NO_COLOR") else click.style("error:", fg="red", bold=True)
        click.echo(f"{mark} {exc.code}: {words}", err=True)

    def close(self) -> None:
        if self._owns_bus and self._bus is not None:
            self._bus.close()


pass_session = click.make_pass_decorator(Session, ensure=True)
