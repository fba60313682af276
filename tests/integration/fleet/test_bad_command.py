"""Bad input by the command line: one line with a stable code, an exit status for scripts, and nothing half-done."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import promise
from tests.fleet import FLAVOR, IMAGE, NETWORK, Fleet
from tests.needs import require

CREATE = ("instance", "create", "web", "--flavor", FLAVOR, "--image", IMAGE, "--network", NETWORK)
TABLES = (
    "flavor",
    "network",
    "keypair",
    "instance",
    "instance_secret",
    "operation",
    "allocation",
    "port",
    "idempotency",
)


@pytest.fixture
def nothing_written(fake: Fleet) -> Iterator[None]:
    """The database is as it was."""
    before = _counts(fake)
    yield
    assert _counts(fake) == before


def _counts(fleet: Fleet) -> dict[str, int]:
    return {name: fleet.count(name) for name in TABLES}


def _with(option: str, value: str) -> tuple[str, ...]:
    """CREATE with another value of *option*."""
    position = CREATE.index(option) + 1
    return (*CREATE[:position], value, *CREATE[position + 1 :])


def _named(name: str) -> tuple[str, ...]:
    return (*CREATE[:2], *CREATE[3:], "--", name)


REFUSED = [
    (_with("--flavor", "huge"), 3, "FlavorNotFound"),
    (_with("--image", "nothing"), 3, "ImageNotFound"),
    (_with("--network", "nowhere"), 3, "NetworkNotFound"),
    ((*CREATE, "--count", "0"), 2, "InvalidCount"),
    ((*CREATE, "--count", "100000"), 2, "InvalidCount"),
    ((*CREATE, "--count", "2", "--min-count", "3"), 2, "InvalidCount"),
    ((*CREATE, "--count", "300"), 4, "NoAddresses"),
    ((*CREATE, "--count", "many"), 2, "BadInput"),
    (_named("no_hostname"), 2, "InvalidName"),
    (_named("x" * 64), 2, "InvalidName"),
    (_named(""), 2, "InvalidName"),
    (("instance", "show", "nobody"), 3, "InstanceNotFound"),
    (("flavor", "create", "none", "--vcpus", "0", "--memory", "1"), 2, "InvalidFlavor"),
    (("flavor", "create", "all", "--vcpus", "1", "--memory", "99999999999"), 2, "InvalidFlavor"),
    (("network", "create", "bad", "--cidr", "10.0.0.1/24"), 2, "InvalidNetwork"),
    (("flavor", "create", FLAVOR, "--vcpus", "1", "--memory", "64"), 4, "NameTaken"),
]


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(("command", "status", "code"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_refusal_is_one_line_with_a_code(fake: Fleet, command: tuple[str, ...], status: int, code: str) -> None:
    done = fake.drover(*command)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert done.stderr.startswith(f"error: {code}: ")
    assert done.stderr.count("\n") == 1


def _random_bytes(path: Path) -> Path:
    path.write_bytes(bytes(range(256)) * 4096)
    return path


def _backed(path: Path) -> Path:
    require("qemu-img")
    base = _random_bytes(path.with_name("base.raw"))
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw", str(path)]
    subprocess.run(argv, check=True)
    return path


def _with_data_file(path: Path) -> Path:
    require("qemu-img")
    options = f"data_file={path}.data,data_file_raw=on"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, str(path), "1M"], check=True)
    return path


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(
    ("make", "options", "code"),
    [
        (_random_bytes, ("--sha256", "0" * 64), "ImageChecksumMismatch"),
        (_random_bytes, ("--disk-format", "qcow2"), "InvalidImage"),
        (_backed, (), "ImageUnsafe"),
        (_backed, ("--disk-format", "raw"), "InvalidImage"),
        (_with_data_file, (), "ImageUnsafe"),
    ],
)
def test_an_image_that_is_not_what_it_says_is_never_active(
    fake: Fleet, tmp_path: Path, make: Callable[[Path], Path], options: tuple[str, ...], code: str
) -> None:
    file = make(tmp_path / "image")
    done = fake.drover("image", "create", "bad", "--file", str(file), *options)
    assert done.returncode == 2, done.stderr
    assert f"error: {code}: " in done.stderr
    assert fake.rows("SELECT status FROM image WHERE name = 'bad' AND status = 'active'") == []
    refused = fake.drover(*_with("--image", "bad"))
    assert refused.returncode in (3, 4), refused.stderr
    fake.drover("image", "delete", "bad")


def test_what_no_host_can_hold_fails_with_its_reason_and_leaves_nothing(fake: Fleet) -> None:
    assert fake.drover("flavor", "create", "giant", "--vcpus", "256", "--memory", "64").returncode == 0
    done = fake.drover(*_with("--flavor", "giant"), "--wait")
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("error: OperationFailed: build of web failed: NoValidHost: ")
    assert "vcpus" in fake.drover("why", "web").stdout
    assert fake.count("allocation") == 0
    assert fake.drover("instance", "delete", "web", "--wait").returncode == 0
    assert fake.drover("flavor", "delete", "giant").returncode == 0
    promise.empty(fake)


def test_an_ambiguous_name_is_refused_with_its_candidates(fake: Fleet) -> None:
    built = [*fake.create(1, name="twin").instance_uuids, *fake.create(1, name="twin").instance_uuids]
    done = fake.drover("instance", "delete", "twin")
    assert done.returncode == 4
    assert "error: AmbiguousName: " in done.stderr
    assert all(uuid in done.stderr for uuid in built)
    fake.delete(built)
    promise.empty(fake)
