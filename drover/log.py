"""Logs: one event a line, words first, then ``key=value``.

``LOG.info("operation finished", operation=op.id, host=host)``.  An expected refusal is one line, never a
traceback.  Secrets are never given to it: values that carry them hide them from ``repr``.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

__all__ = ["Log", "get", "setup"]

#: libraries whose INFO and below say nothing an operator needs
_QUIET = ("amqp", "kombu", "oslo", "oslo_messaging", "oslo.messaging._drivers.pool", "alembic", "sqlalchemy")


class Log:
    """A named log that takes fields as keywords."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, words: str, **fields: Any) -> None:
        self._log(logging.DEBUG, words, fields)

    def info(self, words: str, **fields: Any) -> None:
        self._log(logging.INFO, words, fields)

    def warning(self, words: str, **fields: Any) -> None:
        self._log(logging.WARNING, words, fields)

    def error(self, words: str, *, cause: BaseException | None = None, **fields: Any) -> None:
        """A failure; with *cause*, its traceback follows."""
        self._log(logging.ERROR, words, fields, exc_info=cause or False)

    def exception(self, words: str, **fields: Any) -> None:
        """For what nobody expected: the event with the traceback of the exception being handled."""
        self._log(logging.ERROR, words, fields, exc_info=True)

    def _log(self, level: int, words: str, fields: dict[str, Any], *, exc_info: bool | BaseException = False) -> None:
        if self._logger.isEnabledFor(level):
            line = " ".join([words, *(f"{key}={_shown(value)}" for key, value in fields.items())])
            self._logger.log(level, "%s", line, exc_info=exc_info)


def _shown(value: Any) -> str:
    text = str(value)
    if text and not any(c.isspace() or c in '"=' for c in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r") + '"'


def get(name: str) -> Log:
    """The log of a module: ``LOG = log.get(__name__)``."""
    return Log(logging.getLogger(name))


def setup(service: str, *, level: str = "INFO", file: str = "") -> None:
    """Send all logs of this process to *file*, or to standard error when it is empty."""
    handler: logging.Handler = logging.FileHandler(file) if file else logging.StreamHandler(sys.stderr)
    pattern = f"%(asctime)s.%(msecs)03d %(levelname)-7s {service} %(name)s %(message)s"
    handler.setFormatter(logging.Formatter(pattern, datefmt="%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
