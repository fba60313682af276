"""The relay's command line."""

from __future__ import annotations

import pytest

from drover.lab.relay import Forward, parse_forward


def test_forwards_are_two_addresses() -> None:
    assert parse_forward("10.77.0.254:5672=127.0.0.1:40001") == Forward(
        listen_address="10.77.0.254", listen_port=5672, to_address="127.0.0.1", to_port=40001
    )


@pytest.mark.parametrize("text", ["", "5672", "10.0.0.1:1", "10.0.0.1:1=", "10.0.0.1:x=127.0.0.1:1", "=127.0.0.1:1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_forward(text)
