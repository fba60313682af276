"""Options that every command takes, before or after its name, and the click classes that give them to it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import click

from drover.cli.session import Session

__all__ = ["Command", "Group", "LazyGroup", "Link"]


class Everywhere(click.Option):
    """An option that lands in the :class:`Session`, not in the command's arguments."""

    def __init__(self, *names: str, **attributes: Any) -> None:
        # Eager: the format is known when another option turns out to be wrong.
        super().__init__(names, expose_value=False, is_eager=True, callback=_remember, **attributes)


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if value is not None and value is not False:
        ctx.ensure_object(Session).choose(str(param.name), value)
    return value


def _everywhere() -> list[click.Parameter]:
    return [
        Everywhere(
            "--config-file",
            metavar="FILE",
            help="Configuration file.  [default: $DROVER_CONFIG, else /etc/drover/drover.conf]",
        ),
        Everywhere("--format", type=click.Choice(["table", "json", "yaml"]), help="How to print.  [default: table]"),
        Everywhere("--project", metavar="NAME", help="Project to work in.  [default: $DROVER_PROJECT, else default]"),
        Everywhere(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Give up after this long.  [default: 600 on --wait, 30 on a service that is away]",
        ),
        Everywhere("--debug", is_flag=True, help="Logs and tracebacks on standard error."),
    ]


class _Described(click.Command):
    """Prints the options that are everywhere in a section of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        everywhere: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                (everywhere if isinstance(param, Everywhere) else own).append(record)
        for title, records in (("Options", own), ("Options of every command", everywhere)):
            with formatter.section(title):
                formatter.write_dl(records)


class Command(_Described):
    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(_everywhere())


class Group(_Described, click.Group):
    command_class = Command

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(_everywhere())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@dataclass(frozen=True, slots=True)
class Link:
    """A command that is imported when used: ``module:attribute``, and its line in the help."""

    target: str
    line: str


class LazyGroup(Group):
    """Imports a command when it is used, so that none pays for the others."""

    def __init__(self, *args: Any, links: dict[str, Link], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.links = links

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.links)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        link = self.links.get(cmd_name)
        if link is None:
            return None
        module, _, attribute = link.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, link.line) for name, link in self.links.items()])
