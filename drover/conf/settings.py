"""A group of options is a frozen dataclass; this turns it into oslo.config options and reads it back.

One declaration serves the code (typed fields), the file (names, bounds, defaults) and the docs (help).
"""

from __future__ import annotations

import dataclasses
import os
import typing
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from oslo_config import cfg, types

from drover import errors

__all__ = ["Configuration", "Group", "load", "options_of", "setting"]


class Group(Protocol):
    """A settings dataclass: fields made by :func:`setting`, and the name of its section."""

    GROUP: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


G = TypeVar("G", bound=Group)


def setting(
    default: Any,
    help_text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """A field of a settings class. *help_text* says what it does and when to change it."""
    metadata = {"help": help_text, "min": minimum, "max": maximum, "choices": choices, "secret": secret}
    if isinstance(default, (list, dict)):
        raise TypeError("defaults are immutable: use a tuple")
    return dataclasses.field(default=default, metadata=metadata)


def options_of(group: type[Group]) -> list[cfg.Opt]:
    """The group's oslo.config options, in the order of its fields."""
    hints = typing.get_type_hints(group)
    return [_option(field, hints[field.name]) for field in dataclasses.fields(group)]


def _option(field: Any, hint: Any) -> cfg.Opt:
    meta = field.metadata
    kind: Any
    if hint is bool:
        kind = types.Boolean()
    elif hint is int:
        kind = types.Integer(min=meta["min"], max=meta["max"])
    elif hint is float:
        kind = types.Float(min=meta["min"], max=meta["max"])
    elif hint == tuple[str, ...]:
        kind = types.List(types.String())
    else:
        kind = types.String(choices=list(meta["choices"]) or None)
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return cfg.Opt(field.name, type=kind, default=default, help=meta["help"], secret=meta["secret"])


class Configuration:
    """The values of one process; groups are read on demand and are immutable."""

    def __init__(self, values: cfg.ConfigOpts, files: tuple[str, ...]) -> None:
        self.files = files
        self._values = values

    def get(self, group: type[G]) -> G:
        """The settings of one group.

        :raises errors.InvalidConfig: a value does not fit its type or bounds; names group, option and value.
        """
        if group.GROUP not in self._values:
            self._values.register_opts(options_of(group), group=group.GROUP)
        section = self._values[group.GROUP]
        read: dict[str, Any] = {}
        for field in dataclasses.fields(group):
            try:
                value = getattr(section, field.name)
            except (cfg.ConfigFileValueError, ValueError) as exc:
                raise errors.InvalidConfig(reason=f"[{group.GROUP}] {field.name}: {exc}") from None
            read[field.name] = tuple(value) if isinstance(value, list) else value
        return group(**read)


def load(files: typing.Sequence[str] | None = None, *, known: typing.Sequence[type[Group]] = ()) -> Configuration:
    """Read *files*, or the file named by ``DROVER_CONFIG``, or ``/etc/drover/drover.conf`` when it exists.

    :param known: groups of this release; when given, sections and options outside them are refused.
    :raises errors.InvalidConfig: a file is missing, no INI, or has a section, option or value that is not known.
    """
    chosen = tuple(files or ()) or tuple(filter(None, [os.environ.get("DROVER_CONFIG", "")]))
    if not chosen and Path("/etc/drover/drover.conf").is_file():
        chosen = ("/etc/drover/drover.conf",)
    for name in chosen:
        if not Path(name).is_file():
            raise errors.InvalidConfig(reason=f"no file {name}")
    values = cfg.ConfigOpts()
    try:
        values(args=[], project="drover", default_config_files=list(chosen), default_config_dirs=[])
    except cfg.Error as exc:
        raise errors.InvalidConfig(reason=str(exc).strip()) from None
    configuration = Configuration(values, chosen)
    if known:
        _refuse_unknown(chosen, known)
        for group in known:
            configuration.get(group)
    return configuration


def _refuse_unknown(files: tuple[str, ...], known: typing.Sequence[type[Group]]) -> None:
    names = {group.GROUP: {f.name for f in dataclasses.fields(group)} for group in known}
    for name in files:
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(name, sections).parse()
        for section, options in sections.items():
            if section == "DEFAULT" and not options:
                continue
            if section not in names:
                raise errors.InvalidConfig(reason=f"{name}: unknown section [{section}]")
            for option in options:
                if option not in names[section]:
                    raise errors.InvalidConfig(reason=f"{name}: unknown option {option} in [{section}]")
