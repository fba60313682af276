"""``drover instance``: create, list, show, and the verbs of :mod:`drover.cli.action`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import click
from rich.text import Text

from drover import errors
from drover.cli import action, console, update
from drover.cli.catalog import pairs, read_text
from drover.cli.diagnostics import diagnostics
from drover.cli.options import Group
from drover.cli.output import STATE_STYLES, Column, dash, duration, moment
from drover.cli.page import named, paged, tell_more
from drover.cli.recover import recover
from drover.cli.session import Session, pass_session
from drover.cli.wait import failure_of, wait_for
from drover.objects.group import Hints
from drover.objects.instance import CreateRequest, Instance, InstanceFilter, InstancePage, InstanceUsage
from drover.objects.operation import Operation
from drover.states import OperationState, PowerState, RestartPolicy, VmState
from drover.units import MIB, human_bytes

__all__ = ["instance"]

#: rows of one page; a message stays far below its limit
PAGE = 500


def _status(it: Instance) -> Text:
    shown = Text(str(it.vm_state), style=STATE_STYLES.get(it.vm_state, ""))
    if it.task_state:
        shown.append(f" ({it.task_state})", style="yellow")
    return shown


def _power(it: Instance) -> Text:
    style = "dim" if it.power_state == PowerState.UNKNOWN else STATE_STYLES.get(it.power_state, "")
    return Text(str(it.power_state), style=style)


COLUMNS: tuple[Column[Instance], ...] = (
    Column("NAME", lambda it: it.name),
    Column("STATUS", _status),
    Column("POWER", _power, drop=2),
    Column("HOST", lambda it: dash(it.host)),
    Column("ADDRESSES", lambda it: dash(" ".join(port.ip for port in it.ports))),
    Column("FLAVOR", lambda it: it.flavor.name, drop=3),
    Column("IMAGE", lambda it: dash(it.image_name), drop=4),
    Column("CREATED", lambda it: moment(it.created_at), drop=5),
    Column("UUID", lambda it: it.uuid, drop=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """One row of ``instance create``. Without ``--wait`` the fields from *state* on are as at the request."""

    name: str
    uuid: str
    operation_id: str
    state: str = str(OperationState.QUEUED)
    host: str = ""
    addresses: tuple[str, ...] = ()
    error: str = ""


ACCEPTED_COLUMNS: tuple[Column[Created], ...] = (
    Column("NAME", lambda it: it.name),
    Column("BUILD", lambda it: it.state),
    Column("UUID", lambda it: it.uuid, drop=1),
    Column("OPERATION", lambda it: it.operation_id, drop=2),
)

ENDED_COLUMNS: tuple[Column[Created], ...] = (
    Column("NAME", lambda it: it.name),
    Column("BUILD", lambda it: it.state),
    Column("HOST", lambda it: dash(it.host)),
    Column("ADDRESSES", lambda it: dash(" ".join(it.addresses))),
    Column("UUID", lambda it: it.uuid, drop=1),
    Column("OPERATION", lambda it: it.operation_id, drop=2),
)


def _hinted(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where an instance is to go."""
    for option in reversed(
        (
            click.option("--group", default="", metavar="GROUP", help="Server group: name or id."),
            click.option("--availability-zone", default="", metavar="NAME", help="On a host of this zone."),
            click.option("--same-host", multiple=True, metavar="INSTANCE", help="Where this one is. Repeatable."),
            click.option("--different-host", multiple=True, metavar="INSTANCE", help="Not where this is. Repeatable."),
            click.option("--on-host", default="", metavar="HOST", help="On this host or nowhere."),
            click.option("--wait-for-room", is_flag=True, help="Wait where no host can take it, instead of failing."),
            click.option(
                "--wait-for-room-s",
                type=click.FloatRange(min=0, min_open=True),
                default=None,
                metavar="SECONDS",
                help="The same, for so long.",
            ),
        )
    ):
        command = option(command)
    return command


def _hints(given: dict[str, Any]) -> Hints:
    return Hints(
        group=given["group"],
        availability_zone=given["availability_zone"],
        host=given["on_host"],
        same_host=given["same_host"],
        different_host=given["different_host"],
        wait=given["wait_for_room"] or given["wait_for_room_s"] is not None,
        wait_s=given["wait_for_room_s"] or 0.0,
    )


@click.group(cls=Group)
def instance() -> None:
    """Instances: virtual machines and what is done to them."""


