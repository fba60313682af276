"""A log line is one line: words, then fields."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from drover import log


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_fields_follow_the_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log.get("t").info("host up", host="h1", age_s=3, empty="")
    assert caplog.messages == ['host up host=h1 age_s=3 empty=""']


def test_a_value_never_breaks_the_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log.get("t").info("odd", a="two words", b='quo"te', c="line\nbreak\r", d="k=v", e="back\\slash x")
    (line,) = caplog.messages
    assert line == r'odd a="two words" b="quo\"te" c="line\nbreak\r" d="k=v" e="back\\slash x"'


def test_percent_signs_are_no_format(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log.get("t").info("100 %s done", share="%d")
    assert caplog.messages == ["100 %s done share=%d"]


def test_a_level_that_is_off_formats_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError

    with caplog.at_level(logging.INFO):
        log.get("t").debug("nothing", value=Costly())
    assert caplog.messages == []


def test_tracebacks_where_they_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    log.get("t").error("plain")
    log.get("t").error("with cause", cause=ValueError("v"))
    try:
        raise KeyError("k")
    except KeyError:
        log.get("t").exception("unexpected")
    kinds = [record.exc_info[0] if record.exc_info else None for record in caplog.records]
    assert kinds == [None, ValueError, KeyError]


@pytest.mark.usefixtures("_logging_as_before")
def test_setup_writes_to_a_file_and_quiets_libraries(tmp_path: Path) -> None:
    file = tmp_path / "drover.log"
    log.setup("drover-x", level="INFO", file=str(file))
    log.get("drover.t").info("hello", a=1)
    logging.getLogger("amqp").info("chatter")
    (line,) = file.read_text().splitlines()
    assert " INFO    drover-x drover.t hello a=1" in line
