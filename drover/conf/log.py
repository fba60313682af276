"""Options of the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["LogSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    GROUP: ClassVar[str] = "log"

    level: str = setting(
        "INFO",
        "Least level that is written. DEBUG shows every decision and is meant for finding faults.",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
    )
    file: str = setting("", "File to append to; empty: standard error, as systemd and containers want it.")
