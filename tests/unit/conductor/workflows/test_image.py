"""What agents are told of an image."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from conductor.workflows.image import depot_url, image_source
from drover import errors
from drover.conf.depot import DepotSettings
from drover.depot import TokenPurpose, check_token
from drover.objects.catalog import Image

SETTINGS = DepotSettings(url="http://depot.test:8790/")
IMAGE = Image(id="6c0c3df2-64b0-4d32-8a4b-5a0de0a3d2f1", name="debian-12")
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_the_depots_bytes_come_with_leave_to_read_them() -> None:
    source = image_source(replace(IMAGE, sha256="0f" * 32, size_bytes=5), SETTINGS, "key", NOW)
    assert source.url == f"http://depot.test:8790/v1/images/{IMAGE.id}"
    assert (source.format, source.sha256, source.size_bytes) == ("qcow2", "0f" * 32, 5)
    check_token("key", source.token, TokenPurpose.READ, IMAGE.id, NOW)
    with pytest.raises(errors.TokenRefused):
        check_token("key", source.token, TokenPurpose.WRITE, IMAGE.id, NOW)
    assert source.token not in repr(source)


def test_a_strangers_server_never_gets_a_token() -> None:
    source = image_source(replace(IMAGE, url="https://images.test/x"), SETTINGS, "key", NOW)
    assert (source.url, source.token) == ("https://images.test/x", "")


def test_without_a_url_the_depot_is_this_machine() -> None:
    url = depot_url(DepotSettings(listen_port=81))
    assert url.startswith("http://")
    assert url.endswith(":81")