@instance.command("create")
@click.argument("name")
@click.option("--flavor", required=True, metavar="FLAVOR", help="Name or id.")
@click.option("--image", required=True, metavar="IMAGE", help="Name or id.")
@click.option(
    "--network", "networks", multiple=True, required=True, metavar="NETWORK", help="Name or id, repeatable; or none."
)
@click.option("--count", type=int, default=1, show_default=True, help="So many, named NAME-1, NAME-2, …")
@click.option("--min-count", type=int, default=0, help="Be content with so many.  [default: all or nothing]")
@click.option("--key", default="", metavar="KEYPAIR", help="Name of the keypair whose key may log in.")
@click.option("--user-data", metavar="FILE", help="For cloud-init; - reads standard input.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Shown by instance show. Repeatable.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="For instance list --tag. Repeatable.")
@click.option(
    "--restart",
    type=click.Choice([str(policy) for policy in RestartPolicy]),
    default="never",
    show_default=True,
    help="What is done when the guest ends by itself.",
)
@_hinted
@click.option("--idempotency-key", metavar="KEY", help="The same key again has no second effect.  [default: a new one]")
@click.option("--wait", is_flag=True, help="Until every build has ended.")
@pass_session
def instance_create(session: Session, /, wait: bool, **given: Any) -> None:
    """Build one instance, or --count of them."""
    request = _request(session, given)
    reply = session.call(lambda: session.conductor.instance_create(session.context, request))
    rows = [
        Created(name=name, uuid=uuid, operation_id=operation)
        for name, uuid, operation in zip(reply.names, reply.instance_uuids, reply.operation_ids, strict=True)
    ]
    if not wait:
        session.printer.rows(rows, ACCEPTED_COLUMNS)
        return
    operations = wait_for(session, reply.operation_ids)
    built = _addresses(session, request.name, frozenset(reply.instance_uuids))
    ended = [_ended(row, operation, built) for row, operation in zip(rows, operations, strict=True)]
    session.printer.rows(ended, ENDED_COLUMNS)
    failures = [failure for operation in operations if (failure := failure_of(operation)) is not None]
    for failure in failures:
        session.error(failure)
    if len(ended) - len(failures) < (request.min_count or len(ended)):
        raise click.exceptions.Exit(errors.OperationFailed.exit_code)


def _request(session: Session, given: dict[str, Any]) -> CreateRequest:
    networks = tuple(given["networks"])
    if "none" in networks and len(networks) > 1:
        raise errors.BadInput(reason="--network none goes with no other --network")
    file = given["user_data"]
    return CreateRequest(
        name=given["name"],
        flavor=given["flavor"],
        image=given["image"],
        networks=() if networks == ("none",) else networks,
        count=given["count"],
        min_count=given["min_count"],
        key_name=given["key"],
        user_data=read_text(file, "user-data") if file else "",
        metadata=pairs(given["metadata"]),
        tags=given["tags"],
        restart=RestartPolicy(given["restart"]),
        hints=_hints(given),
        idempotency_key=given["idempotency_key"] or session.runtime.uuid(),
    )


def _ended(row: Created, operation: Operation, addresses: dict[str, tuple[str, ...]]) -> Created:
    failure = failure_of(operation)
    return replace(
        row,
        state=str(operation.state),
        host=operation.host,
        addresses=addresses.get(row.uuid, ()),
        error=failure.message if failure else "",
    )


def _addresses(session: Session, prefix: str, wanted: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Addresses by uuid of the instances of one create call: their names begin alike."""
    query = InstanceFilter(name=prefix, limit=PAGE)
    found: dict[str, tuple[str, ...]] = {}
    for page in _pages(session, query):
        found.update((it.uuid, tuple(port.ip for port in it.ports)) for it in page.instances if it.uuid in wanted)
        if len(found) == len(wanted):
            break
    return found


# --- list --------------------------------------------------------------------------------------------------


@instance.command("list")
@named
@click.option("--host", default="", metavar="HOST", help="On this host.")
@click.option(
    "--status",
    type=click.Choice([str(state) for state in VmState]),
    metavar="STATE",
    help=f"In this state: {', '.join(VmState)}.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="With this tag. Repeatable: with all of them.")
@click.option("--all-projects", is_flag=True, help="Of every project.")
@click.option("--deleted", is_flag=True, help="Those that were deleted, instead.")
@paged("UUID")
@pass_session
def instance_list(session: Session, /, status: str | None, everything: bool, **given: Any) -> None:
    """List instances."""
    query = InstanceFilter(vm_state=status or "", **given)
    found: list[Instance] = []
    next_marker = ""
    for page in _pages(session, query):
        found.extend(page.instances)
        next_marker = page.next_marker
        if not everything:
            break
    session.printer.rows(found, COLUMNS)
    if next_marker and not everything:
        tell_more(session, next_marker)


def _pages(session: Session, query: InstanceFilter) -> Iterator[InstancePage]:
    while True:
        page = _page(session, query)
        yield page
        if not page.next_marker:
            return
        query = replace(query, marker=page.next_marker)


def _page(session: Session, query: InstanceFilter) -> InstancePage:
    return session.call(lambda: session.conductor.instance_list(session.context, query))


# --- show --------------------------------------------------------------------------------------------------


@instance.command("show")
@click.argument("instance")
@pass_session
def instance_show(session: Session, instance: str) -> None:
    """Show one instance: where it is, how it does, what went wrong."""
    it = session.call(lambda: session.conductor.instance_show(session.context, instance))
    session.printer.record(it, _fields(it))


def _fields(it: Instance) -> Iterator[tuple[str, str | Text]]:
    yield "name", it.name
    yield "uuid", it.uuid
    yield "status", _status(it)
    yield "power", _power(it)
    yield "host", it.host
    yield "addresses", "\n".join(f"{port.ip}  {port.mac}  {port.network_name}" for port in it.ports)
    if it.fault is not None:
        yield "fault", Text(f"{it.fault.code}: {it.fault.message} ({moment(it.fault.at)})", style="red")
    if it.cleanup_hosts:
        yield "clean-up", Text(f"pending on {', '.join(it.cleanup_hosts)}", style="yellow")
    size = it.flavor
    yield "flavor", f"{size.name} ({size.vcpus} vCPU, {size.memory_mib} MiB, {size.disk_gib} GiB)"
    yield "image", f"{it.image_name} ({it.image_id})" if it.image_name else it.image_id
    yield "key", it.key_name
    yield "metadata", "\n".join(f"{key}={value}" for key, value in sorted(it.metadata.items()))
    yield "tags", " ".join(it.tags)
    yield "restart", _restart(it)
    yield "placed by", _placed_by(it.hints)
    yield "shelved as", f"image {it.shelved_image_id}" if it.shelved_image_id else ""
    if it.usage is not None:
        yield from _usage(it.usage)
    yield "locked", "yes" if it.locked else ""
    yield "project", it.project_id
    yield "user", it.user_id
    yield "epoch", str(it.epoch)
    yield "created", moment(it.created_at)
    yield "launched", moment(it.launched_at)
    yield (
        "deleted",
        moment(it.deleted_at) or (f"{moment(it.soft_deleted_at)}, can be restored" if it.soft_deleted_at else ""),
    )


def _placed_by(hints: Hints) -> str:
    words = {
        "group": hints.group,
        "zone": hints.availability_zone,
        "host": hints.host,
        "same host": " ".join(hints.same_host),
        "different host": " ".join(hints.different_host),
        "waits for room": "yes" if hints.wait else "",
    }
    return "\n".join(f"{name} {value}" for name, value in words.items() if value)


def _restart(it: Instance) -> str:
    words = "" if it.restart is RestartPolicy.NEVER else str(it.restart)
    if it.restarts:
        words = f"{it.restart}, {it.restarts} in a row, the last {moment(it.restarted_at)}"
    if it.restart_at is not None:
        words += f"{', ' if words else ''}due since {moment(it.restart_at)}"
    return words


def _usage(usage: InstanceUsage) -> Iterator[tuple[str, str]]:
    yield "CPU time", duration(usage.cpu_time_s)
    yield "memory", f"{human_bytes(usage.memory_mib * MIB)} given, {human_bytes(usage.memory_rss_mib * MIB)} resident"
    disk = (usage.disk_allocated_mib * MIB, usage.disk_read_bytes, usage.disk_write_bytes)
    yield "disk", "{} allocated, {} read, {} written".format(*map(human_bytes, disk))
    yield "network", f"{human_bytes(usage.net_rx_bytes)} received, {human_bytes(usage.net_tx_bytes)} sent"
    yield "usage at", moment(usage.at)


for command in (*action.COMMANDS, *update.COMMANDS, recover, console.console_log, diagnostics):
    instance.add_command(command)
