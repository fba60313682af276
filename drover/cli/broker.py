"""``drover broker``: what RabbitMQ must know before Drover's processes come to it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from drover.cli.options import Group
from drover.cli.session import Session, pass_session
from drover.conf import load
from drover.conf.bus import BusSettings
from drover.rpc import broker as rabbit
from drover.rpc.broker import BrokerUrl, Permissions

__all__ = ["broker"]

_LOGIN = "# The [bus] of this host's /etc/drover/drover.conf.\n[bus]\ntransport_url = {url}\n"

User = tuple[str, str, Permissions]


@click.group(cls=Group)
def broker() -> None:
    """Users and permissions on RabbitMQ."""


def _secrets_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--secrets",
        "directory",
        required=True,
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Where each host's password goes, as DIR/HOST.conf for its [bus]; one that is there is kept.",
    )(command)


@broker.command("definitions")
@click.option("--host", "hosts", multiple=True, required=True, metavar="HOST", help="A host's name; may be repeated.")
@_secrets_option
@pass_session
def definitions(session: Session, hosts: Sequence[str], directory: Path) -> None:
    """Print what rabbitmqctl import_definitions takes: vhost, policy, users.

    The user of [bus] transport_url becomes the control plane's, which may do anything in the vhost. Each host gets
    a user of its own, which may read what is for this host and write requests to conductors. Passwords are printed
    as hashes only. Give all hosts or only new ones: what RabbitMQ has already stays.
    """
    url = _control_plane(session)
    users = [(url.user, _hashed(url.password), rabbit.control_plane())]
    users += [_agent(session, url, host, directory) for host in hosts]
    _print(rabbit.definitions(url.vhost, users))


@broker.command("user")
@click.argument("host")
@_secrets_option
@pass_session
def user(session: Session, host: str, directory: Path) -> None:
    """The same for the user of one HOST, without the control plane's."""
    url = _control_plane(session)
    _print(rabbit.definitions(url.vhost, [_agent(session, url, host, directory)]))


def _control_plane(session: Session) -> BrokerUrl:
    return BrokerUrl.parse(session.configuration.get(BusSettings).transport_url)


def _agent(session: Session, url: BrokerUrl, host: str, directory: Path) -> User:
    """The user of a host, whose login is in *directory* afterwards."""
    leave = rabbit.agent_permissions(host)  # refuses names that would be other paths, too
    file = directory / f"{host}.conf"
    password = secrets.token_urlsafe(24)
    if file.exists():
        password = BrokerUrl.parse(load([str(file)]).get(BusSettings).transport_url).password
    login = url.of_agent(host, password)
    _write(file, _LOGIN.format(url=login))
    session.note(f"{file}: login of {login.user}")
    return login.user, _hashed(password), leave


def _write(file: Path, text: str) -> None:
    """Whole or not at all, and for its owner alone."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    partial.replace(file)


def _hashed(password: str) -> str:
    return rabbit.password_hash(password, secrets.token_bytes(4))


def _print(document: dict[str, Any]) -> None:
    """JSON whatever the format: it is for a program."""
    click.echo(json.dumps(document, indent=2))
