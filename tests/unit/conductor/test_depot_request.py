"""How the depot reads and speaks HTTP."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from conductor.depot_request import byte_range, status_of
from drover import errors


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", None),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 10)),
        ("bytes=99-", (99, 1)),
        ("bytes=90-1000", (90, 10)),
        ("bytes=20-10", None),
        ("bytes=-5", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
    ],
)
def test_ranges(header: str, part: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == part


def test_a_range_behind_the_end_is_refused() -> None:
    with pytest.raises(errors.BadRequest):
        byte_range("bytes=100-", 100)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ImageNotFound(ref="x"), HTTPStatus.NOT_FOUND),
        (errors.TokenRefused(reason="x"), HTTPStatus.UNAUTHORIZED),
        (errors.OffsetMismatch(image="x", size_bytes=1, offset=2), HTTPStatus.CONFLICT),
        (errors.DiskFull(what="x", path="y"), HTTPStatus.INSUFFICIENT_STORAGE),
        (errors.ImageTooLarge(image="x", virtual_size_gib=2, limit_gib=1), HTTPStatus.UNPROCESSABLE_ENTITY),
        (errors.MessageTooLarge(size_bytes=2, limit_bytes=1), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (errors.BadRequest(method="PUT", reason="x"), HTTPStatus.BAD_REQUEST),
        (errors.StoreUnavailable(detail="x"), HTTPStatus.SERVICE_UNAVAILABLE),
        (errors.DroverError(detail="x"), HTTPStatus.INTERNAL_SERVER_ERROR),
    ],
)
def test_each_refusal_has_its_status(error: errors.DroverError, status: HTTPStatus) -> None:
    assert status_of(error) is status
