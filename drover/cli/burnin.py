"""``drover burnin``: an acceptance run against a lab or a live fleet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from drover import errors, log
from drover.burnin.clean import clean, name_of
from drover.burnin.fake_guest import FakeGuests
from drover.burnin.fleet import Fleet
from drover.burnin.guest import Hypervisors
from drover.burnin.libvirt_guest import LibvirtGuests
from drover.burnin.report import Report, pages
from drover.burnin.run import Options, Run, remove_strangers
from drover.cli import progress
from drover.cli.options import Command
from drover.cli.session import Session, pass_session
from drover.conf.bus import BusSettings
from drover.lab.lab import Lab
from drover.lab.spec import Driver
from drover.objects import codec
from drover.objects.catalog import Image, ImageStatus
from drover.rpc.bus import Bus
from drover.rpc.connect import connect
from drover.runtime.threads import ThreadRuntime

__all__ = ["burnin"]

#: exit status with violations
VIOLATIONS = 1
#: streams of chance of one run are this far apart from those of the next seed
_STREAMS = 100_000
#: a seed that nobody chose is below
_SEEDS = 1_000_000
#: tasks beside the clients that ask at the same time
_WATCHERS = 4
#: least memory of the run's own flavor
_MEMORY_MIB = 128


@click.command("burnin", cls=Command)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True)
@click.option("--clients", type=click.IntRange(1, 256), default=8, show_default=True, help="That ask at the same time.")
@click.option("--instances", type=click.IntRange(1, 10000), default=24, show_default=True, help="So many are kept.")
@click.option("--flavor", default="", help="Name or id.  [default: one of its own, as small as the image lets it be]")
@click.option("--image", default="", help="Name or id.  [default: the only one there is]")
@click.option("--network", "networks", multiple=True, help="Name or id, or none.  [default: the only one there is]")
@click.option("--faults", is_flag=True, help="Kill, freeze, cut and crash parts of the lab that DROVER_CONFIG is of.")
@click.option("--seed", type=click.IntRange(0, 999_999_999), help="Of the choices, and in all names.  [default: any]")
@click.option(
    "--report", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report there, as JSON."
)
@click.option("--clean", "only_clean", type=int, metavar="SEED", help="Only take away what a run of this seed left.")
@pass_session
def burnin(session: Session, /, only_clean: int | None, file: Path | None, **given: Any) -> None:
    """See under load, and with faults, whether everything keeps its promises.

    Asks everything of instances of its own, many things at once.

    Beside real workloads it touches nothing but what it made, in a project burnin-SEED; with --faults it breaks parts
    of a lab. Interrupted, it cleans up; interrupted again, it leaves, and --clean SEED does it later. The exit status is
    0 only without violations.
    """
    bus = _bus(session, given["clients"])
    runtime = session.runtime
    timeout_s = session.configuration.get(BusSettings).rpc_timeout_s
    chosen = given["seed"] if only_clean is None else only_clean
    seed: int = runtime.random.randrange(_SEEDS) if chosen is None else chosen
    fleet = Fleet.of(runtime, bus, name_of(seed), timeout_s)
    lab = _lab(session)
    if only_clean is not None:
        _clean(session, fleet, seed, lab)
        return
    if given["faults"] and lab is None:
        raise errors.BadInput(reason="--faults breaks things: only with DROVER_CONFIG of a lab on this machine")
    options = _options(fleet, seed, given)
    report = _run(session, Run(fleet, options, lambda number: ThreadRuntime(seed * _STREAMS + number).random, lab))
    if file is not None:
        file.write_text(codec.to_json(report) + "\n")
    session.printer.document(report, lambda: pages(report))
    if report.interrupted:
        raise KeyboardInterrupt
    if report.violations:
        raise click.exceptions.Exit(VIOLATIONS)


def _run(session: Session, run: Run) -> Report:
    """Play, and leave nothing behind. An interrupt ends the play, a second one ends everything."""
    interrupted = False
    with _telling() as tell:
        try:
            run.prepare()
            run.play(tell)
            run.rest(tell)
        except KeyboardInterrupt:
            interrupted = True
        try:
            if interrupted:
                tell("interrupted: cleaning up; once more to leave at once")
                run.hurry(tell)
            run.clean(tell)
        except KeyboardInterrupt:
            run.release()
            session.warn(f"left as it is; drover burnin --clean {run.seed} takes away what is left of it")
            if run.breaks:
                session.warn("drover lab up starts what of the lab is dead")
            raise
    return run.report(interrupted=interrupted)


def _clean(session: Session, fleet: Fleet, seed: int, lab: tuple[Lab, Hypervisors] | None) -> None:
    with _telling() as tell:
        left = clean(fleet, seed, tell)
        if lab is not None:
            remove_strangers(lab, seed)
    if left:
        raise errors.InUse(what="project", ref=fleet.project, users=f"{len(left)} instances that cannot be deleted")
    session.printer.confirm({"seed": seed, "state": "clean"}, f"nothing is left of the run of seed {seed}")


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Gives a function that shows words in place of those before; to people only."""
    if not progress.is_watched():
        yield lambda _: None
        return
    try:
        yield lambda words: click.echo(f"\r\033[K{words}", nl=False, err=True)
    finally:
        click.echo("\r\033[K", nl=False, err=True)


# --- what is worked with -------------------------------------------------------------------------------------


def _bus(session: Session, clients: int) -> Bus:
    """With a connection for each client, and for those who watch."""
    settings = session.configuration.get(BusSettings)
    wanted = clients + _WATCHERS
    if wanted <= settings.conn_pool_size:
        return session.bus
    log.setup("drover", level="DEBUG" if session.debug else "CRITICAL")
    return connect(session.runtime, replace(settings, conn_pool_size=wanted), "drover-burnin")


def _lab(session: Session) -> tuple[Lab, Hypervisors] | None:
    """The lab that the configuration is of, when its hypervisors can be looked at from here."""
    for file in map(Path, session.configuration.files):
        lab = Lab(file.resolve().parent, session.runtime)
        if not lab.exists() or lab.config_file != file.resolve():
            continue
        if lab.spec().driver is Driver.FAKE:
            return lab, FakeGuests(lab, session.runtime)
        if os.geteuid() == 0:
            return lab, LibvirtGuests(lab, session.runtime)
        session.warn("without root the hypervisors of this lab cannot be looked at")
    return None


def _options(fleet: Fleet, seed: int, given: Mapping[str, Any]) -> Options:
    image = _image(fleet, given["image"])
    return Options(
        seed=seed,
        seconds=given["minutes"] * 60,
        clients=given["clients"],
        instances=given["instances"],
        image=image.id,
        networks=_networks(fleet, given["networks"]),
        flavor=given["flavor"],
        memory_mib=max(_MEMORY_MIB, image.min_memory_mib),
        faults=given["faults"],
    )


def _image(fleet: Fleet, ref: str) -> Image:
    """:raises drover.errors.BadInput: none was named, and there is not just one."""
    if ref:
        return fleet.ask(lambda api, ctx: api.image_show(ctx, ref))
    images = [it for it in fleet.ask(lambda api, ctx: api.image_list(ctx)) if it.status is ImageStatus.ACTIVE]
    if len(images) != 1:
        raise errors.BadInput(reason=f"--image is needed: {len(images)} images can be used")
    return images[0]


def _networks(fleet: Fleet, named: Sequence[str]) -> tuple[str, ...]:
    """:raises drover.errors.BadInput: none was named, and there are several."""
    if named:
        return () if tuple(named) == ("none",) else tuple(named)
    networks = fleet.ask(lambda api, ctx: api.network_list(ctx))
    if len(networks) > 1:
        raise errors.BadInput(reason=f"--network is needed: there are {len(networks)}")
    return tuple(it.id for it in networks)
